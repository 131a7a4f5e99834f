"""A captioner for devices, used like one that was trained.

Needs ai-edge-litert, and no TensorFlow and no Keras.
"""

import itertools
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
    """Captions images with a TFLite file.

    Greedy and by beam search; the other settings were chosen at export.

    Args:
        path: The file.
        threads: How many the model may use; by default as many as there are
            processors, up to four.

    Raises:
        UserError: ai-edge-litert is missing, or the file is none of ours.
    """

    def __init__(self, path: str, threads: int | None = None):
        self.settings, self.vocabulary = read_tail(path)
        self.decoding = self.settings.decoding
        self.interpreter = load_interpreter(path, threads)
        self._check(path)

    def stream(
        self, photos: Iterable[Photo], batch_size: int = 8, **decoding
    ) -> Iterator[Caption]:
        """Captions photos one after the other, without end.

        Args:
            photos: As for `caption`.
            batch_size: How many are read before the first is captioned.
            **decoding: `method`, `"greedy"` or `"beam"`; other settings must
                be those of the export.

        Yields:
            The captions, in order.

        Raises:
            UserError: A photo cannot be read, or a setting is another.
        """
        asked = keep_decoding(self.decoding, decoding, free=["method"])
        if asked.method not in (GREEDY, BEAM):
            raise UserError(
                "Expected --method=beam or greedy of a captioner for devices. "
                f"Received: method={asked.method}"
            )
        run = self.interpreter.get_signature_runner(asked.method)
        photos = iter(photos)
        while given := list(itertools.islice(photos, batch_size)):
            for photo in given:
                yield self._caption(run(image=self.image_of(photo)), photo)

    def image_of(self, photo: Photo) -> np.ndarray:
        """Returns what the model takes, uint8 `(1, S, S, 3)`."""
        size, resize_mode = self.settings.image_size, self.settings.resize_mode
        return fit_image(load_image(photo), size, resize_mode)[None]

    def _caption(self, said: dict[str, np.ndarray], photo: Photo) -> Caption:
        length = int(said["length"][0])
        attention = said["attention"][0, :length]
        peaks = attention.argmax(axis=-1).tolist()
        return Caption(
            words=tuple(self.vocabulary.decode(said["tokens"][0, :length])),
            log_probability=float(said["log_probability"][0]),
            score=float(said["score"][0]),
            finished=bool(said["finished"][0]),
            attention=attention.reshape(
                -1, self.settings.rows, self.settings.columns
            ),
            gate=said["gate"][0, :length],
            photo=photo,
            resize_mode=self.settings.resize_mode,
            locations=tuple(peaks)
            if self.settings.context_mode == "peak"
            else None,
        )

    def _check(self, path: str) -> None:
        """Checks that the model has the shapes that its settings tell."""
        size, words = self.settings.image_size, self.settings.max_words
        locations = self.settings.rows * self.settings.columns
        given = {
            "tokens": (words,), "length": (), "finished": (), "score": (),
            "log_probability": (), "attention": (words, locations),
            "gate": (words,),
        }  # fmt: skip
        try:
            for method in (GREEDY, BEAM):
                run = self.interpreter.get_signature_runner(method)
                taken, answered = (
                    {name: tuple(one["shape"]) for name, one in all.items()}
                    for all in (
                        run.get_input_details(),
                        run.get_output_details(),
                    )
                )
                if taken != {"image": (1, size, size, 3)} or answered != {
                    name: (1, *shape) for name, shape in given.items()
                }:
                    raise ValueError(f"{method}: {taken} -> {answered}")
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"The model in {os.fspath(path)!r} does not fit its "
                f"{SETTINGS_FILE}: {error}. Export it again."
            ) from error


def load_interpreter(path: str, threads: int | None = None):
    """Loads a TFLite file.

    Args:
        path: The file.
        threads: How many it may use; see `TFLiteCaptioner`.

    Returns:
        An `ai_edge_litert.interpreter.Interpreter`.

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
