"""Captions for images, by a captioner that was trained."""

import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from pipelines.cache.metadata import Metadata
from pipelines.encoders.encoder import Encoder
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.files import read_json
from pipelines.images.decoding import Photo, fit_image, load_image
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import Config
from show_attend_tell.decoding.candidates import MASKED_LOG_PROBABILITY
from show_attend_tell.decoding.decode import decode
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.ensemble import Ensemble
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.reranking import ConsensusReranker
from show_attend_tell.model import Captioner

MODEL_FILE = "best.keras"
VOCABULARY_FILE = "vocabulary.txt"
METADATA_FILE = "encoder.json"


class CaptionGenerator:
    """Says captions of annotations, a batch at a time.

    Args:
        captioner: The model, or an ensemble.
        vocabulary: Its words.
        grid: Rows and columns of the annotations.
        resize_mode: How the encoder saw the photos.
        consensus: Returns what chooses captions, where that is asked for.
    """

    def __init__(
        self,
        captioner: Captioner | Ensemble,
        vocabulary: Vocabulary,
        grid: tuple[int, int],
        resize_mode: str,
        consensus: Callable[[], ConsensusReranker] | None = None,
    ):
        self.captioner, self.vocabulary = captioner, vocabulary
        self.grid, self.resize_mode = captioner.grid(grid), resize_mode
        self._consensus = consensus and functools.cache(consensus)

        @functools.lru_cache(maxsize=16)
        def compiled(decoding):
            @tf.function(jit_compile=True, autograph=False)
            def speak(annotations, noise):
                return decode(captioner, annotations, decoding, noise)

            return speak

        self._compiled = compiled

    def prepare(self, decoding: Decoding) -> None:
        """Reads now what a first caption would read from the run's folder.

        Raises:
            UserError: ConsensusReranker is asked for and cannot be had.
        """
        if decoding.consensus:
            self._reranker(decoding)

    def captions(
        self, annotations, decoding: Decoding, first: int = 0
    ) -> list[Caption]:
        """Returns the captions of a batch, with their other hypotheses.

        Args:
            annotations: `(N, L, D)`.
            decoding: The settings.
            first: The number of the first image, from which, with the seed,
                its samples follow.

        Raises:
            UserError: ConsensusReranker is asked for and cannot be had.
        """
        if decoding.consensus:
            return self._rerank(annotations, decoding, first)
        images = range(first, first + annotations.shape[0])
        noise = [_sampling_noise(decoding, image) for image in images]
        said = self._compiled(decoding)(annotations, np.stack(noise))
        said = DecodedCaptions(*(value.numpy() for value in said))
        return [self._caption(said, n) for n in range(len(images))]

    def _rerank(self, annotations, decoding, first) -> list[Caption]:
        """Returns captions that those of similar photos agree with."""
        choose = self._reranker(decoding)
        said = self.captions(annotations, decoding.proposing, first)
        proposed = [(caption, *caption.alternatives) for caption in said]
        ranked = choose.chosen(proposed, np.asarray(annotations))
        return [
            dataclasses.replace(
                best, alternatives=tuple(others[: decoding.num_captions - 1])
            )
            for best, *others in ranked
        ]

    def _reranker(self, decoding: Decoding) -> ConsensusReranker:
        if self._consensus is None:
            raise UserError(
                "Expected --consensus=0: this captioner has no photos to "
                f"compare with. Received: consensus={decoding.consensus}"
            )
        return self._consensus()

    def all_captions(
        self,
        batches: Iterable,
        count: int,
        decoding: Decoding,
        verbose: bool = True,
    ) -> list[Caption]:
        """Returns the captions of the first `count` images of batches."""
        bar = keras.utils.Progbar(
            count, verbose=int(verbose), unit_name="caption"
        )
        captions = []
        for batch in batches:
            captions += self.captions(batch, decoding, len(captions))
            bar.update(min(len(captions), count))
        return captions[:count]

    def _caption(self, said: DecodedCaptions, n: int) -> Caption:
        def words(h, length):
            return self.vocabulary.decode(said.tokens[n, h, :length])

        return hypotheses_of(said, n, words, self.grid, self.resize_mode)


