"""The report of a split that a run's captioner was scored on."""

import dataclasses
import os

import numpy as np

from pipelines.files import read_json
from pipelines.sources.scenes import scene_of
from pipelines.sources.scenes.grammar import check_caption
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.report import Entry, truth_tables, write_report
from show_attend_tell.evaluation.split_evaluation import (
    HISTORY_FILE,
    SplitEvaluation,
)
from show_attend_tell.metrics.score_table import left_out_lines


def report_run(
    directory: str, workdir: str, found: SplitEvaluation, decoding: Decoding
) -> str:
    """Writes a page on the captions of a split.

    Args:
        directory: Where the page is put.
        workdir: The folder of the run.
        found: The split with its captions and scores.
        decoding: How the captions were said.

    Returns:
        The path of the page.
    """
    config = RunConfig.load(workdir)
    run = os.path.basename(os.path.abspath(workdir))
    members = found.figures.get("ensemble")
    if members:
        run += f", an ensemble of {len(members)} models"
    history = os.path.join(workdir, HISTORY_FILE)
    return write_report(
        directory,
        f"{config.data.dataset}, {found.split}",
        found.figures,
        found.evaluation.intervals,
        _entries(found, config.data.dataset == "scenes"),
        about={
            "Run": run,
            "Data": f"{config.data.dataset}, {found.split}",
            "Images": f"{len(found.images)}, with "
            f"{found.figures['references']} references",
            "Encoder": f"{config.encoder.name}, {config.encoder.resize_mode}",
            "Decoding": _told(decoding),
            "Words by": found.evaluation.tokenizer,
        },
        remarks=left_out_lines(found.evaluation),
        tables=truth_tables(found.figures.get("grounding", found.figures)),
        history=read_json(history) if os.path.exists(history) else None,
    )


def _entries(found: SplitEvaluation, scenes: bool) -> list[Entry]:
    entries = []
    scores = found.evaluation.per_image
    for number, (image, caption) in enumerate(
        zip(found.images, found.captions, strict=True)
    ):
        entries.append(
            Entry(
                id=image.id,
                photo=image.read,
                resize_mode=caption.resize_mode,
                caption=caption,
                locations=caption.locations,
                references=image.captions,
                scores={
                    name: float(values[number])
                    for name, values in scores.items()
                    if np.isfinite(values[number])
                },
                notes=_false_statements(image, caption) if scenes else (),
            )
        )
    return entries


def _false_statements(image, caption) -> tuple[str, ...]:
    """Tells what a caption says of a scene that is not so."""
    verdict = check_caption(caption.text, scene_of(image.id))
    if not verdict.parsed:
        return ("not a sentence of the scenes' grammar",)
    return tuple(
        f"not true: the {statement.kind} at \u201c"
        f"{' '.join(caption.words[p] for p in statement.positions)}\u201d"
        for statement in verdict.statements
        if not statement.true
    )


def _told(decoding: Decoding) -> str:
    """Names the method, and what differs from its defaults."""
    plain = dataclasses.asdict(Decoding())
    differs = [
        f"{name} {value}"
        for name, value in dataclasses.asdict(decoding).items()
        if name not in ("method", "beam_width") and value != plain[name]
    ]
    first = decoding.method
    if decoding.method == "beam":
        first = f"beam of {decoding.beam_width}"
    return ", ".join([first, *differs])
