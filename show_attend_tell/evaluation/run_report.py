"""Writes the HTML report of a split of a run."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from pipelines.sources.scenes import scene_of
from pipelines.sources.scenes.grammar import check_caption
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.history import read_history
from show_attend_tell.evaluation.report import write_report
from show_attend_tell.evaluation.split_evaluation import SplitEvaluation


def report_run(
    directory: str,
    workdir: str,
    evaluation: SplitEvaluation,
    decoding: Decoding,
) -> str:
    """Writes a page on a split, see `report.write_report`; returns its path."""
    config = RunConfig.load(workdir)
    run = os.path.basename(os.path.abspath(workdir))
    members = evaluation.figures.get("ensemble")
    if members:
        run += f", an ensemble of {len(members)} models"
    return report_split(
        directory,
        config.data.dataset,
        evaluation,
        {
            "Run": run,
            "Encoder": f"{config.encoder.name}, {config.encoder.resize_mode}",
            "Decoding": _describe(decoding),
        },
        read_history(workdir, "BLEU-4"),
    )


def report_split(
    directory: str,
    dataset: str,
    evaluation: SplitEvaluation,
    about: Mapping[str, str],
    history: Sequence[Mapping[str, float]] = (),
) -> str:
    """Writes a page on a split of a data set; returns its path.

    Args:
        directory: The folder.
        dataset: The data set.
        evaluation: The split with its captions and scores.
        about: What was evaluated, as for `report.write_report`.
        history: As for `write_report`.
    """
    data = f"{dataset}, {evaluation.split}"
    references = evaluation.figures["references"]
    pairs = zip(evaluation.images, evaluation.captions, strict=True)
    return write_report(
        directory,
        data,
        evaluation,
        about={
            **about,
            "Data": data,
            "Images": f"{len(evaluation.images)}, with {references} references",
            "Tokenizer": evaluation.scores.tokenizer,
        },
        notes=[_false_statements(image, caption) for image, caption in pairs]
        if dataset == "scenes"
        else None,
        history=history,
    )


def _false_statements(image, caption) -> list[str]:
    """Describes what a caption states of a scene and is not true."""
    verdict = check_caption(caption.text, scene_of(image.id))
    if not verdict.parsed:
        return ["not a sentence of the scenes' grammar"]
    return [
        f"not true: the {statement.kind} at \u201c"
        f"{' '.join(caption.words[p] for p in statement.positions)}\u201d"
        for statement in verdict.statements
        if not statement.true
    ]


def _describe(decoding: Decoding) -> str:
    """Names the method, and settings that differ from their defaults."""
    defaults = dataclasses.asdict(Decoding())
    settings = dataclasses.asdict(decoding)
    method = settings.pop("method")
    if method == "beam":
        method = f"beam of {settings['beam_width']}"
    del settings["beam_width"]
    changes = [f"{k} {v}" for k, v in settings.items() if v != defaults[k]]
    return ", ".join([method, *changes])
