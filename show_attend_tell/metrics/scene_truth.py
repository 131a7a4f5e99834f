"""Captions of rendered scenes compared with what is in the scene."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipelines.captions import CaptionedImage
from pipelines.sources.scenes import scene_of
from pipelines.sources.scenes.grammar import (
    Grounding,
    Verdict,
    check_caption,
)
from show_attend_tell.metrics.grounding import FIGURES, measure_grounding

STATEMENTS = ("object", "colour", "texture", "size", "relation", "number")


def measure_scene_truth(
    captions: Sequence[str],
    attentions: Iterable[np.ndarray],
    images: Sequence[CaptionedImage],
) -> dict[str, Any]:
    """Counts what is true, and whether attention was on what was named.

    A caption is true if it parses by the grammar of the scenes and every
    statement in it holds. Attention is compared with the boxes of what words
    name by `measure_grounding`; a word that names nothing in the scene is
    missed.

    Args:
        captions: One for each image.
        attentions: Of each caption `(T, rows, columns)`.
        images: Scenes, with their references.

    Returns:
        Fractions: `true_captions`; `parsed_captions`, those that follow the
        grammar; `true_statements`; and of the nouns `pointing_accuracy`,
        `pointing_chance`, `attention_mass`, `attention_mass_chance`. Numbers
        a caption: `statements`, and `reference_statements` of the references.
        In `by_word_class` the figures of `"noun"`, `"colour"`, `"texture"`
        and `"size"`, as `measure_grounding` gives them. In `by_statement` for
        each kind that was stated: `count`, the statements; `true`, the share
        of them; `captions`, those that make one; and `true_captions`, the
        share of these captions in which all of that kind are true. Shares of
        nothing are None.
    """
    verdicts, references = [], []
    for caption, image in zip(captions, images, strict=True):
        scene = scene_of(image.id)
        verdicts.append(check_caption(caption, scene))
        references += [
            len(check_caption(reference, scene).statements)
            for reference in image.captions
        ]
    statements = [s for verdict in verdicts for s in verdict.statements]
    grounding = measure_grounding(attentions, map(_groundings, verdicts))
    by_class = grounding["by_word_class"]
    nouns = by_class.get("noun", dict.fromkeys(FIGURES))
    return {
        "true_captions": _share(verdict.true for verdict in verdicts),
        "parsed_captions": _share(verdict.parsed for verdict in verdicts),
        "true_statements": _share(s.true for s in statements),
        "statements": len(statements) / max(len(verdicts), 1),
        "reference_statements": sum(references) / max(len(references), 1),
        **{name: nouns[name] for name in FIGURES},
        "by_word_class": by_class,
        "by_statement": _by_statement(verdicts),
    }


def _groundings(verdict: Verdict) -> list[Grounding]:
    """Returns the groundings, adjectives by the class they describe."""
    kinds = {s.positions: s.kind for s in verdict.statements}
    return [
        dataclasses.replace(grounding, kind=kinds[grounding.position,])
        if grounding.kind == "adjective"
        else grounding
        for grounding in verdict.groundings
    ]


def _by_statement(verdicts: Sequence[Verdict]) -> dict[str, dict]:
    figures = {}
    for kind in STATEMENTS:
        made = [
            [s.true for s in verdict.statements if s.kind == kind]
            for verdict in verdicts
        ]
        made = [true for true in made if true]
        if made:
            figures[kind] = {
                "count": sum(map(len, made)),
                "true": _share(one for true in made for one in true),
                "captions": len(made),
                "true_captions": _share(map(all, made)),
            }
    return figures


def _share(truths: Iterable[bool]) -> float | None:
    truths = list(truths)
    return sum(truths) / len(truths) if truths else None
