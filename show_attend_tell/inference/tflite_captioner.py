"""Captions photos with a TFLite file; needs no TensorFlow and no Keras."""

import dataclasses
import os
from collections.abc import Iterable, Iterator

import numpy as np

from pipelines.errors import UserError
from pipelines.images.decoding import Photo, fit_image, load_image
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.fixed_decoding import keep_decoding
from show_attend_tell.inference.tflite_file import (
    BEAM,
    ENDING,
    GREEDY,
    SETTINGS_FILE,
    read_tail,
)

INSTALL = "pip install 'show-attend-tell[lite]'"
_MOST_THREADS = 4


def is_tflite(path: str) -> bool:
    """Whether a file is, by its name, a captioner for devices."""
    return os.fspath(path).endswith(ENDING)


class TFLiteCaptioner(PhotoCaptioner):
    """Captions photos with a TFLite file, greedily or by beam search.

    The other decoding settings were chosen at export.

    Args:
        path: The file.
        threads: How many the model may use; by default one for each
            processor, up to four.

    Raises:
        UserError: ai-edge-litert is missing, or `export` did not write the
            file.
    """

    def __init__(self, path: str, threads: int | None = None):
        self.settings, self.vocabulary = read_tail(path)
        self.decoding = self.settings.decoding
        self.interpreter = load_interpreter(path, threads)
        self._check(path)

    def stream(
        self, photos: Iterable[Photo], batch_size: int = 8, **decoding
    ) -> Iterator[Caption]:
        """See `PhotoCaptioner.stream`; `method` may be chosen per call."""
        asked = keep_decoding(self.decoding, decoding, free=["method"])
        if asked.method not in (GREEDY, BEAM):
            raise UserError(
                "Expected --method=beam or greedy of a captioner for devices. "
                f"Received: method={asked.method}"
            )
        run = self.interpreter.get_signature_runner(asked.method)
        for photo in photos:
            caption = self.parse(run(image=self.image_of(photo)))
            yield dataclasses.replace(caption, photo=photo)

    def image_of(self, photo: Photo) -> np.ndarray:
        """Returns a photo as the model takes it, uint8 `(1, S, S, 3)`."""
        size, resize_mode = self.settings.image_size, self.settings.resize_mode
        return fit_image(load_image(photo), size, resize_mode)[None]

    def parse(self, outputs: dict[str, np.ndarray]) -> Caption:
        """Returns the caption in the outputs of `greedy` or `beam`."""
        settings = self.settings
        length = int(outputs["length"][0])
        attention = outputs["attention"][0, :length]
        peaks = tuple(attention.argmax(axis=-1).tolist())
        return Caption(
            words=tuple(self.vocabulary.decode(outputs["tokens"][0, :length])),
            log_probability=float(outputs["log_probability"][0]),
            score=float(outputs["score"][0]),
            finished=bool(outputs["finished"][0]),
            attention=attention.reshape(-1, settings.rows, settings.columns),
            gate=outputs["gate"][0, :length],
            resize_mode=settings.resize_mode,
            locations=peaks if settings.context_mode == "peak" else None,
        )

    def _check(self, path: str) -> None:
        """Checks that the signatures have the shapes of the settings."""
        size, words = self.settings.image_size, self.settings.max_words
        locations = self.settings.rows * self.settings.columns
        inputs = {"image": (1, size, size, 3)}
        outputs = {
            "tokens": (1, words), "length": (1,), "finished": (1,),
            "score": (1,), "log_probability": (1,), "gate": (1, words),
            "attention": (1, words, locations),
        }  # fmt: skip
        try:
            for method in (GREEDY, BEAM):
                run = self.interpreter.get_signature_runner(method)
                actual = (
                    _shapes(run.get_input_details()),
                    _shapes(run.get_output_details()),
                )
                if actual != (inputs, outputs):
                    raise ValueError(f"{method}: {actual[0]} -> {actual[1]}")
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"The model in {os.fspath(path)!r} does not fit its "
                f"{SETTINGS_FILE}: {error}. Export it again."
            ) from error


def _shapes(details: dict) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one["shape"]) for name, one in details.items()}


def load_interpreter(path: str, threads: int | None = None):
    """Loads a TFLite file into an `ai_edge_litert` interpreter.

    Raises:
        UserError: ai-edge-litert is missing, or it cannot load the file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(
            "Expected ai-edge-litert, which runs captioners for devices. "
            f"Received: {error}. Get it: {INSTALL}"
        ) from error
    threads = threads or min(os.cpu_count() or 1, _MOST_THREADS)
    try:
        return Interpreter(os.fspath(path), num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"The model {os.fspath(path)!r} cannot be loaded: {error}. "
            "Export it again."
        ) from error
