"""Reranks the captions of a beam by people's captions of similar photos.

Consensus reranking takes, of the captions that a beam proposes, the one most
like what people wrote of similar photos (Mao et al. 2015, arXiv:1412.6632;
Devlin et al. 2015, arXiv:1505.04467). Here it is learned which photos are
similar, and what counts as well is whether a caption has the words that the
photo calls for. The model, its attention and its probabilities stay as they
are.
"""

import collections
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.cache.metadata import Metadata
from pipelines.checksums import write_bytes, write_json
from pipelines.errors import UserError
from pipelines.files import read_json
from pipelines.words import words_of
from show_attend_tell.configs.run_files import check_run
from show_attend_tell.inference.caption import Caption
from show_attend_tell.metrics.cider import cider_d
from show_attend_tell.metrics.ngrams import ReferenceNgrams, padded

CAPTIONS_FILE = "similar_photos.json"
NUMBERS_FILE = "similar_photos.float16"

# Photos of training that are compared with; what is solved once grows as
# their cube, and takes seconds for so many.
MAX_PHOTOS = 10_000
# Photos, the most similar ones, whose captions are compared with.
NEIGHBOURS = 30
# The weight of a caption's score, its log-probability per word.
SCORE_WEIGHT = 0.4

_RIDGE = 0.3  # lambda of the kernel ridge regression
_MIN_WORD_PHOTOS = 5  # a word must be in the captions of so many photos
_SCALE_PHOTOS = 1000  # photos whose distances give the kernel's scale
_MAX_WORDS = 2**16


def photo_descriptors(annotations: np.ndarray) -> np.ndarray:
    """Describes photos by the mean and the maximum of their annotations.

    Args:
        annotations: `(N, L, D)` float32, as the encoder gave them.

    Returns:
        `(N, 2 D)` float32: over the locations the mean and the maximum of
        `sign(a) sqrt(|a|)`. Annotations have few large values; the root
        keeps them from being all that counts.
    """
    roots = np.sign(annotations) * np.sqrt(np.abs(annotations))
    both = [roots.mean(axis=1), roots.max(axis=1)]
    return np.concatenate(both, axis=1).astype(np.float32)


