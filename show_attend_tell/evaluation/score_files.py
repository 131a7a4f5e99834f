"""The files of an evaluation: `scores.json`, and captions of each split."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence

from pipelines.errors import UserError
from pipelines.files import read_json, write_json
from pipelines.outputs import check_output_file
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.attention_json import attention_as_json
from show_attend_tell.inference.caption_phrases import phrases_as_json
from show_attend_tell.metrics.prediction_files import (
    read_field,
    write_predictions,
)

# Of a photo's reference captions, the sums that `figure_sums` takes.
REFERENCE_ATTENTION = "reference_attention"
_SUMS = 7

SCORES_FILE = "scores.json"
# Those that are scored where none is asked for.
DEFAULT_SPLITS = ("test", "novel", "validation")
_CAPTIONS_MARK = rb'\[\n  \{\n    "image_id": [^\n]+,\n    "caption": "'
_SCORES_MARK = rb'\{\n  "(split|BLEU-1)": '


def check_score_files(directory: str, splits: Iterable[str] = ()) -> None:
    """Checks that the files can be written, and replace none of others.

    Raises:
        UserError: They cannot, or would.
    """
    scores = os.path.join(directory, SCORES_FILE)
    check_output_file(scores, "--output", _SCORES_MARK)
    for split in splits:
        path = captions_file(directory, split)
        check_output_file(path, "--output", _CAPTIONS_MARK)


def captions_file(directory: str, split: str) -> str:
    """Returns the file of a split's captions, in COCO's results form."""
    return os.path.join(directory, f"captions_{split}.json")


def read_scores(directory: str) -> dict[str, dict]:
    """Returns the figures of each split in `scores.json`, if there is one.

    Raises:
        UserError: The file is damaged.
    """
    path = os.path.join(directory, SCORES_FILE)
    if not os.path.exists(path):
        return {}
    content = read_json(path)
    split = content.get("split") if isinstance(content, dict) else None
    if not isinstance(split, str):
        raise UserError(
            f"Expected the scores of splits in {path}. Received: others, or a "
            "damaged file. Choose another folder with --output=DIR."
        )
    others = {
        name: {"decoding": content.get("decoding"), **value}
        for name, value in content.items()
        if isinstance(value, dict) and value.get("split") == name
    }
    first = {k: v for k, v in content.items() if k not in others}
    return {split: first, **others}


def read_reference_attention(path: str) -> dict[str, list[float] | None]:
    """Reads the sums of a file of captions, None of images that have none.

    Raises:
        UserError: The file cannot be used.
    """
    rows = read_field(path, REFERENCE_ATTENTION)
    for id, row in rows.items():
        good = type(row) is list and len(row) == _SUMS
        if row is not None and not (
            good and all(type(one) in (int, float) for one in row)
        ):
            raise UserError(
                f"Expected {_SUMS} numbers as {REFERENCE_ATTENTION} of {id!r} "
                f"in {path}. Received: {row!r:.80}"
            )
    return {str(id): row for id, row in rows.items()}


def write_evaluation(
    directory: str,
    evaluations: Sequence,
    decoding: Decoding | None,
    earlier: Mapping[str, dict] | None = None,
) -> dict:
    """Writes `scores.json`, and the captions of each split in COCO's form.

    Captions have their phrases, and where boxes measured it their attention.

    Args:
        directory: The folder.
        evaluations: A `SplitEvaluation` for each split.
        decoding: How their captions were generated, if that is known.
        earlier: Figures of splits from `read_scores`, which stay unless they
            were evaluated anew.

    Returns:
        The content of `scores.json`: the figures of the first split, and
        those of the others under their names.
    """
    for evaluation in evaluations:
        write_predictions(
            captions_file(directory, evaluation.split),
            [image.id for image in evaluation.images],
            [caption.text for caption in evaluation.captions],
            _more(evaluation),
        )
    settings = {"decoding": decoding and dataclasses.asdict(decoding)}
    figures = dict(earlier or {})
    for one in evaluations:
        figures[one.split] = {**one.figures, **settings}
    first, *others = figures
    content = {**figures[first], **{name: figures[name] for name in others}}
    write_json(os.path.join(directory, SCORES_FILE), content)
    return content


def _more(evaluation) -> list[dict]:
    """Returns what is written of each caption beside its text."""
    more = [
        {"phrases": phrases_as_json(caption.phrases)}
        for caption in evaluation.captions
    ]
    if evaluation.boxes is not None:
        for entry, caption in zip(more, evaluation.captions, strict=True):
            entry["attention"] = attention_as_json(
                caption.attention, caption.resize_mode
            )
    if evaluation.reference_attention is not None:
        (sums,) = evaluation.reference_attention.sums
        for entry, row in zip(more, sums.per_image, strict=True):
            entry[REFERENCE_ATTENTION] = row.tolist()
    return more
