"""CIDEr-D, smoothed BLEU-4 and METEOR of single captions, in no time.

Words are numbers, and an n-gram is one number of 64 bits, so that counting
and comparing is sorting and searching, which NumPy does by itself. CIDEr-D
and BLEU-4 are those of pycocoevalcap's `CiderScorer` and of
`scores.smoothed_bleu`; METEOR is that of words that are the same.
"""

import typing
from collections.abc import Sequence

import numpy as np

from pipelines.errors import UserError
from show_attend_tell.metrics.bleu import smoothed_bleu

_ORDERS = 4
_BITS = 16
# Of the Gaussian that compares lengths, and what the mean is multiplied by.
_SIGMA = 6.0
_SCALE = 10.0

# METEOR 1.5's for English (Denkowski and Lavie 2014, section 4): what recall
# counts beside precision, and what is taken off for words out of order.
_RECALL_SHARE = 0.85
_PENALTY, _PENALTY_POWER = 0.6, 0.2

# Words are numbers from 1 to this; an n-gram of four then fits 64 bits.
LARGEST_WORD = 2**_BITS - 1


class Rewards(typing.NamedTuple):
    """What captions are worth, each `(B,)` float64.

    Attributes:
        cider: CIDEr-D, from 0 to 10.
        bleu: Smoothed BLEU-4, from 0 to 1.
        meteor: METEOR of words that are the same, from 0 to 1.
    """

    cider: np.ndarray
    bleu: np.ndarray
    meteor: np.ndarray