def hypotheses_of(
    said: DecodedCaptions,
    n: int,
    words: Callable[[int, int], Iterable[str]],
    grid: tuple[int, int],
    resize_mode: str,
) -> Caption:
    """Returns the best hypothesis of an image, which holds the others.

    Args:
        said: Of a batch, as arrays.
        n: The number of the image.
        words: Takes the number of a hypothesis and how many words it has,
            and returns them.
        grid: Rows and columns of the locations.
        resize_mode: How the encoder saw the photo.
    """
    hypotheses = []
    for h, length in enumerate(said.lengths[n]):
        caption = Caption(
            words=tuple(words(h, length)),
            log_probability=float(said.log_probability[n, h]),
            score=float(said.score[n, h]),
            finished=bool(said.finished[n, h]),
            attention=said.attention[n, h, :length].reshape(-1, *grid),
            gate=said.gate[n, h, :length],
            resize_mode=resize_mode,
            locations=_attended_locations(said.locations[n, h, :length]),
        )
        if (
            not hypotheses
            or caption.log_probability > MASKED_LOG_PROBABILITY / 2
        ):
            hypotheses.append(caption)
    best, *others = hypotheses
    return dataclasses.replace(best, alternatives=tuple(others))


class WorkdirCaptioner(PhotoCaptioner):
    """Captions images: encoder, captioner and words, as trained together.

    Args:
        encoder: From images to annotations.
        caption_generator: From annotations to captions.
        decoding: How captions are said, where a call does not say otherwise.
    """

    def __init__(
        self,
        encoder: Encoder,
        caption_generator: CaptionGenerator,
        decoding: Decoding,
    ):
        self.encoder = encoder
        self.caption_generator = caption_generator
        self.decoding = decoding

    @classmethod
    def load(
        cls,
        workdir: str,
        encoder_weights: str | None = None,
        ensemble: Sequence[str] = (),
    ) -> "WorkdirCaptioner":
        """Loads what `train` left in a folder.

        Args:
            workdir: The folder.
            encoder_weights: A file, where that of the training has moved.
            ensemble: Folders or files of models that join in, see
                `load_ensemble`.

        Raises:
            UserError: A file is missing, or does not belong to the others.
        """
        config = Config.load(workdir)
        captioner, vocabulary = load_ensemble(workdir, ensemble)
        trained_on = Metadata.from_dict(
            read_json(os.path.join(workdir, METADATA_FILE))
        )
        encoder = encoder_of(
            trained_on, encoder_weights or config.encoder_weights, workdir
        )
        caption_generator = CaptionGenerator(
            captioner,
            vocabulary,
            trained_on.grid,
            trained_on.resize_mode,
            functools.partial(ConsensusReranker.load, workdir, trained_on),
        )
        return cls(encoder, caption_generator, decoding_of(config))

    def stream(
        self, photos: Iterable[Photo], batch_size: int = 8, **decoding
    ) -> Iterator[Caption]:
        """Captions photos one batch after the other, without end.

        Args:
            photos: As for `caption`; read when their turn comes.
            batch_size: How many go through the networks together.
            **decoding: As for `caption`.

        Yields:
            The captions, in order.

        Raises:
            UserError: A photo cannot be read, or a setting is out of range.
        """
        decoding = self.decoding.replace(**decoding)
        size, resize_mode = (
            self.encoder.image_size,
            self.caption_generator.resize_mode,
        )
        photos, first = iter(photos), 0
        while given := list(itertools.islice(photos, batch_size)):
            # One shape for every batch: networks are compiled once.
            squares = np.zeros((batch_size, size, size, 3), np.uint8)
            for square, photo in zip(squares, given, strict=False):
                square[:] = fit_image(load_image(photo), size, resize_mode)
            annotations = self.encoder.model.predict_on_batch(squares)
            captions = self.caption_generator.captions(
                annotations, decoding, first
            )
            for caption, photo in zip(captions, given, strict=False):
                yield dataclasses.replace(caption, photo=photo)
            first += len(given)


