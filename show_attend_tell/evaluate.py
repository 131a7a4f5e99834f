"""Scores captions against references.

    python -m show_attend_tell.evaluate --predictions=captions.json
        --references=captions_val2014.json

prints BLEU, METEOR, ROUGE-L, CIDEr and SPICE, each with its 95 % interval.
Predictions are of COCO's results form; references are COCO's annotations,
Flickr's token file or Karpathy's split JSON. --compare=OTHER tells the
difference to other predictions; --output=DIR writes scores.json.
"""

import os
import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands import no_arguments, run
from pipelines.errors import UserError
from pipelines.files import write_json
from show_attend_tell.caption_files import read_predictions
from show_attend_tell.metrics import (
    Evaluation,
    check_same_images,
    compare,
    evaluate_captions,
)
from show_attend_tell.pairing import Paired, pair
from show_attend_tell.reference_files import References, read_references
from show_attend_tell.score_table import as_json, left_out_lines, score_table

_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "captions to score, in COCO's results form"
)
_REFERENCES = flags.DEFINE_string(
    "references",
    None,
    "their references: COCO's annotations, Flickr's token file, or "
    "Karpathy's split JSON",
)
_COMPARE = flags.DEFINE_string(
    "compare", None, "other captions of the same images, to compare with"
)
_SPLIT = flags.DEFINE_string(
    "split", None, "only this split of the references"
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "write scores.json into this folder"
)


def main(arguments: Sequence[str]) -> None:
    """Scores the predictions."""
    no_arguments(arguments)
    if not _PREDICTIONS.value or not _REFERENCES.value:
        raise UserError(
            "Expected --predictions=FILE and --references=FILE. Received: "
            f"predictions={_PREDICTIONS.value!r}, "
            f"references={_REFERENCES.value!r}"
        )
    _score_predictions()


def _score_predictions() -> None:
    references = read_references(_REFERENCES.value, _SPLIT.value)
    # Everything is read before anything is scored.
    paired = _paired(_PREDICTIONS.value, references)
    others = _paired(_COMPARE.value, references) if _COMPARE.value else None
    if others:
        check_same_images(paired.ids, others.ids)
    evaluation = _evaluated(paired)
    other = _evaluated(others) if others else None
    differences = compare(evaluation, other) if other else None
    for line in (*left_out_lines(evaluation), *paired.warnings):
        print(f"note: {line}", file=sys.stderr)
    count = sum(len(texts) for texts in paired.references)
    print(
        f"{len(paired.ids)} images with {count} references, matched by "
        f"{paired.matched_by}; {paired.unpredicted} more images have "
        f"references and no prediction; tokenizer {evaluation.tokenizer}\n"
    )
    print(score_table(evaluation, other, differences))
    if _OUTPUT.value:
        path = os.path.join(_OUTPUT.value, "scores.json")
        content = as_json(evaluation, differences)
        content["references"] = count
        content["images_without_prediction"] = paired.unpredicted
        write_json(path, content)
        print(f"\n{path}")


def _paired(path: str, references: References) -> Paired:
    return pair(read_predictions(path), path, references)


def _evaluated(paired: Paired) -> Evaluation:
    print(f"scoring {len(paired.ids)} captions ...", file=sys.stderr)
    return evaluate_captions(
        paired.ids, paired.candidates, paired.references
    )


if __name__ == "__main__":
    run(main)
