r"""Captions a split with a trained captioner, and scores the captions.

    python -m show_attend_tell.evaluate --workdir=runs/scenes --split=test

prints BLEU, METEOR, ROUGE-L, CIDEr and SPICE, each with its 95 % interval,
and writes scores.json and captions_SPLIT.json (COCO's results form) into the
workdir (of other data, an ensemble or another decoding into its folder
evaluated), or into --output=DIR. --report=DIR writes a web page. Captions of
any model are scored by

    python -m show_attend_tell.evaluate --predictions=captions.json \
        --references=captions_val2014.json

where references are any file that `train --captions` takes: COCO's
annotations, Karpathy's split JSON, Flickr's token file, CSV or JSON Lines.
--compare=OTHER, captions of the same images, adds the differences.
"""

import os
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags

from pipelines.captions import summarize_skipped
from pipelines.commands import no_arguments, run
from pipelines.errors import UserError
from pipelines.files import write_json
from pipelines.outputs import check_output_file
from pipelines.sources import SOURCES, load_source
from pipelines.sources.gathering import canonical_split
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.flags import define_decoding_flags
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.score_files import (
    DEFAULT_SPLITS,
    SCORES_FILE,
    check_score_files,
    read_reference_attention,
    read_scores,
    write_evaluation,
)
from show_attend_tell.inference.caption_file import read_captions
from show_attend_tell.metrics.caption_scores import (
    Evaluation,
    check_same_images,
    compare,
    evaluate_captions,
)
from show_attend_tell.metrics.grounding import figure_sums
from show_attend_tell.metrics.pairing import Paired, pair
from show_attend_tell.metrics.prediction_files import read_predictions
from show_attend_tell.metrics.reference_files import References, read_references
from show_attend_tell.metrics.score_table import (
    as_json,
    left_out_lines,
    score_table,
)

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder that train wrote, to caption with"
)
_SPLIT = flags.DEFINE_string(
    "split", None, "the split to score; by default test, if there is one"
)
_DATASET = flags.DEFINE_enum(
    "dataset", None, SOURCES, "another data set than that of the training"
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where the data set is now")
_CAPTIONS = flags.DEFINE_string("captions", None, "where its captions are now")
_ANNOTATIONS = flags.DEFINE_string(
    "annotations", None, "where the annotations are now"
)
_WEIGHTS = flags.DEFINE_string(
    "encoder_weights", None, "where the encoder's weights are now"
)
_BOXES = flags.DEFINE_string(
    "boxes",
    None,
    "boxes to measure attention by: the folder of Flickr30k Entities or of "
    "COCO's instances",
)
_ENSEMBLE = flags.DEFINE_list(
    "ensemble", [], "workdirs or .keras files of models that join in"
)
_REPORT = flags.DEFINE_string(
    "report", None, "write a page on the captions into this folder"
)
_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "captions to score, in COCO's results form"
)
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "instead of a workdir, a version or a file that export wrote, to caption "
    "the split of --dataset with",
)
_REFERENCES = flags.DEFINE_string(
    "references",
    None,
    "their references: COCO's annotations, Karpathy's split JSON, Flickr's "
    "token file, CSV, or JSON Lines",
)
_COMPARE = flags.DEFINE_string(
    "compare", None, "other captions of the same images, to compare with"
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "write scores.json into this folder"
)
_DECODING = define_decoding_flags()

# Of a workdir, for scores of other data, of an ensemble or another decoding.
_OTHER_SETTINGS = "evaluated"


def main(arguments: Sequence[str]) -> None:
    """Scores a run, an exported captioner, or predictions in a file."""
    no_arguments(arguments)
    given = _WORKDIR.value, _MODEL.value, _PREDICTIONS.value
    of_data = bool(_DATASET.value) and not _REFERENCES.value
    if sum(map(bool, given)) == 1:
        if _WORKDIR.value and not _REFERENCES.value:
            return _score_run(_WORKDIR.value)
        if of_data and (_MODEL.value or _PREDICTIONS.value and _BOXES.value):
            return _score_on_data()
        if _PREDICTIONS.value and _REFERENCES.value:
            return _score_predictions()
    raise UserError(
        "Expected --workdir=DIR, or --predictions=FILE and "
        "--references=FILE, or --model=VERSION_OR_FILE and --dataset=NAME, or "
        "--predictions=FILE, --dataset=NAME and --boxes=FOLDER. "
        f"Received: workdir={_WORKDIR.value!r}, model={_MODEL.value!r}, "
        f"predictions={_PREDICTIONS.value!r}, "
        f"references={_REFERENCES.value!r}, dataset={_DATASET.value!r}, "
        f"boxes={_BOXES.value!r}"
    )


