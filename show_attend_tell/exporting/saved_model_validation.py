"""Checks a SavedModel against the captioner it was made of."""

import dataclasses
import itertools
import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from pipelines.errors import UserError
from pipelines.images.decoding import decode_image, fit_image
from pipelines.processes import call_in_process
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.exporting.example_photos import example_photos
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.saved_model_captioner import parse_answer
from show_attend_tell.inference.saved_model_operations import (
    FILE_NAME,
    refused_operations,
)
from show_attend_tell.inference.saved_model_session import (
    ALL_CAPTIONS,
    BEST_CAPTION,
    ENCODE,
    FROM_ANNOTATIONS,
    IMAGE_OUTPUTS,
    SavedModelSession,
)
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

_PHOTOS = 32
_SINGLE = 4  # Photos that are also captioned one by one, one of each format.
_ATTENTION_TOLERANCE = 1e-5
_TOLERANCE = 1e-4  # Of log-probabilities and scores, relative.
_UNDECODABLE = (
    b"",
    b"no image",
    b"\x89PNG\r\n\x1a\n cut off",
    b"BM",
    b"GIF89a",
)


def check(path: str, captioner: WorkdirCaptioner, decoding: Decoding) -> None:
    """Checks an export against the captioner that it was made of.

    A separate process loads the file in graph mode, as servers do, and
    captions scenes of many sizes in all formats, with undecodable images
    between them, together and one by one.

    Args:
        path: The folder of the SavedModel.
        captioner: What it was made of.
        decoding: Its settings.

    Raises:
        UserError: It cannot be loaded, has operations that servers may lack,
            or answers otherwise than the captioner.
    """
    _check_operations(path)
    photos = example_photos(_PHOTOS)
    generator = captioner.caption_generator
    size = captioner.encoder.image_size
    squares = [
        fit_image(decode_image(photo), size, generator.resize_mode)
        for photo in photos
    ]
    annotations = captioner.encoder.model.predict_on_batch(np.stack(squares))
    images = _with_undecodable(photos)
    all_captions, best, from_annotations, encoded, *single = fresh_answers(
        path,
        [
            (ALL_CAPTIONS, {"images": images}),
            (BEST_CAPTION, {"images": images}),
            (FROM_ANNOTATIONS, {"annotations": annotations}),
            (ENCODE, {"images": images}),
            *((ALL_CAPTIONS, {"images": [p]}) for p in photos[:_SINGLE]),
        ],
    )
    for answer in (all_captions, best, encoded):
        _check_valid(answer["valid"])
    _check_numbers(
        "annotations", encoded["annotations"][::2], annotations, _TOLERANCE
    )
    _check_best(best, all_captions)
    settings = dataclasses.asdict(decoding)
    expected = captioner.caption(photos, batch_size=_PHOTOS, **settings)
    for n, caption in enumerate(expected):
        answers = [(all_captions, 2 * n), (from_annotations, n)]
        answers += [(single[n], 0)] if n < len(single) else []
        for answer, index in answers:
            _check_caption(
                parse_answer(
                    answer, index, generator.grid, generator.resize_mode
                ),
                caption,
            )


def fresh_answers(
    path: str, requests: list[tuple[str, dict]]
) -> list[dict[str, np.ndarray]]:
    """Answers requests in a process that has nothing but the file.

    Args:
        path: The folder of the SavedModel.
        requests: Names of signatures, and their inputs.

    Raises:
        UserError: The file cannot be loaded, or an answer failed.
    """
    try:
        return call_in_process(_answers, path, requests)
    except ChildProcessError as error:
        raise _failure("it brought down its process") from error


def _answers(path, requests):
    with SavedModelSession(path) as session:
        try:
            return [session(name, **inputs) for name, inputs in requests]
        # Errors of TensorFlow do not travel between processes.
        except tf.errors.OpError as error:
            raise _failure(f"a request failed: {error.message}") from None


def _with_undecodable(photos: list[bytes]) -> list[bytes]:
    """Returns the photos with something undecodable after each."""
    bad = itertools.cycle(_UNDECODABLE)
    return [image for photo in photos for image in (photo, next(bad))]


def _check_operations(path: str) -> None:
    refused = refused_operations(path)
    if refused:
        raise _failure(f"it has operations that servers lack: {refused}")
    model = saved_model_pb2.SavedModel()
    with open(os.path.join(path, FILE_NAME), "rb") as file:
        model.ParseFromString(file.read())
    nodes = []
    for graph in model.meta_graphs:
        nodes += graph.graph_def.node
        for function in graph.graph_def.library.function:
            nodes += function.node_def
    if any(node.attr["_XlaMustCompile"].b for node in nodes):
        raise _failure("a part of it needs the XLA compiler")


def _check_valid(valid: np.ndarray) -> None:
    expected = np.arange(len(valid)) % 2 == 0
    wrong = np.flatnonzero(valid != expected).tolist()
    if wrong:
        raise _failure(f"it misjudges whether these images are valid: {wrong}")


def _check_best(best: dict, all_captions: dict) -> None:
    for name in set(best) - IMAGE_OUTPUTS:
        first = all_captions[name][:, 0]
        if first.dtype.kind == "f":
            _check_numbers(name, best[name], first, _ATTENTION_TOLERANCE)
        elif not np.array_equal(best[name], first):
            raise _failure(
                f"{BEST_CAPTION} and {ALL_CAPTIONS} differ in {name}"
            )


def _check_caption(actual: Caption, expected: Caption) -> None:
    captions = (actual, *actual.alternatives)
    others = (expected, *expected.alternatives)
    received, wanted = (
        [(one.text, one.finished, one.locations) for one in several]
        for several in (captions, others)
    )
    if received != wanted:
        raise _failure(f"it answers {received} instead of {wanted}")
    for one, other in zip(captions, others, strict=True):
        for name, tolerance in (
            ("attention", _ATTENTION_TOLERANCE),
            ("gate", _ATTENTION_TOLERANCE),
            ("log_probability", _TOLERANCE),
            ("score", _TOLERANCE),
        ):
            values = getattr(one, name), getattr(other, name)
            _check_numbers(name, *values, tolerance)


def _check_numbers(name: str, actual, expected, tolerance: float) -> None:
    """Checks that numbers are equal, relative to the largest."""
    difference = np.max(np.abs(np.subtract(actual, expected)), initial=0)
    largest = np.max(np.abs(expected), initial=1)
    if not difference <= tolerance * largest:
        raise _failure(f"{name} differs by {difference:.2g}")


def _failure(reason: str) -> UserError:
    return UserError(
        f"The export is not fit to be served: {reason}. Nothing was written."
    )
