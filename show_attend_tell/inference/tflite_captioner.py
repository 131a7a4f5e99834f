"""Captions photos with a TFLite file; needs no TensorFlow and no Keras."""

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipelines.errors import UserError
from pipelines.images.decoding import Photo, fit_image, load_image
from pipelines.vocabulary import START
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.fixed_decoding import keep_decoding
from show_attend_tell.inference.tflite_file import (
    BEAM,
    ENCODE,
    ENDING,
    GREEDY,
    SETTINGS_FILE,
    START_CAPTION,
    STEP,
    WORDS_FILE,
    read_tflite,
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
        self.path = os.fspath(path)
        self.settings, self.vocabulary, content = read_tflite(path)
        self.decoding = self.settings.decoding
        # Loaded from the bytes that were checked: files can be changed.
        self.interpreter = load_interpreter(content, self.path, threads)
        self._check()

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that the encoder sees."""
        return self.settings.image_size

    @property
    def resize_mode(self) -> str:
        """How photos are fitted, `"squash"` or `"crop"`."""
        return self.settings.resize_mode

    def decoding_of(self, **changes) -> Decoding:
        """See `PhotoCaptioner`; `method` may be chosen per call."""
        asked = keep_decoding(self.decoding, changes, free=["method"])
        if asked.method not in (GREEDY, BEAM):
            raise UserError(
                "Expected --method=beam or greedy of a captioner for devices. "
                f"Received: method={asked.method}"
            )
        return asked

    def run(
        self, signature: str, **inputs: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Runs a signature of the model; see `tflite_signatures`.

        Raises:
            UserError: The model has none of this name, or cannot run it.
        """
        try:
            return self.interpreter.get_signature_runner(signature)(**inputs)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"The model {self.path!r} cannot be run: {_line(error)}. "
                "Export it again."
            ) from error

    def prepare(self, photo: Photo) -> np.ndarray:
        """Returns a photo as the model takes it, uint8 `(1, S, S, 3)`."""
        size, resize_mode = self.settings.image_size, self.settings.resize_mode
        return fit_image(load_image(photo), size, resize_mode)[None]

    def is_full(self, photos, batch_size: int) -> bool:
        """The model takes one photo at a time, so no other waits for it."""
        return True

    def generate(self, photos, first, batch_size, decoding) -> list[Caption]:
        """See `PhotoCaptioner`."""
        method = decoding.method
        return [self.parse(self.run(method, image=one)) for one in photos]

    def attention_of(
        self, photo: np.ndarray, captions: Iterable[Sequence[str]]
    ) -> Iterator[np.ndarray]:
        """Yields the attention of each of some captions, by teacher forcing.

        Args:
            photo: A prepared photo.
            captions: Their words.

        Yields:
            `(T, rows, columns)` float32 for T words.
        """
        started = self.run(START_CAPTION, **self.run(ENCODE, image=photo))
        grid = self.settings.rows, self.settings.columns
        for words in captions:
            previous, state, maps = START, started, []
            for token in self.vocabulary.ids_of(words):
                state = {name: state[name] for name in ("hidden", "cell")}
                state = self.run(
                    STEP,
                    token=np.array([previous], np.int32),
                    **{**started, **state},
                )
                maps.append(state["attention"].reshape(grid))
                previous = token
            yield np.reshape(maps, (-1, *grid))

    def parse(self, outputs: dict[str, np.ndarray]) -> Caption:
        """Returns the caption in the outputs of `greedy` or `beam`.

        Raises:
            UserError: They are words that the vocabulary does not have.
        """
        settings = self.settings
        length, tokens = int(outputs["length"][0]), outputs["tokens"][0]
        in_range = 0 <= tokens.min() and tokens.max() < len(self.vocabulary)
        if not in_range or not 0 <= length <= len(tokens):
            raise self._misfit(f"tokens={tokens.tolist()}, length={length}")
        attention = outputs["attention"][0, :length]
        peaks = tuple(attention.argmax(axis=-1).tolist())
        return Caption(
            words=tuple(self.vocabulary.decode(tokens[:length])),
            log_probability=float(outputs["log_probability"][0]),
            score=float(outputs["score"][0]),
            finished=bool(outputs["finished"][0]),
            attention=attention.reshape(-1, settings.rows, settings.columns),
            gate=outputs["gate"][0, :length],
            resize_mode=settings.resize_mode,
            locations=peaks if settings.context_mode == "peak" else None,
        )

    def _check(self) -> None:
        """Checks that the signatures have the tensors of the settings."""
        size, words = self.settings.image_size, self.settings.max_words
        locations = self.settings.rows * self.settings.columns
        inputs = {"image": ("uint8", (1, size, size, 3))}
        outputs = {
            "tokens": ("int32", (1, words)),
            "length": ("int32", (1,)),
            "finished": ("int32", (1,)),
            "score": ("float32", (1,)),
            "log_probability": ("float32", (1,)),
            "gate": ("float32", (1, words)),
            "attention": ("float32", (1, words, locations)),
        }
        for method in (GREEDY, BEAM):
            try:
                run = self.interpreter.get_signature_runner(method)
                actual = (
                    _tensors(run.get_input_details()),
                    _tensors(run.get_output_details()),
                )
            except (ValueError, RuntimeError) as error:
                raise self._misfit(_line(error)) from error
            if actual != (inputs, outputs):
                raise self._misfit(f"{method}: {actual[0]} -> {actual[1]}")

    def _misfit(self, reason: str) -> UserError:
        return UserError(
            f"The model in {self.path!r} does not fit its {SETTINGS_FILE} or "
            f"{WORDS_FILE}: {reason}. Export it again."
        )


def _tensors(details: dict) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns the dtype and the shape of each tensor, by name."""
    return {
        name: (np.dtype(one["dtype"]).name, tuple(one["shape"].tolist()))
        for name, one in details.items()
    }


def _line(error: Exception) -> str:
    """Returns the runtime's message, which can have several lines."""
    return " ".join(str(error).split())


def load_interpreter(content: bytes, path: str, threads: int | None = None):
    """Loads the bytes of a TFLite file into an `ai_edge_litert` interpreter.

    Args:
        content: The complete file.
        path: Its name, for messages.
        threads: How many it may use; by default one for each processor, up
            to four.

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
        return Interpreter(model_content=content, num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"The model {path!r} cannot be loaded: {_line(error)}. Export it "
            "again."
        ) from error