def encoder_of(trained_on: Metadata, weights: str, workdir: str) -> Encoder:
    """Builds the encoder that a captioner was trained with.

    Args:
        trained_on: What its annotations were.
        weights: `"default"`, or a file.
        workdir: The folder of the run, for messages.

    Raises:
        UserError: The weights are others.
    """
    encoder = build_encoder(trained_on.encoder, trained_on.layer, weights)
    if encoder.digest != trained_on.digest:
        raise UserError(
            f"The weights of {encoder.name} are not those that the captioner "
            f"in {workdir!r} was trained with (SHA-256 "
            f"{trained_on.digest[:12]}..., received "
            f"{encoder.digest[:12]}...). Give their file with "
            "--encoder_weights=FILE"
        )
    return encoder


def decoding_of(config: Config) -> Decoding:
    """Returns how a run says its captions, where nobody says otherwise."""
    return Decoding(
        beam_width=config.beam_width,
        length_penalty=config.length_penalty,
        max_words=config.max_words,
        consensus=config.consensus,
    )


def _attended_locations(locations: np.ndarray) -> tuple[int, ...] | None:
    single = locations.size > 0 and bool((locations >= 0).all())
    return tuple(locations.tolist()) if single else None


def _sampling_noise(decoding: Decoding, image: int) -> np.ndarray:
    """Returns the chance that decides the samples of one image."""
    if not decoding.needs_noise:
        return np.zeros(0, np.float32)
    rng = np.random.default_rng([decoding.seed, image])
    return rng.random((decoding.width, decoding.steps, 2), np.float32)


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


def load_ensemble(
    workdir: str, others: Sequence[str]
) -> tuple[Captioner | Ensemble, Vocabulary]:
    """Loads the best model of a run and those that say captions with it.

    Args:
        workdir: The folder of the run.
        others: Folders of other runs, or `.keras` files in a run's folder or
            its `epochs`; none for the run's model alone.

    Returns:
        The model or the ensemble, and its words.

    Raises:
        UserError: A file is missing or damaged, or a model was trained with
            other words or on other annotations.
    """
    captioner, vocabulary = load_captioner(workdir)
    if not others:
        return captioner, vocabulary
    trained_on = _annotations_of(os.path.join(workdir, MODEL_FILE))
    members = [captioner]
    for path in member_files(workdir, others)[1:]:
        member = load_model(path)
        if member.vocabulary_digest != vocabulary.digest:
            raise UserError(
                f"Expected models with the words of {workdir}. Received: "
                f"{path}, which was trained with other words. Let it start "
                f"from that run's with --warm_start, or leave it out."
            )
        differences = trained_on.differences(_annotations_of(path))
        if differences:
            raise UserError(
                f"Expected models that were trained on the annotations of "
                f"{workdir}. Received: {path}: {'; '.join(differences)}. "
                "Leave it out."
            )
        members.append(member)
    return Ensemble(members), vocabulary


def member_files(workdir: str, others: Sequence[str]) -> list[str]:
    """Returns the files of an ensemble's models, that of the run first."""
    return [
        os.path.join(given, MODEL_FILE) if os.path.isdir(given) else given
        for given in (workdir, *others)
    ]


def digest_of(path: str) -> str:
    """Returns the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _annotations_of(path: str) -> Metadata:
    """Reads what a model was trained on, beside its file or one above."""
    beside = os.path.dirname(os.path.abspath(path))
    for folder in (beside, os.path.dirname(beside)):
        file = os.path.join(folder, METADATA_FILE)
        if os.path.exists(file):
            return Metadata.from_dict(read_json(file))
    raise UserError(
        f"Expected a model in the folder of its run, with {METADATA_FILE}. "
        f"Received: {path}"
    )


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
