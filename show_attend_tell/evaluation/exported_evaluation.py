"""Scores exported captioners, and captions in a file, on the splits of data."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipelines.boxes import load_boxes
from pipelines.captions import (
    CaptionedImage,
    Skipped,
    Source,
    summarize_skipped,
)
from pipelines.errors import UserError
from pipelines.words import words_of
from show_attend_tell.evaluation.attention_measures import measure_phrases
from show_attend_tell.evaluation.split_evaluation import (
    SplitEvaluation,
    check_split,
    default_splits,
    evaluate_split,
)
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.caption_file import read_captions
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from show_attend_tell.metrics.caption_scores import check_same_images

# Of what the network sees, in pixels: boxes differ by no more than one of them.
_IMAGE_SIZE = 224

Images = Sequence[CaptionedImage]


def evaluate_exported(
    captioner: PhotoCaptioner,
    data: Source,
    splits: Sequence[str],
    boxes: str | None = None,
    **decoding,
) -> list[SplitEvaluation]:
    """Captions and scores splits with an exported captioner.

    With boxes the attention is measured of generated captions, and where the
    captioner takes captions, as a `.tflite` file does, also of references.

    Args:
        captioner: The captioner.
        data: The images of all splits.
        splits: As for `split_evaluation.evaluate_run`.
        boxes: As for `evaluate_run`.
        **decoding: As for `PhotoCaptioner.caption`.

    Raises:
        UserError: The captioner is a workdir's, a split has no images, or a
            setting cannot be used.
    """
    if isinstance(captioner, WorkdirCaptioner):
        raise UserError(
            "Expected --model to be a version or a file that `export` wrote. "
            "Received: the folder of a training; give it as --workdir=DIR"
        )
    evaluations = []
    for split, images in _chosen(data, splits):
        images, captions = _captioned(captioner, images, decoding)
        photo_boxes = boxes and load_boxes(
            boxes, images, captioner.image_size, captioner.resize_mode
        )
        evaluation = evaluate_split(
            split, images, captions, (), data.name == "scenes", photo_boxes
        )
        if photo_boxes and isinstance(captioner, TFLiteCaptioner):
            attentions = _reference_attention(captioner, images)
            evaluation = evaluation.with_references(
                measure_phrases(attentions, images, photo_boxes)
            )
        evaluations.append(evaluation)
    return evaluations


def _chosen(
    data: Source, splits: Sequence[str]
) -> Iterator[tuple[str, Images]]:
    """Yields the splits to score and their images."""
    images = {name: data.split(name) for name in data.splits}
    for split in splits or default_splits(images):
        check_split(split, images)
        yield split, images[split]


def _captioned(
    captioner: PhotoCaptioner, images: Images, decoding: Mapping
) -> tuple[list[CaptionedImage], list[Caption]]:
    """Captions images; those that cannot be read are left out, and named."""
    outcomes = captioner.captions_or_errors(map(_read, images), **decoding)
    captioned, captions, skipped = [], [], []
    for done, (image, outcome) in enumerate(
        zip(images, outcomes, strict=True), start=1
    ):
        if isinstance(outcome, UserError):
            skipped.append(Skipped(image.id, str(outcome)))
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            captioned.append(image)
            captions.append(dataclasses.replace(outcome, photo=None))
        if sys.stderr.isatty():
            end = "\n" if done == len(images) else ""
            print(f"\r{done}/{len(images)} photos", end=end, file=sys.stderr)
    if skipped:
        print(summarize_skipped(skipped))
    if not captions:
        raise UserError(
            "Expected a photo that can be captioned. Received: none of "
            f"{len(images)}, {skipped[0].name}: {skipped[0].reason}"
        )
    return captioned, captions


def _read(image: CaptionedImage) -> bytes:
    try:
        return image.read()
    except OSError as error:
        raise UserError(f"cannot read the photo {image.id}: {error}") from error


def _reference_attention(
    captioner: TFLiteCaptioner, images: Images
) -> Iterator[np.ndarray]:
    """Yields the attention `(T, rows, columns)` of each caption, in order."""
    for image in images:
        captions = [words_of(text) for text in image.captions]
        photo = captioner.prepare(_read(image))
        yield from captioner.attention_of(photo, captions)


def evaluate_predictions(
    path: str, data: Source, splits: Sequence[str], boxes: str
) -> list[SplitEvaluation]:
    """Scores the captions in a file, and the attention that it has of them.

    Args:
        path: In COCO's results form, each with its attention.
        data: The images of all splits.
        splits: The split whose captions they are; by default the first of
            those that `evaluate` scores.
        boxes: As for `split_evaluation.evaluate_run`.

    Raises:
        UserError: The file lacks the attention, or captions other images.
    """
    split, images = next(_chosen(data, splits))
    captions = read_captions(path)
    without = [id for id, caption in captions.items() if caption is None]
    if without:
        raise UserError(
            'Expected "attention" of each caption, as `evaluate --boxes` '
            f"writes it, in {path}. Received: none of {without[0]!r}. "
            "Caption anew, or give --references=FILE and no --boxes"
        )
    check_same_images([image.id for image in images], tuple(captions))
    ordered = [captions[image.id] for image in images]
    resize_modes = sorted({caption.resize_mode for caption in ordered})
    if len(resize_modes) > 1:
        raise UserError(
            "Expected attention to photos that were all fitted alike in "
            f"{path}. Received: resize_mode={' and '.join(resize_modes)}"
        )
    photo_boxes = load_boxes(boxes, images, _IMAGE_SIZE, resize_modes[0])
    evaluation = evaluate_split(
        split, images, ordered, (), data.name == "scenes", photo_boxes
    )
    del evaluation.figures["finished"]  # A file does not say.
    return [evaluation]