class ConsensusReranker:
    """Ranks captions of a photo by those that people wrote of similar ones.

    From a photo's descriptor `x` the words of its captions are predicted, by
    kernel ridge regression with `k(x, x') = exp(-|x - x'|^2 / m)`, `m` the
    median of `|x - x'|^2`, of descriptors whose parts have mean 0 and variance
    1 each:

        y(x) = sum_n k(x, x_n) b_n,    b = (K + 0.3 I)^-1 Y

    where row n of `Y` is the mean over a photo's captions of their words'
    tf-idf, each of length 1, less the mean of all photos. A photo is as
    similar as the cosine of `y(x)` and its row of `Y`.

    Args:
        descriptors: `(M, F)` of M photos, see `photo_descriptors`.
        captions: Of each photo its captions.
        weights: `(M, W)`, row n is `b_n`; by default they are solved for, and
            rounded to float16, as they are kept.

    Raises:
        ValueError: There are no photos, one has no caption, or there are not
            as many descriptors as photos, or not as many weights as words.
    """

    def __init__(
        self,
        descriptors: np.ndarray,
        captions: Sequence[Sequence[str]],
        weights: np.ndarray | None = None,
    ):
        if not len(captions) or len(descriptors) != len(captions):
            raise ValueError(
                "Expected a descriptor and captions for each photo. Received: "
                f"{len(descriptors)} descriptors, {len(captions)} photos"
            )
        self.captions = tuple(tuple(texts) for texts in captions)
        self.descriptors = np.asarray(descriptors, np.float16)
        words = [[words_of(text) for text in texts] for texts in captions]
        distinct = dict.fromkeys(_flat(_flat(words)))
        self._numbers = {word: n for n, word in enumerate(distinct, 1)}
        self._ngrams = ReferenceNgrams(
            [[self._numbered(each) for each in texts] for texts in words]
        )
        wide = self.descriptors.astype(np.float32)
        self._mean, self._deviation = wide.mean(axis=0), wide.std(axis=0) + 1e-6
        self._photos = (wide - self._mean) / self._deviation
        some = self._photos[:_SCALE_PHOTOS]
        scale = float(np.median(_squared_distances(some, some)))
        self._scale = max(scale, 1e-6)
        self._tf_idf = _TfIdf(words)
        targets = np.stack([self._tf_idf.mean(texts) for texts in words])
        self._mean_target = targets.mean(axis=0)
        targets -= self._mean_target
        if weights is None:
            weights = self._solve(targets).astype(np.float16)
        if weights.shape != targets.shape:
            raise ValueError(
                f"Expected weights of the shape {targets.shape}. "
                f"Received: {weights.shape}"
            )
        self.weights = weights.astype(np.float32)
        self._targets = _unit(targets)

    @classmethod
    def from_batches(
        cls,
        batches: Iterable[np.ndarray],
        captions: Sequence[Sequence[str]],
    ) -> "ConsensusReranker":
        """Makes a reranker of the first 10,000 photos, from annotations.

        Batches are `(N, L, D)`; the last may hold more photos than are left.
        """
        captions = captions[:MAX_PHOTOS]
        described = np.concatenate([photo_descriptors(b) for b in batches])
        return cls(described[: len(captions)], captions)

    def _solve(self, targets: np.ndarray) -> np.ndarray:
        kernel = self._kernel(self._photos)
        kernel[np.diag_indices_from(kernel)] += _RIDGE
        return np.linalg.solve(kernel, targets)

    def _kernel(self, photos: np.ndarray) -> np.ndarray:
        distances = _squared_distances(photos, self._photos)
        return np.exp(-distances / self._scale)

    def predict_words(self, annotations: np.ndarray) -> np.ndarray:
        """Returns `y`, of length 1, of photos with annotations `(N, L, D)`.

        Raises:
            UserError: The annotations are of another size.
        """
        given = photo_descriptors(np.asarray(annotations, np.float32))
        if given.shape[1] != len(self._mean):
            raise UserError(
                f"Expected annotations of {len(self._mean) // 2} numbers, as "
                f"those of the similar photos. Received: {given.shape[1] // 2}"
            )
        photos = (given - self._mean) / self._deviation
        return _unit(self._kernel(photos) @ self.weights)

    def nearest(self, predicted: np.ndarray) -> np.ndarray:
        """Returns the indices of the 30 most similar photos, `(N, K)`."""
        similarity = predicted @ self._targets.T
        order = np.argsort(-similarity, axis=1, kind="stable")
        return order[:, :NEIGHBOURS]

    def agreement(
        self, captions: Sequence[Sequence[str]], photos: np.ndarray
    ) -> np.ndarray:
        """Returns for C captions, as words, the mean CIDEr-D over K photos."""
        rows = padded([self._numbered(words) for words in captions])
        matches = self._ngrams.match(
            np.repeat(rows, len(photos), axis=0),
            np.tile(photos, len(captions)),
        )
        each = cider_d(matches)
        return each.reshape(len(captions), len(photos)).mean(axis=1)

    def match(
        self, captions: Sequence[Sequence[str]], predicted: np.ndarray
    ) -> np.ndarray:
        """Returns for C captions, as words, the cosine with `y` `(W,)`.

        It is the cosine of `y` and the tf-idf of a caption's words, less the
        mean of all photos.
        """
        rows = np.stack([self._tf_idf.mean([words]) for words in captions])
        return _unit(rows - self._mean_target) @ predicted

    def rerank(
        self, captions: Sequence[Sequence[Caption]], annotations: np.ndarray
    ) -> list[list[Caption]]:
        """Ranks the captions proposed for each photo.

            score = agreement + match + 0.4 (the score of the caption)

        A caption that was cut ranks behind all that came to their end.

        Args:
            captions: For each photo its captions.
            annotations: `(N, L, D)`, of the photos.

        Returns:
            For each photo its captions, the best first, with their scores.
        """
        predicted = self.predict_words(annotations)
        nearest = self.nearest(predicted)
        return [
            self._rerank_photo(*each)
            for each in zip(captions, predicted, nearest, strict=True)
        ]

    def _rerank_photo(self, captions, predicted, nearest) -> list[Caption]:
        words = [caption.words for caption in captions]
        consensus = self.agreement(words, nearest)
        consensus = consensus + self.match(words, predicted)
        scored = [
            dataclasses.replace(
                caption, score=float(value) + SCORE_WEIGHT * caption.score
            )
            for caption, value in zip(captions, consensus, strict=True)
        ]
        return sorted(scored, key=lambda c: (not c.finished, -c.score))

    def _numbered(self, words: Iterable[str]) -> np.ndarray:
        # Words of no reference share a number.
        unknown = len(self._numbers) + 1
        numbers = [self._numbers.get(word, unknown) for word in words]
        return np.array(numbers, np.int64)

    def save(self, directory: str, metadata: Metadata) -> None:
        """Writes captions, and descriptors and weights in plain float16.

        The metadata are those of the annotations that the run is trained on.
        """
        both = self.descriptors, self.weights
        raw = b"".join(each.astype("<f2").tobytes() for each in both)
        write_bytes(directory, NUMBERS_FILE, raw)
        content = {
            "annotations": metadata.to_dict(),
            "numbers": hashlib.sha256(raw).hexdigest(),
            "captions": self.captions,
        }
        write_json(directory, CAPTIONS_FILE, content)

    @classmethod
    def load(cls, directory: str, metadata: Metadata) -> "ConsensusReranker":
        """Reads what `save` wrote.

        Raises:
            UserError: The run has none, or one is damaged or of other
                annotations.
        """
        command = (
            "python -m show_attend_tell.evaluate --split=dev --consensus=20 "
            f"--workdir={directory}"
        )
        if not has_similar_photos(directory):
            raise UserError(
                f"Expected a run with {CAPTIONS_FILE}, to choose captions by. "
                f"Received: {directory!r}. Make it: {command}, or give "
                "--consensus=0"
            )
        try:
            return cls(*_read(directory, metadata))
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{CAPTIONS_FILE} and {NUMBERS_FILE} in {directory} do not "
                "belong to the run, or not to each other. Delete them, and "
                f"have them made again: {command}"
            ) from error