def _score_run(workdir: str) -> None:
    config = _config(workdir)
    decoding = config.decoding.replace(**_DECODING())
    splits, output = _splits(), _OUTPUT.value
    output = output or _default_output(workdir, decoding)
    others = _check_files(output, splits)
    # Scores of the run's other splits, as it was trained, stay.
    earlier = read_scores(workdir) if output == workdir else {}
    # Here, because they bring TensorFlow, which files need not wait for.
    from show_attend_tell.evaluation.run_report import report_run
    from show_attend_tell.evaluation.split_evaluation import evaluate_run

    evaluated = evaluate_run(
        config, workdir, splits, decoding, _BOXES.value, _ENSEMBLE.value
    )
    _deliver(evaluated, others, output, decoding, earlier)
    if _REPORT.value:
        print(report_run(_REPORT.value, workdir, evaluated[0], decoding))


def _splits() -> list[str]:
    names = filter(None, (_SPLIT.value or "").split(","))
    return [canonical_split(name) or name for name in names]


def _check_files(output: str | None, splits: Sequence[str]) -> dict | None:
    """Checks what is to be written, and reads what is compared with."""
    if output:
        check_score_files(output, splits or DEFAULT_SPLITS)
    if _REPORT.value:
        from show_attend_tell.evaluation import report

        page = os.path.join(_REPORT.value, report.FILE_NAME)
        check_output_file(page, "--report", report.MARK)
    if _COMPARE.value and _BOXES.value:  # Tells now what is damaged.
        read_captions(_COMPARE.value)
        read_reference_attention(_COMPARE.value)
    return read_predictions(_COMPARE.value) if _COMPARE.value else None


def _deliver(
    evaluated: Sequence,
    others: dict | None,
    output: str | None,
    decoding: Decoding | None,
    earlier: dict | None = None,
) -> None:
    """Prints and writes the scores of splits."""
    from show_attend_tell.evaluation.split_evaluation import format_evaluation

    for evaluation in evaluated:
        print(f"\n{format_evaluation(evaluation)}")
    if others:
        _compare_with(others, evaluated[0])
    if output:
        write_evaluation(output, evaluated, decoding, earlier)
        print(f"\n{os.path.join(output, SCORES_FILE)}")


def _default_output(workdir: str, decoding: Decoding) -> str:
    """Keeps the scores of a training apart from those of other settings."""
    trained = RunConfig.load(workdir)
    dataset = _DATASET.value or trained.data.dataset
    if (
        decoding == trained.decoding
        and dataset == trained.data.dataset
        and not _ENSEMBLE.value
    ):
        return workdir
    return os.path.join(workdir, _OTHER_SETTINGS)


def _config(workdir: str) -> RunConfig:
    """Returns the settings of a run, with the new folders of its data."""
    given = {
        "data_dir": _DATA_DIR.value,
        "captions": _CAPTIONS.value,
        "annotations": _ANNOTATIONS.value,
        "encoder_weights": _WEIGHTS.value,
        "dataset": _DATASET.value,
    }
    given = {name: value for name, value in given.items() if value}
    if _DATASET.value:  # How many images the training took of its own.
        given |= {"train_images": 0, "validation_images": 0, "test_images": 0}
    return RunConfig.load(workdir).replace(**given)


