"""Captions for images, by a captioner that was trained."""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from pipelines.encoders import Encoder, build_encoder
from pipelines.errors import UserError
from pipelines.files import read_json
from pipelines.images import fit_image
from pipelines.metadata import Metadata
from pipelines.vocabulary import Vocabulary
from show_attend_tell import decoding
from show_attend_tell.config import Config
from show_attend_tell.model import Captioner
from show_attend_tell.visualization import draw_attention

MODEL_FILE = "best.keras"
VOCABULARY_FILE = "vocabulary.txt"
METADATA_FILE = "encoder.json"


@dataclasses.dataclass(frozen=True)
class Caption:
    """What the model said of one image, and where it looked.

    Attributes:
        words: The words; T of them.
        log_probability: Natural logarithm of the probability of the words
            and the end.
        finished: Whether the caption came to its end, or was cut.
        attention: `(T, L)` float32, where the model looked for each word.
        gate: `(T,)` float32, how much it relied on the image.
    """

    words: tuple[str, ...]
    log_probability: float
    finished: bool
    attention: np.ndarray
    gate: np.ndarray

    @property
    def text(self) -> str:
        """The caption as a line."""
        return " ".join(self.words)


class Speaker:
    """Says captions of annotations, a batch at a time.

    Args:
        captioner: The model.
        vocabulary: Its words.
        max_words: The longest caption.
    """

    def __init__(
        self, captioner: Captioner, vocabulary: Vocabulary, max_words: int
    ):
        self.vocabulary = vocabulary

        @tf.function(jit_compile=True, autograph=False)
        def speak(annotations):
            return decoding.greedy(captioner, annotations, max_words)

        self._speak = speak

    def captions(self, annotations) -> list[Caption]:
        """Returns the captions of annotations `(N, L, D)`."""
        said = decoding.Captions(
            *(value.numpy() for value in self._speak(annotations))
        )
        captions = []
        for n, length in enumerate(said.lengths):
            words = self.vocabulary.decode(said.tokens[n, :length])
            captions.append(
                Caption(
                    words=tuple(words),
                    log_probability=float(said.log_probability[n]),
                    finished=bool(said.finished[n]),
                    attention=said.attention[n, :length],
                    gate=said.gate[n, :length],
                )
            )
        return captions

    def all_captions(
        self, batches: Iterable, count: int, verbose: bool = True
    ) -> list[Caption]:
        """Returns the captions of the first `count` images of batches."""
        bar = keras.utils.Progbar(
            count, verbose=int(verbose), unit_name="caption"
        )
        captions = []
        for batch in batches:
            captions += self.captions(batch)
            bar.update(min(len(captions), count))
        return captions[:count]


class ImageCaptioner:
    """Captions images: encoder, captioner and words, as trained together.

    Args:
        config: The settings of the run.
        encoder: From images to annotations.
        captioner: From annotations to words.
        vocabulary: The words.
    """

    def __init__(
        self,
        config: Config,
        encoder: Encoder,
        captioner: Captioner,
        vocabulary: Vocabulary,
    ):
        self.config = config
        self.encoder = encoder
        self._speaker = Speaker(captioner, vocabulary, config.caption_words)

    @classmethod
    def load(
        cls, workdir: str, encoder_weights: str | None = None
    ) -> "ImageCaptioner":
        """Loads what `train` left in a folder.

        Args:
            workdir: The folder.
            encoder_weights: A file, where that of the training has moved.

        Raises:
            UserError: A file is missing, or does not belong to the others.
        """
        config = Config.load(workdir)
        captioner, vocabulary = load_captioner(workdir)
        trained_on = Metadata.from_dict(
            read_json(os.path.join(workdir, METADATA_FILE))
        )
        encoder = build_encoder(
            trained_on.encoder,
            trained_on.layer,
            encoder_weights or config.encoder_weights,
        )
        if encoder.digest != trained_on.digest:
            raise UserError(
                f"The weights of {encoder.name} are not those that the "
                f"captioner in {workdir!r} was trained with (SHA-256 "
                f"{trained_on.digest[:12]}..., received "
                f"{encoder.digest[:12]}...). Give their file with "
                "--encoder_weights=FILE"
            )
        return cls(config, encoder, captioner, vocabulary)

    def caption(
        self, images: Iterable[np.ndarray], batch_size: int = 8
    ) -> Iterator[Caption]:
        """Captions images, a batch at a time.

        Args:
            images: Each uint8 `(H, W, 3)`, of any size; not kept.
            batch_size: How many go through the networks together.

        Yields:
            The captions, in order.
        """
        images = iter(images)
        size, geometry = self.encoder.image_size, self.config.geometry
        while squares := [
            fit_image(image, size, geometry)
            for image in itertools.islice(images, batch_size)
        ]:
            # One shape for every batch: networks are compiled once.
            filled = np.zeros((batch_size, size, size, 3), np.uint8)
            filled[: len(squares)] = squares
            annotations = self.encoder.model.predict_on_batch(filled)
            yield from self._speaker.captions(annotations)[: len(squares)]

    def draw(self, image: np.ndarray, caption: Caption, **style) -> Image.Image:
        """Draws where the model looked for each word of a caption."""
        return draw_attention(
            image,
            caption.words,
            caption.attention,
            grid=self.encoder.grid,
            gate=caption.gate,
            geometry=self.config.geometry,
            **style,
        )


def load_captioner(workdir: str) -> tuple[Captioner, Vocabulary]:
    """Loads the best model of a run and its words.

    Raises:
        UserError: One is missing, or they do not belong together.
    """
    path = os.path.join(workdir, MODEL_FILE)
    vocabulary = Vocabulary.load(os.path.join(workdir, VOCABULARY_FILE))
    captioner = load_model(path)
    check_vocabulary(captioner, vocabulary, path)
    return captioner, vocabulary


def load_model(path: str) -> Captioner:
    """Loads a `.keras` file in safe mode.

    Raises:
        UserError: It is missing, damaged, or no captioner.
    """
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises many kinds at damaged files.
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise UserError(
            f"The model {path} cannot be loaded: {reason} Train again, or "
            "put the file back."
        ) from error
    if not isinstance(model, Captioner):
        raise UserError(f"{path} holds no Captioner but a {type(model)}")
    return model


def check_vocabulary(
    captioner: Captioner, vocabulary: Vocabulary, path: str
) -> None:
    """Checks that a model was trained with these words.

    Raises:
        UserError: It was not.
    """
    if captioner.vocabulary_digest != vocabulary.digest:
        raise UserError(
            f"{VOCABULARY_FILE} does not hold the words that {path} was "
            "trained with. Put the file of that training back."
        )
