"""What a SavedModel must show before it may be served."""

import concurrent.futures
import dataclasses
import io
import multiprocessing
import os

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from pipelines.errors import UserError
from pipelines.images.decoding import decode_image, fit_image
from pipelines.sources.scenes import load_scenes
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.saved_model_captioner import parse_answer
from show_attend_tell.inference.saved_model_session import (
    ALL_CAPTIONS,
    BEST_CAPTION,
    ENCODE,
    FILE_NAME,
    FROM_ANNOTATIONS,
    IMAGE_OUTPUTS,
    SavedModelSession,
)
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

# Operations of TensorFlow itself that no exported captioner may have: they
# need Python or a compiler, or touch the server's files.
_REFUSED = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "XlaLaunch"}
_REFUSED |= {"ReadFile", "WriteFile", "MatchingFiles", "LoadLibrary"}

_BATCH = 32
_ALONE = 4  # One of each format.
_ATTENTION_TOLERANCE = 1e-5
_TOLERANCE = 1e-4  # Of log-probabilities and scores, relative.
_NO_IMAGES = (b"", b"no image", b"\x89PNG\r\n\x1a\n cut off", b"BM", b"GIF89a")


def check(path: str, captioner: WorkdirCaptioner, decoding: Decoding) -> None:
    """Checks an export against the captioner that it was made of.

    A process of its own loads the file in graph mode, as servers do, and
    captions drawn scenes of many sizes in all formats, with undecodable
    images between them, together and one by one.

    Args:
        path: The folder of the SavedModel.
        captioner: What it was made of.
        decoding: How it says captions.

    Raises:
        UserError: It cannot be loaded, has operations that servers may lack,
            or answers otherwise than the captioner.
    """
    _check_operations(path)
    photos = drawn_photos()
    grid, resize_mode = (
        captioner.caption_generator.grid,
        captioner.caption_generator.resize_mode,
    )
    size = captioner.encoder.image_size
    squares = [fit_image(decode_image(p), size, resize_mode) for p in photos]
    annotations = captioner.encoder.model.predict_on_batch(np.stack(squares))
    settings = dataclasses.asdict(decoding)
    captions = captioner.caption(photos, batch_size=_BATCH, **settings)

    images = _between(photos)
    requests = [
        (ALL_CAPTIONS, {"images": images}),
        (BEST_CAPTION, {"images": images}),
        (FROM_ANNOTATIONS, {"annotations": annotations}),
        (ENCODE, {"images": images}),
    ]
    requests += [
        (ALL_CAPTIONS, {"images": [photo]}) for photo in photos[:_ALONE]
    ]
    together, best, again, encoded, *alone = fresh_answers(path, requests)

    for answer in (together, best, encoded):
        _check_valid(answer["valid"])
    _check_numbers(
        "annotations", encoded["annotations"][::2], annotations, _TOLERANCE
    )
    for n, caption in enumerate(captions):
        answers = [(together, 2 * n), (again, n)]
        answers += [(alone[n], 0)] if n < len(alone) else []
        for answer, place in answers:
            found = parse_answer(answer, place, grid, resize_mode)
            _check_caption(found, caption)
    for name in set(best) - IMAGE_OUTPUTS:
        first = together[name][:, 0]
        if first.dtype.kind == "f":
            _check_numbers(name, best[name], first, _ATTENTION_TOLERANCE)
        elif not np.array_equal(best[name], first):
            raise _failure(
                f"{BEST_CAPTION} and {ALL_CAPTIONS} differ in {name}"
            )


def fresh_answers(
    path: str, requests: list[tuple[str, dict]]
) -> list[dict[str, np.ndarray]]:
    """Answers requests in a process that knows nothing but the file.

    Args:
        path: The folder of the SavedModel.
        requests: Names of signatures, and what they are given.

    Raises:
        UserError: The file cannot be loaded, or an answer failed.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_answers, path, requests).result()
        except concurrent.futures.BrokenExecutor as error:
            raise _failure("it brought down its process") from error


def _answers(path, requests):
    with SavedModelSession(path) as session:
        try:
            return [session(name, **given) for name, given in requests]
        # Errors of TensorFlow do not travel between processes.
        except tf.errors.OpError as error:
            raise _failure(f"a request failed: {error.message}") from None


def operations(path: str) -> set[str]:
    """Returns the names of all operations in a SavedModel.

    Args:
        path: Its folder.
    """
    return {node.op for node in _nodes(path)}


def _nodes(path: str):
    model = saved_model_pb2.SavedModel()
    with open(os.path.join(path, FILE_NAME), "rb") as file:
        model.ParseFromString(file.read())
    for graph in model.meta_graphs:
        yield from graph.graph_def.node
        for function in graph.graph_def.library.function:
            yield from function.node_def


def _check_operations(path: str) -> None:
    odd = sorted(
        op
        for op in operations(path)
        if op in _REFUSED or not hasattr(tf.raw_ops, op)
    )
    if odd:
        raise _failure(f"it has operations that servers lack: {odd}")
    if any(node.attr["_XlaMustCompile"].b for node in _nodes(path)):
        raise _failure("a part of it needs the XLA compiler")


def _check_valid(valid: np.ndarray) -> None:
    expected = np.arange(len(valid)) % 2 == 0
    wrong = np.flatnonzero(valid != expected).tolist()
    if wrong:
        raise _failure(f"it takes these for what they are not: {wrong}")


def _check_caption(found: Caption, expected: Caption) -> None:
    said = [(one.text, one.finished, one.locations) for one in _all(found)]
    wanted = [(one.text, one.finished, one.locations) for one in _all(expected)]
    if said != wanted:
        raise _failure(f"it says {said} instead of {wanted}")
    for one, other in zip(_all(found), _all(expected), strict=True):
        for name in ("attention", "gate"):
            values = getattr(one, name), getattr(other, name)
            _check_numbers(name, *values, _ATTENTION_TOLERANCE)
        for name in ("log_probability", "score"):
            values = getattr(one, name), getattr(other, name)
            _check_numbers(name, *values, _TOLERANCE)


def _all(caption: Caption) -> tuple[Caption, ...]:
    return (caption, *caption.alternatives)


def _check_numbers(name: str, found, expected, tolerance: float) -> None:
    """Checks that numbers are equal, relative to the largest."""
    apart = np.max(np.abs(np.subtract(found, expected)), initial=0)
    largest = np.max(np.abs(expected), initial=1)
    if not apart <= tolerance * largest:
        raise _failure(f"{name} differs by {apart:.2g}")


def drawn_photos(count: int = _BATCH) -> list[bytes]:
    """Returns drawn scenes of many sizes, in every format in turn.

    Args:
        count: How many.
    """
    rng = np.random.default_rng(0)
    photos = []
    for n, image in enumerate(load_scenes(0, 0, count, 0).images):
        picture = Image.open(io.BytesIO(image.read())).convert("RGB")
        width, height = (int(side) for side in rng.integers(40, 600, 2))
        file = io.BytesIO()
        picture.resize((width, height)).save(
            file, ("JPEG", "PNG", "GIF", "BMP")[n % 4]
        )
        photos.append(file.getvalue())
    return photos


def _between(photos: list[bytes]) -> list[bytes]:
    """Returns the photos with something undecodable after each."""
    return [
        image
        for n, photo in enumerate(photos)
        for image in (photo, _NO_IMAGES[n % len(_NO_IMAGES)])
    ]


def _failure(reason: str) -> UserError:
    return UserError(
        f"The export is not fit to be served: {reason}. Nothing was written."
    )