def _score_on_data() -> None:
    """Scores an exported captioner, or captions in a file with attention."""
    splits = _splits()
    others = _check_files(_OUTPUT.value, splits)
    # Here, because they bring TensorFlow, which files need not wait for.
    from show_attend_tell.evaluation.exported_evaluation import (
        evaluate_exported,
        evaluate_predictions,
    )
    from show_attend_tell.evaluation.run_report import report_split
    from show_attend_tell.inference.loading import load

    dataset, decoding = _DATASET.value, None
    data = load_source(dataset, _DATA_DIR.value, _CAPTIONS.value)
    if skipped := summarize_skipped(data.skipped):
        print(skipped)
    if _MODEL.value:
        captioner = load(_MODEL.value)
        decoding = captioner.decoding_of(**_DECODING())
        evaluated = evaluate_exported(
            captioner, data, splits, _BOXES.value, **_DECODING()
        )
    else:
        evaluated = evaluate_predictions(
            _PREDICTIONS.value, data, splits, _BOXES.value
        )
    _deliver(evaluated, others, _OUTPUT.value, decoding)
    if _REPORT.value:
        about = {
            "Captions": os.path.basename(_MODEL.value or _PREDICTIONS.value)
        }
        print(report_split(_REPORT.value, dataset, evaluated[0], about))


def _compare_with(others: dict, evaluation) -> None:
    """Prints how a split's scores differ from those of other captions."""
    ids = [image.id for image in evaluation.images]
    other = {str(id): text for id, text in others.items()}
    check_same_images(ids, tuple(other))
    theirs = evaluate_captions(
        ids,
        [other[id] for id in ids],
        [image.captions for image in evaluation.images],
    )
    print(f"\ncompared with {_COMPARE.value}")
    _print_difference(evaluation.scores, theirs)
    if evaluation.boxes is not None:
        _compare_attention(ids, evaluation)


def _compare_attention(ids: Sequence[str], evaluation) -> None:
    """Prints how attention differs from that in the file of the others."""
    from show_attend_tell.evaluation.attention_measures import (
        evaluate_attention,
        evaluate_sums,
    )

    captions = read_captions(_COMPARE.value)
    ordered = [captions.get(id) for id in ids]
    ours = {caption.resize_mode for caption in evaluation.captions}
    if not all(one and {one.resize_mode} == ours for one in ordered):
        print("attention: not compared, because the other has none of all")
        return
    theirs, _ = evaluate_attention(ordered, evaluation.images, evaluation.boxes)
    _print_difference(evaluation.attention, theirs)
    rows = read_reference_attention(_COMPARE.value)
    rows = [rows.get(id) for id in ids]
    if evaluation.reference_attention and None not in rows:
        print("\nphrases of references")
        theirs = evaluate_sums(ids, [figure_sums(np.array(rows))])
        _print_difference(evaluation.reference_attention, theirs)


def _print_difference(ours: Evaluation, theirs: Evaluation) -> None:
    print(score_table(ours, theirs, compare(ours, theirs)))


def _score_predictions() -> None:
    if _OUTPUT.value:
        check_score_files(_OUTPUT.value)
    references = read_references(_REFERENCES.value, _SPLIT.value)
    # Everything is read before anything is scored.
    paired = _paired(_PREDICTIONS.value, references)
    others = _paired(_COMPARE.value, references) if _COMPARE.value else None
    if others:
        check_same_images(paired.ids, others.ids)
    evaluation = _evaluated(paired)
    other = _evaluated(others) if others else None
    differences = compare(evaluation, other) if other else None
    skipped = summarize_skipped(references.skipped)
    notes = [*left_out_lines(evaluation), *paired.warnings, skipped]
    for note in filter(None, notes):
        print(f"note: {note}", file=sys.stderr)
    count = sum(len(texts) for texts in paired.references)
    print(
        f"{len(paired.ids)} images with {count} references, matched by "
        f"{paired.matched_by}; {paired.unpredicted} more images have "
        f"references and no prediction; tokenizer {evaluation.tokenizer}\n"
    )
    print(score_table(evaluation, other, differences))
    if _OUTPUT.value:
        path = os.path.join(_OUTPUT.value, SCORES_FILE)
        content = as_json(evaluation, differences)
        content["references"] = count
        content["images_without_prediction"] = paired.unpredicted
        write_json(path, content)
        print(f"\n{path}")


def _paired(path: str, references: References) -> Paired:
    return pair(read_predictions(path), path, references)


def _evaluated(paired: Paired) -> Evaluation:
    print(f"scoring {len(paired.ids)} captions ...", file=sys.stderr)
    return evaluate_captions(paired.ids, paired.candidates, paired.references)


if __name__ == "__main__":
    run(main)
