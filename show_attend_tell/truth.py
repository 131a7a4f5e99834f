"""Captions of drawn scenes against what is in the scene."""

from collections.abc import Sequence

import numpy as np

from pipelines.captions import CaptionedImage
from pipelines.sources.scenes import scene_of
from pipelines.sources.scenes_grammar import Grounding, check_caption
from show_attend_tell.captioning import Caption


def measure_truth(
    captions: Sequence[Caption],
    images: Sequence[CaptionedImage],
    grid: tuple[int, int],
) -> dict[str, float]:
    """Counts what is true, and whether attention was on what was named.

    A caption is true if it parses by the grammar of the scenes and every
    statement in it holds. A noun is pointed at if the peak of its attention,
    the middle of one location, lies in the box of what the noun names; a
    noun that names nothing in the scene is missed.

    Args:
        captions: One for each image.
        images: Scenes, with their references.
        grid: Rows and columns of the locations.

    Returns:
        Fractions: `true_captions`, `true_statements`, `pointing_accuracy`,
        and `pointing_chance`, the share of a random location. And numbers a
        caption: `statements`, and `reference_statements` of the references.
    """
    true = statements = true_statements = references = 0
    pointed, chance = [], []
    told = 0
    for caption, image in zip(captions, images, strict=True):
        scene = scene_of(image.id)
        verdict = check_caption(caption.text, scene)
        true += verdict.true
        statements += len(verdict.statements)
        true_statements += sum(s.true for s in verdict.statements)
        for grounding in verdict.groundings:
            if grounding.kind == "noun":
                inside = _locations_inside(grounding, grid)
                peak = caption.attention[grounding.position].argmax()
                pointed.append(inside[peak])
                chance.append(inside.mean())
        for reference in image.captions:
            told += len(check_caption(reference, scene).statements)
            references += 1
    return {
        "true_captions": true / len(images),
        "true_statements": true_statements / max(statements, 1),
        "statements": statements / len(images),
        "reference_statements": told / max(references, 1),
        "pointing_accuracy": float(np.mean(pointed)) if pointed else 0.0,
        "pointing_chance": float(np.mean(chance)) if chance else 0.0,
    }


def _locations_inside(
    grounding: Grounding, grid: tuple[int, int]
) -> np.ndarray:
    """Returns which locations' middles lie in the boxes, `(L,)` bool."""
    rows, columns = grid
    y = ((np.arange(rows) + 0.5) / rows)[:, None]
    x = ((np.arange(columns) + 0.5) / columns)[None, :]
    inside = np.zeros(grid, bool)
    for left, top, right, bottom in grounding.boxes:
        inside |= (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return inside.reshape(-1)