def has_similar_photos(directory: str) -> bool:
    """Tells whether a run has the files of `ConsensusReranker.save`."""
    return os.path.exists(os.path.join(directory, CAPTIONS_FILE))


def _read(directory, metadata):
    """Returns descriptors, captions and weights; ValueError if damaged."""
    check_run(directory, CAPTIONS_FILE, NUMBERS_FILE)
    content = read_json(os.path.join(directory, CAPTIONS_FILE))
    captions = content.get("captions") if type(content) is dict else None
    if not _are_captions(captions):
        raise ValueError("no captions")
    if content.get("annotations") != metadata.to_dict():
        raise ValueError("captions of other annotations")
    path = os.path.join(directory, NUMBERS_FILE)
    photos, depth = len(captions), 2 * metadata.depth
    try:
        words = os.path.getsize(path) / 2 / photos - depth
        if words not in range(_MAX_WORDS):
            raise ValueError(f"{words} words")
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    numbers = np.frombuffer(raw, "<f2")
    same = hashlib.sha256(raw).hexdigest() == content.get("numbers")
    if not same or not np.isfinite(numbers).all():
        raise ValueError("other numbers")
    descriptors, weights = np.split(numbers, [photos * depth])
    descriptors = descriptors.reshape(photos, depth)
    return descriptors, captions, weights.reshape(photos, -1)


def _are_captions(captions: object) -> bool:
    return (
        isinstance(captions, list)
        and 0 < len(captions) <= MAX_PHOTOS
        and all(isinstance(texts, list) and texts for texts in captions)
        and all(isinstance(text, str) for text in _flat(captions))
    )


class _TfIdf:
    """The words that distinguish photos, weighed by how rare they are.

    Args:
        words: Of each photo its captions, as words.
    """

    def __init__(self, words: Sequence[Sequence[Sequence[str]]]):
        photos = collections.Counter(
            word for texts in words for word in set(_flat(texts))
        )
        # Sorted, since sets have no order, and sums depend on it.
        kept = sorted(w for w, n in photos.items() if n >= _MIN_WORD_PHOTOS)
        self._columns = {word: column for column, word in enumerate(kept)}
        self._rarity = {w: np.log((len(words) + 1) / photos[w]) for w in kept}

    def mean(self, captions: Sequence[Sequence[str]]) -> np.ndarray:
        """Returns the mean tf-idf of captions, each of length 1, `(W,)`."""
        row = np.zeros(len(self._columns), np.float32)
        for words in captions:
            counts = collections.Counter(w for w in words if w in self._columns)
            columns = [self._columns[word] for word in counts]
            values = [n * self._rarity[word] for word, n in counts.items()]
            row[columns] += _unit(np.array(values)) / len(captions)
        return row


def _flat(sequences: Iterable[Iterable]) -> Iterable:
    return itertools.chain.from_iterable(sequences)


def _squared_distances(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    squares = (these**2).sum(axis=1)[:, None] + (those**2).sum(axis=1)
    return np.maximum(squares - 2 * these @ those.T, 0)


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return values / np.maximum(length, 1e-12)
