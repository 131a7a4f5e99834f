"""The files of an evaluation: `scores.json`, and captions of each split."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence

from pipelines.errors import UserError
from pipelines.files import read_json, write_json
from pipelines.outputs import check_output_file
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.attention_json import attention_as_json
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_phrases import phrases_as_json
from show_attend_tell.metrics.prediction_files import write_predictions

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
            [
                _more(caption, evaluation.boxes is not None)
                for caption in evaluation.captions
            ],
        )
    settings = {"decoding": decoding and dataclasses.asdict(decoding)}
    figures = dict(earlier or {})
    for one in evaluations:
        figures[one.split] = {**one.figures, **settings}
    first, *others = figures
    content = {**figures[first], **{name: figures[name] for name in others}}
    write_json(os.path.join(directory, SCORES_FILE), content)
    return content


def _more(caption: Caption, with_attention: bool) -> dict:
    """Returns what is written of a caption beside its text."""
    more = {"phrases": phrases_as_json(caption.phrases)}
    if with_attention:
        more["attention"] = attention_as_json(
            caption.attention, caption.resize_mode
        )
    return more
