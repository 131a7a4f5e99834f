"""Choosing the caption that people's captions of similar photos agree with.

A model says several captions of a photo and ranks them by how likely it finds
them. People who described similar photos know better: of the captions, the one
is taken that is most like theirs (Mao et al. 2015, arXiv:1412.6632; Devlin et
al. 2015, arXiv:1505.04467). Here it is learned which photos are similar, and
what counts as well is whether a caption has the words that the photo calls
for. The model, its attention and its probabilities stay as they are.
"""

import collections
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.cache.metadata import Metadata
from pipelines.errors import UserError
from pipelines.files import read_json, write_atomically, write_json
from pipelines.vocabulary import words_of
from show_attend_tell.inference.caption import Caption
from show_attend_tell.metrics.rewards import LARGEST_WORD, References

CAPTIONS_FILE = "similar_photos.json"
NUMBERS_FILE = "similar_photos.float16"

# Photos of training that are compared with; what is solved once grows as
# their cube, and takes seconds for so many.
MOST_PHOTOS = 10_000
# Of the photos that are most similar, how many are asked.
NEAREST = 30
# What a caption's own score, its log-probability per word, counts beside the
# others.
SCORE_WEIGHT = 0.4

# Of kernel ridge regression: lambda, and in how many photos a word must be.
_RIDGE = 0.3
_LEAST_PHOTOS = 5
# Photos whose distances tell how far apart photos are.
_MEASURED = 1000


def describe(annotations: np.ndarray) -> np.ndarray:
    """Describes photos by the mean and the peak of their annotations.

    Args:
        annotations: `(N, L, D)` float32, as the encoder gave them.

    Returns:
        `(N, 2 D)` float32: over the locations the mean and the largest of
        `sign(a) sqrt(|a|)`. Annotations have few large values; the root
        keeps them from being all that counts.
    """
    roots = np.sign(annotations) * np.sqrt(np.abs(annotations))
    both = [roots.mean(axis=1), roots.max(axis=1)]
    return np.concatenate(both, axis=1).astype(np.float32)


