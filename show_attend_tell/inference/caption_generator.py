"""Captions from annotations, by a trained captioner or an ensemble."""

import dataclasses
import functools
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.candidates import MASKED_LOG_PROBABILITY
from show_attend_tell.decoding.decode import decode
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.ensemble import Ensemble
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.reranking import ConsensusReranker
from show_attend_tell.model import Captioner


class CaptionGenerator:
    """Generates captions from annotations, a batch at a time.

    Args:
        captioner: The model, or an ensemble.
        vocabulary: Its words.
        grid: Rows and columns of the annotations.
        resize_mode: How photos were fitted for the encoder.
        load_reranker: Returns the reranker of a decoding with consensus;
            called once, when it is first needed.
    """

    def __init__(
        self,
        captioner: Captioner | Ensemble,
        vocabulary: Vocabulary,
        grid: tuple[int, int],
        resize_mode: str,
        load_reranker: Callable[[], ConsensusReranker] | None = None,
    ):
        self.captioner, self.vocabulary = captioner, vocabulary
        self.grid, self.resize_mode = captioner.grid(grid), resize_mode
        self._load_reranker = load_reranker and functools.cache(load_reranker)

        @functools.lru_cache(maxsize=16)
        def compile_decoding(decoding):
            @tf.function(jit_compile=True, autograph=False)
            def run(annotations, noise):
                return decode(captioner, annotations, decoding, noise)

            return run

        self._compile_decoding = compile_decoding

    def prepare(self, decoding: Decoding) -> None:
        """Reads now what a first caption would read from the run's folder.

        Raises:
            UserError: A reranker is needed and there is none.
        """
        if decoding.consensus:
            self._reranker(decoding)

    def captions(
        self, annotations, decoding: Decoding, first: int = 0
    ) -> list[Caption]:
        """Returns the captions of a batch, with their alternatives.

        Args:
            annotations: `(N, L, D)`.
            decoding: The settings.
            first: The number of the first image; an image's samples follow
                from its number and the seed.

        Raises:
            UserError: A reranker is needed and there is none.
        """
        if decoding.consensus:
            return self._reranked(annotations, decoding, first)
        images = range(first, first + annotations.shape[0])
        noise = np.stack([_decoding_noise(decoding, n) for n in images])
        decoded = self._compile_decoding(decoding)(annotations, noise)
        decoded = DecodedCaptions(*(value.numpy() for value in decoded))
        return [self._caption(decoded, n) for n in range(len(images))]

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

    def _reranked(self, annotations, decoding, first) -> list[Caption]:
        """Returns the proposals that captions of similar photos agree with."""
        reranker = self._reranker(decoding)
        captions = self.captions(annotations, decoding.proposing, first)
        proposed = [(caption, *caption.alternatives) for caption in captions]
        ranked = reranker.rerank(proposed, np.asarray(annotations))
        return [
            dataclasses.replace(
                best, alternatives=tuple(others[: decoding.num_captions - 1])
            )
            for best, *others in ranked
        ]

    def _reranker(self, decoding: Decoding) -> ConsensusReranker:
        if self._load_reranker is None:
            raise UserError(
                "Expected --consensus=0: this captioner has no photos to "
                f"compare with. Received: consensus={decoding.consensus}"
            )
        return self._load_reranker()

    def _caption(self, decoded: DecodedCaptions, n: int) -> Caption:
        def words(h, length):
            return self.vocabulary.decode(decoded.tokens[n, h, :length])

        return image_caption(decoded, n, words, self.grid, self.resize_mode)


def image_caption(
    decoded: DecodedCaptions,
    n: int,
    words: Callable[[int, int], Iterable[str]],
    grid: tuple[int, int],
    resize_mode: str,
) -> Caption:
    """Returns the best caption of an image, with the others in it.

    Args:
        decoded: Of a batch, as NumPy arrays.
        n: The number of the image.
        words: From the rank of a caption and its length to its words.
        grid: Rows and columns of the locations.
        resize_mode: How the photo was fitted.
    """
    captions = []
    for h, length in enumerate(decoded.lengths[n]):
        log_probability = float(decoded.log_probability[n, h])
        # The beam had fewer than `num_captions` different hypotheses.
        if captions and log_probability <= MASKED_LOG_PROBABILITY / 2:
            continue
        caption = Caption(
            words=tuple(words(h, length)),
            log_probability=log_probability,
            score=float(decoded.score[n, h]),
            finished=bool(decoded.finished[n, h]),
            attention=decoded.attention[n, h, :length].reshape(-1, *grid),
            gate=decoded.gate[n, h, :length],
            resize_mode=resize_mode,
            locations=_attended_locations(decoded.locations[n, h, :length]),
        )
        captions.append(caption)
    best, *others = captions
    return dataclasses.replace(best, alternatives=tuple(others))


def _attended_locations(locations: np.ndarray) -> tuple[int, ...] | None:
    single = locations.size > 0 and bool((locations >= 0).all())
    return tuple(locations.tolist()) if single else None


def _decoding_noise(decoding: Decoding, image: int) -> np.ndarray:
    """Returns the noise `(W, T, 2)` of one image, empty if none is needed."""
    if not decoding.needs_noise:
        return np.zeros(0, np.float32)
    rng = np.random.default_rng([decoding.seed, image])
    return rng.random((decoding.width, decoding.steps, 2), np.float32)