class References:
    """Captions of images that others are compared with.

    How rare an n-gram is, is counted over the same captions: an image is one
    document.

    Args:
        captions: For each image its reference captions, one or more, each an
            array of words, numbers in [1, 65535].

    Raises:
        ValueError: A number is out of range, or an image has no caption.
    """

    def __init__(self, captions: Sequence[Sequence[np.ndarray]]):
        self._count = np.array([len(each) for each in captions])
        if not len(captions) or not self._count.all():
            raise ValueError(
                "Every image needs a reference. "
                f"Received: {self._count.tolist()[:10]} references an image"
            )
        owner = np.repeat(np.arange(len(captions)), self._count)
        column = np.concatenate([np.arange(n) for n in self._count])
        flat = [caption for each in captions for caption in each]
        length = np.array([len(caption) for caption in flat])
        words = np.concatenate([np.asarray(caption) for caption in flat])
        row = np.repeat(np.arange(len(flat)), length)
        self._known, row, ngram, count = _counted(words, row)

        # A row for each n-gram of each image: how often it is in each caption.
        key = owner[row] * len(self._known) + ngram
        self._keys, entry = np.unique(key, return_inverse=True)
        shape = len(captions), int(self._count.max())
        self._counts = np.zeros((len(self._keys), shape[1]), np.uint16)
        self._counts[entry, column[row]] = count
        frequency = np.bincount(
            self._keys % len(self._known), minlength=len(self._known)
        )
        # The last is that of all n-grams that no reference has.
        rarity = np.log(len(captions)) - np.log(np.append(frequency, 1))
        self._rarity = rarity

        self._length = np.zeros(shape, np.int64)
        self._length[owner, column] = length
        slot = _ORDERS * row + _order(self._known[ngram])
        norm = _summed((count * rarity[ngram]) ** 2, slot, len(flat))
        self._norm = np.zeros((*shape, _ORDERS))
        self._norm[owner, column] = np.sqrt(norm)

    def cider_d(self, captions: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Computes the CIDEr-D (Vedantam et al. 2015) of each caption.

        With `g(c)` the counts of a caption's n-grams, each times the log of
        the share of images that have it, negative,

            CIDEr-D_n = 10 / m sum_j exp(-(l(c) - l(r_j))^2 / (2 6^2))
                        min(g(c), g(r_j)) . g(r_j) / (|g(c)| |g(r_j)|)

        and CIDEr-D is the mean over n = 1 to 4. Lengths `l` are counted in
        pairs of words, as pycocoevalcap does.

        Args:
            captions: `(B, T)` words, filled up with 0.
            images: `(B,)`, the number of the image of each.

        Returns:
            `(B,)` float64, from 0 to 10.
        """
        return self.rewards(captions, images).cider

    def rewards(self, captions: np.ndarray, images: np.ndarray) -> Rewards:
        """Computes all there is of each caption.

        BLEU-4 is `scores.smoothed_bleu`. Of METEOR (Denkowski and Lavie
        2014) it is what counts words that are the same, all alike: with m
        matches of the P = m / l(c) and R = m / l(r) and their chunks,

            METEOR = (1 - 0.6 (chunks / m)^0.2) P R / (0.85 P + 0.15 R)

        of the reference that gives most. Chunks are taken as the matches
        less the pairs of words that match, which they are but where words
        come twice.

        Args:
            captions: As for `cider_d`.
            images: As for `cider_d`.
        """
        captions, images = np.asarray(captions), np.asarray(images)
        size, row = len(captions), np.nonzero(captions)[0]
        distinct, row, which, count = _counted(captions[captions != 0], row)
        place = _found(self._known, distinct)
        ngram = place[which]
        known = ngram < len(self._known)
        key = images[row] * len(self._known) + ngram
        entry = np.where(known, _found(self._keys, key), len(self._keys))
        here = entry < len(self._keys)
        in_references = np.zeros((len(key), self._counts.shape[1]))
        in_references[here] = self._counts[entry[here]]
        slot = _ORDERS * row + _order(distinct[which])
        rarity = self._rarity[ngram]
        clipped = np.minimum(count[:, None], in_references)
        weighted = clipped * in_references * rarity[:, None] ** 2

        def by_reference(columns):
            each = [_summed(column, slot, size) for column in columns.T]
            return np.stack(each, 1)  # (B, K, 4)

        norm = np.sqrt(_summed((count * rarity) ** 2, slot, size))
        length = np.count_nonzero(captions, axis=1)
        cider = self._cider(by_reference(weighted), norm, length, images)
        meteor = self._meteor(by_reference(clipped), length, images)

        matches = np.minimum(count, in_references.max(axis=1))
        counts = np.concatenate(
            [
                length[:, None],
                self._closest(length, images)[:, None],
                _summed(matches, slot, size),
                np.maximum(length[:, None] - np.arange(_ORDERS), 0),
            ],
            axis=1,
        )
        return Rewards(cider, smoothed_bleu(counts), meteor)

    def _cider(self, similarity, norm, length, images):
        """Returns CIDEr-D of products of n-grams `(B, K, 4)`."""
        norms = norm[:, None] * self._norm[images]
        # Where a norm is zero, so is the product.
        cosine = similarity / np.where(norms > 0, norms, 1.0)
        apart = _pairs(length)[:, None] - _pairs(self._length[images])
        likeness = np.exp(-(apart**2) / (2 * _SIGMA**2))
        total = np.sum(cosine.mean(axis=-1) * likeness, axis=-1)
        return _SCALE * total / self._count[images]

    def _meteor(self, matches, length, images):
        """Returns METEOR of matching n-grams `(B, K, 4)`."""
        words = matches[:, :, 0]
        some = np.maximum(words, 1)
        chunks = np.maximum(words - matches[:, :, 1], 1)
        # m / (0.85 l(r) + 0.15 l(c)) is the mean of P and R.
        lengths = (
            _RECALL_SHARE * self._length[images]
            + (1 - _RECALL_SHARE) * length[:, None]
        )
        mean = words / np.maximum(lengths, 1)
        penalty = _PENALTY * (chunks / some) ** _PENALTY_POWER
        return np.max((1 - penalty) * mean, axis=1)

    def _closest(self, length, images):
        """Returns the length of the closest reference; ties: the shorter."""
        lengths = self._length[images]
        apart = np.abs(lengths - length[:, None])
        order = apart * (LARGEST_WORD + 1) + lengths
        positions = np.arange(lengths.shape[1])
        none = positions >= self._count[images][:, None]
        best = np.argmin(np.where(none, np.iinfo(np.int64).max, order), axis=1)
        return np.take_along_axis(lengths, best[:, None], axis=1)[:, 0]


def cider_d(
    candidates: Sequence[Sequence[str]],
    references: Sequence[Sequence[Sequence[str]]],
) -> np.ndarray:
    """Computes the CIDEr-D of captions as words.

    Args:
        candidates: A caption for each image, as words.
        references: For each image its captions, one or more.

    Returns:
        `(images,)` float64, from 0 to 10; what pycocoevalcap gives for the
        same words.

    Raises:
        UserError: There are more than 65,535 different words.
        ValueError: An image has no reference.
    """
    numbers: dict[str, int] = {}

    def numbered(words):
        each = [numbers.setdefault(word, len(numbers) + 1) for word in words]
        return np.array(each, np.int64)

    others = [[numbered(r) for r in each] for each in references]
    said = [numbered(words) for words in candidates]
    if len(numbers) > LARGEST_WORD:
        raise UserError(
            f"CIDEr-D of at most {LARGEST_WORD} different words can be "
            f"computed. Received: {len(numbers)}. Give fewer captions: "
            "--validation_images"
        )
    captions = np.zeros((len(said), max(map(len, said))), np.int64)
    for row, caption in zip(captions, said, strict=True):
        row[: len(caption)] = caption
    return References(others).cider_d(captions, np.arange(len(said)))


def _counted(words, row):
    """Counts the n-grams of captions laid end to end.

    Args:
        words: `(W,)`.
        row: `(W,)`, of which caption the word is, rising.

    Returns:
        The different n-grams, rising; and for each different one of each
        caption the number of the caption, of the n-gram, and how often it
        is there.
    """
    if len(words) and not (words.min() > 0 and words.max() <= LARGEST_WORD):
        raise ValueError(
            f"Words are numbers from 1 to {LARGEST_WORD}. "
            f"Received: {words.min()} to {words.max()}"
        )
    codes, rows = _ngrams(words.astype(np.uint64), row)
    distinct, which = np.unique(codes, return_inverse=True)
    size = max(len(distinct), 1)
    key, count = np.unique(rows * size + which, return_counts=True)
    return distinct, key // size, key % size, count


def _ngrams(words, row):
    """Returns all n-grams, each as one number, and whose they are."""
    start, code = np.arange(len(words)), words
    codes, rows = [code], [row]
    for n in range(1, _ORDERS):
        goes_on = start + n < len(words)
        start, code = start[goes_on], code[goes_on]
        inside = row[start + n] == row[start]
        start, code = start[inside], code[inside]
        code = (code << np.uint64(_BITS)) | words[start + n]
        codes.append(code)
        rows.append(row[start])
    return np.concatenate(codes), np.concatenate(rows)


def _order(codes):
    """Returns how many words n-grams have, less one; no word is zero."""
    longer = [1 << _BITS * n for n in range(1, _ORDERS)]
    return np.searchsorted(np.array(longer, np.uint64), codes, side="right")


def _found(rising, values):
    """Returns where values are, or the length where they are not."""
    if not len(rising):
        return np.zeros(len(values), np.int64)
    place = np.searchsorted(rising, values)
    inside = np.minimum(place, len(rising) - 1)
    return np.where(rising[inside] == values, inside, len(rising))


def _summed(values, slot, size):
    """Returns the sums over the n-grams of each order, `(size, 4)`."""
    total = np.bincount(slot, values, minlength=_ORDERS * size)
    return total.reshape(size, _ORDERS)


def _pairs(length):
    return np.maximum(length - 1, 0)