class ConsensusReranker:
    """Photos with people's captions, to choose captions of others by.

    From a photo's descriptor `x` the words that people will say are predicted,
    by kernel ridge regression with `k(x, x') = exp(-|x - x'|^2 / m)`, `m` the
    median of `|x - x'|^2`, of descriptors whose parts have mean 0 and variance
    1 each:

        y(x) = sum_n k(x, x_n) b_n,    b = (K + 0.3 I)^-1 Y

    where row n of `Y` is the mean over a photo's captions of their words'
    tf-idf, each of length 1, less the mean of all photos. A photo is as
    similar as the cosine of `y(x)` and its row of `Y`.

    Args:
        descriptors: `(M, F)` of M photos, see `describe`.
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
        self._numbers = _numbered(words)
        self._references = References(
            [[self._as_numbers(each) for each in own] for own in words]
        )
        wide = self.descriptors.astype(np.float32)
        self._mean, self._spread = wide.mean(axis=0), wide.std(axis=0) + 1e-6
        self._photos = (wide - self._mean) / self._spread
        some = self._photos[:_MEASURED]
        self._scale = max(float(np.median(_apart(some, some))), 1e-6)
        self._words = _Words(words)
        said = np.stack([self._words.of(own) for own in words])
        self._usual = said.mean(axis=0)
        said -= self._usual
        if weights is None:
            weights = self._solved(said).astype(np.float16)
        if weights.shape != said.shape:
            raise ValueError(
                f"Expected weights of the shape {said.shape}. "
                f"Received: {weights.shape}"
            )
        self.weights = weights.astype(np.float32)
        self._said = _unit(said)

    def _solved(self, said: np.ndarray) -> np.ndarray:
        kernel = self._kernel(self._photos)
        kernel[np.diag_indices_from(kernel)] += _RIDGE
        return np.linalg.solve(kernel, said)

    def _kernel(self, photos: np.ndarray) -> np.ndarray:
        return np.exp(-_apart(photos, self._photos) / self._scale)

    def predicted(self, annotations: np.ndarray) -> np.ndarray:
        """Predicts the words that people will say.

        Args:
            annotations: `(N, L, D)`.

        Returns:
            `(N, W)` float32, `y` of each photo, of length 1.

        Raises:
            UserError: The annotations are of another size.
        """
        given = describe(np.asarray(annotations, np.float32))
        if given.shape[1] != len(self._mean):
            raise UserError(
                f"Expected annotations of {len(self._mean) // 2} numbers, as "
                f"those of the similar photos. Received: {given.shape[1] // 2}"
            )
        photos = (given - self._mean) / self._spread
        return _unit(self._kernel(photos) @ self.weights)

    def nearest(self, predicted: np.ndarray) -> np.ndarray:
        """Returns the most similar photos of each.

        Args:
            predicted: `(N, W)`, see `predicted`.

        Returns:
            `(N, K)`, numbers of photos, the most similar first; K is 30, or
            all there are.
        """
        likeness = predicted @ self._said.T
        return np.argsort(-likeness, axis=1, kind="stable")[:, :NEAREST]

    def agreement(
        self, captions: Sequence[Sequence[str]], photos: np.ndarray
    ) -> np.ndarray:
        """Measures how well captions agree with those of photos.

        Args:
            captions: C captions as words.
            photos: `(K,)`, numbers of photos.

        Returns:
            `(C,)`, the mean over the photos of CIDEr-D, from 0 to 10; 0 for
            a caption of no words.
        """
        longest = max(1, max(len(words) for words in captions))
        said = np.zeros((len(captions), longest), np.int64)
        for row, words in zip(said, captions, strict=True):
            row[: len(words)] = self._as_numbers(words)
        each = self._references.cider_d(
            np.repeat(said, len(photos), axis=0),
            np.tile(photos, len(captions)),
        )
        return each.reshape(len(captions), len(photos)).mean(axis=1)

    def match(
        self, captions: Sequence[Sequence[str]], predicted: np.ndarray
    ) -> np.ndarray:
        """Measures how well captions have the words that are predicted.

        Args:
            captions: C captions as words.
            predicted: `(W,)`, those of a photo.

        Returns:
            `(C,)`, from -1 to 1: the cosine of `y(x)` and the tf-idf of a
            caption's words, less the mean of all photos.
        """
        said = np.stack([self._words.of([words]) for words in captions])
        return _unit(said - self._usual) @ predicted

    def chosen(
        self, hypotheses: Sequence[Sequence[Caption]], annotations: np.ndarray
    ) -> list[list[Caption]]:
        """Ranks the hypotheses of each photo by consensus.

            score = agreement + match + 0.4 (the score of the hypothesis)

        A caption that was cut ranks behind all that came to their end.

        Args:
            hypotheses: For each photo its captions.
            annotations: `(N, L, D)`, of the photos.

        Returns:
            For each photo its captions, the best first, with their scores.
        """
        predicted = self.predicted(annotations)
        nearest = self.nearest(predicted)
        return [
            self._ranked(*each)
            for each in zip(hypotheses, predicted, nearest, strict=True)
        ]

    def _ranked(self, captions, predicted, nearest) -> list[Caption]:
        words = [caption.words for caption in captions]
        agreed = self.agreement(words, nearest)
        agreed = agreed + self.match(words, predicted)
        ranked = [
            dataclasses.replace(
                caption, score=float(agrees) + SCORE_WEIGHT * caption.score
            )
            for caption, agrees in zip(captions, agreed, strict=True)
        ]
        return sorted(ranked, key=lambda c: (not c.finished, -c.score))

    def _as_numbers(self, words: Iterable[str]) -> np.ndarray:
        # Words that nobody said share the number of the rarest.
        numbers = [self._numbers.get(word, LARGEST_WORD) for word in words]
        return np.array(numbers, np.int64)

    def save(self, directory: str, metadata: Metadata) -> None:
        """Writes two files: captions, and numbers in plain float16.

        The numbers are the descriptors, and after them the weights.

        Args:
            directory: The folder of the run.
            metadata: What its annotations are.
        """
        both = self.descriptors, self.weights
        raw = b"".join(each.astype("<f2").tobytes() for each in both)
        write_atomically(os.path.join(directory, NUMBERS_FILE), raw)
        content = {
            "annotations": metadata.to_dict(),
            "numbers": hashlib.sha256(raw).hexdigest(),
            "captions": self.captions,
        }
        write_json(os.path.join(directory, CAPTIONS_FILE), content)

    @classmethod
    def load(cls, directory: str, metadata: Metadata) -> "ConsensusReranker":
        """Reads what `save` wrote.

        Args:
            directory: The folder of the run.
            metadata: What its annotations are.

        Raises:
            UserError: The run has none, or one is damaged or of other
                annotations.
        """
        if not is_there(directory):
            raise UserError(
                f"Expected a run with {CAPTIONS_FILE}, to choose captions by. "
                f"Received: {directory!r}. Make it: {make_command(directory)}, "
                "or give --consensus=0"
            )
        content = read_json(os.path.join(directory, CAPTIONS_FILE))
        captions = content.get("captions") if type(content) is dict else None
        damaged = UserError(
            f"{CAPTIONS_FILE} and {NUMBERS_FILE} in {directory} do not "
            "belong to the run, or not to each other. Delete them, and have "
            f"them made again: {make_command(directory)}"
        )
        known = _are_captions(captions)
        if not known or content.get("annotations") != metadata.to_dict():
            raise damaged
        path = os.path.join(directory, NUMBERS_FILE)
        photos, described = len(captions), 2 * metadata.depth
        try:
            words = os.path.getsize(path) / 2 / photos - described
            if words not in range(LARGEST_WORD):
                raise damaged
            with open(path, "rb") as file:
                raw = file.read()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error}") from error
        numbers = np.frombuffer(raw, "<f2")
        same = hashlib.sha256(raw).hexdigest() == content.get("numbers")
        if not same or not np.isfinite(numbers).all():
            raise damaged
        descriptors, weights = np.split(numbers, [photos * described])
        try:
            return cls(
                descriptors.reshape(photos, described),
                captions,
                weights.reshape(photos, -1),
            )
        except ValueError as error:  # Not as many words.
            raise damaged from error


def make_command(directory: str) -> str:
    """Returns the command that makes the files of a run."""
    return (
        "python -m show_attend_tell.evaluate --split=dev --consensus=20 "
        f"--workdir={directory}"
    )


def is_there(directory: str) -> bool:
    """Tells whether a run has the files."""
    return os.path.exists(os.path.join(directory, CAPTIONS_FILE))


def collect(
    batches: Iterable[np.ndarray], captions: Sequence[Sequence[str]]
) -> ConsensusReranker:
    """Makes a consensus of photos, the first 10,000.

    Args:
        batches: Their annotations, `(N, L, D)` each; the last may hold more
            than are left.
        captions: Of each photo its captions.
    """
    captions = captions[:MOST_PHOTOS]
    described = np.concatenate([describe(batch) for batch in batches])
    return ConsensusReranker(described[: len(captions)], captions)


def _are_captions(captions: object) -> bool:
    return (
        isinstance(captions, list)
        and 0 < len(captions) <= MOST_PHOTOS
        and all(isinstance(own, list) and own for own in captions)
        and all(
            isinstance(text, str)
            for text in itertools.chain.from_iterable(captions)
        )
    )


def _numbered(words) -> dict[str, int]:
    """Gives words numbers from 1 on, the frequent ones first."""
    spoken = itertools.chain.from_iterable(itertools.chain(*words))
    frequent = collections.Counter(spoken).most_common(LARGEST_WORD - 1)
    return {word: number for number, (word, _) in enumerate(frequent, 1)}


class _Words:
    """The words that photos can be told apart by, and how rare they are.

    Args:
        words: Of each photo its captions, as words.
    """

    def __init__(self, words: Sequence[Sequence[Sequence[str]]]):
        photos = collections.Counter(
            word for own in words for word in set(itertools.chain(*own))
        )
        # Sorted, since sets have no order, and sums depend on it.
        known = sorted(w for w, n in photos.items() if n >= _LEAST_PHOTOS)
        self._place = {word: place for place, word in enumerate(known)}
        self._rarity = {w: np.log((len(words) + 1) / photos[w]) for w in known}

    def of(self, captions: Sequence[Sequence[str]]) -> np.ndarray:
        """Returns the mean tf-idf of captions, each of length 1, `(W,)`."""
        row = np.zeros(len(self._place), np.float32)
        for words in captions:
            counts = collections.Counter(w for w in words if w in self._place)
            columns = [self._place[word] for word in counts]
            values = [n * self._rarity[word] for word, n in counts.items()]
            row[columns] += _unit(np.array(values)) / len(captions)
        return row


def _apart(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """Returns squared distances `(N, M)`."""
    squares = (these**2).sum(axis=1)[:, None] + (those**2).sum(axis=1)
    return np.maximum(squares - 2 * these @ those.T, 0)


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return values / np.maximum(length, 1e-12)
