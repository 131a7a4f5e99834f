"""N-grams that captions share with their references, counted by NumPy.

BLEU, CIDEr-D and METEOR of exact words follow from these counts. An n-gram
is one integer, so that counting is sorting and matching is a binary search;
a batch of captions takes about a millisecond.
"""

import typing
from collections.abc import Sequence

import numpy as np

Words = Sequence[str]

ORDERS = (1, 2, 3, 4)
_BITS = 32  # of each half of an n-gram's code


class Matches(typing.NamedTuple):
    """What B captions share with their references, at most K each.

    Attributes:
        length: `(B,)`, words of the captions.
        reference_count: `(B,)`.
        reference_length: `(B, K)`.
        shared: `(B, K, 4)`, for each reference and order the n-grams that
            both have, each counted as often as in the one that has fewer.
        best: `(B, 4)`, the same with each n-gram counted in the one reference
            that has most of it.
        product: `(B, K, 4)`, clipped products of tf-idf vectors.
        norm: `(B, 4)`, norms of the captions' tf-idf vectors.
        reference_norm: `(B, K, 4)`.
    """

    length: np.ndarray
    reference_count: np.ndarray
    reference_length: np.ndarray
    shared: np.ndarray
    best: np.ndarray
    product: np.ndarray
    norm: np.ndarray
    reference_norm: np.ndarray

    @property
    def closest_length(self) -> np.ndarray:
        """`(B,)`, length of the closest reference; the shorter on a tie."""
        lengths = self.reference_length
        apart = np.abs(lengths - self.length[:, None])
        order = apart * (lengths.max(initial=0) + 1) + lengths
        absent = np.arange(lengths.shape[1]) >= self.reference_count[:, None]
        order = np.where(absent, np.iinfo(np.int64).max, order)
        closest = np.argmin(order, axis=1)[:, None]
        return np.take_along_axis(lengths, closest, axis=1)[:, 0]


class ReferenceNgrams:
    """The n-grams of images' reference captions.

    How rare an n-gram is, is counted over the same captions; an image is one
    document.

    Args:
        captions: For each image its reference captions, one or more, each an
            array of words, which are positive integers.

    Raises:
        ValueError: An image has no reference, or a word is not positive.
    """

    def __init__(self, captions: Sequence[Sequence[np.ndarray]]):
        self._count = np.array([len(each) for each in captions])
        if not len(captions) or not self._count.all():
            raise ValueError(
                "Every image needs a reference. "
                f"Received: {self._count.tolist()[:10]} references an image"
            )
        image = np.repeat(np.arange(len(captions)), self._count)
        column = np.concatenate([np.arange(n) for n in self._count])
        flat = [np.asarray(c, np.int64) for each in captions for c in each]
        length = np.array([len(caption) for caption in flat])
        self._length = np.zeros((len(captions), self._count.max()), np.int64)
        self._length[image, column] = length
        words = np.concatenate(flat)
        row = np.repeat(np.arange(len(flat)), length)
        self._pairs = np.unique(_pair_codes(words, row)[0])
        self._orders = [
            _OrderIndex(*codes_and_rows, image, column, self._length.shape)
            for codes_and_rows in _codes(words, row, self._pairs)
        ]
        self._norm = np.stack([order.norm for order in self._orders], axis=-1)

    @property
    def any_rare(self) -> bool:
        """Whether any n-gram is not in all images; only then is tf-idf any."""
        return bool(self._norm.any())

    def match(self, captions: np.ndarray, images: np.ndarray) -> Matches:
        """Compares captions with the references of their images.

        Args:
            captions: `(B, T)` words, padded with 0 at the end.
            images: `(B,)`, the index of the image of each.
        """
        captions, images = (
            np.asarray(captions, np.int64),
            np.asarray(images, np.int64),
        )
        row = np.nonzero(captions)[0]
        codes = _codes(captions[captions != 0], row, self._pairs)
        matched = [
            order.match(*codes_and_rows, images)
            for order, codes_and_rows in zip(self._orders, codes, strict=True)
        ]
        shared, best, product, norm = (
            np.stack(each, axis=-1) for each in zip(*matched, strict=True)
        )
        return Matches(
            np.count_nonzero(captions, axis=1),
            self._count[images],
            self._length[images],
            shared,
            best,
            product,
            norm,
            self._norm[images],
        )


class _OrderIndex:
    """The n-grams of one order in all references."""

    def __init__(self, codes, rows, image, column, shape):
        self._codes = np.unique(codes)
        row, ngram, count = _counted(rows, _ids(codes, self._codes))
        keys = image[row] * (len(self._codes) + 1) + ngram
        # A row for each n-gram of each image; the last for all others.
        self._keys, entry = np.unique(keys, return_inverse=True)
        self._counts = np.zeros((len(self._keys) + 1, shape[1]), np.uint16)
        self._counts[entry, column[row]] = count
        frequency = np.bincount(
            self._keys % (len(self._codes) + 1), minlength=len(self._codes) + 1
        )
        self._rarity = np.log(float(shape[0])) - np.log(
            np.maximum(frequency, 1.0)
        )
        self.norm = np.zeros(shape)
        norm = np.bincount(
            row, (count * self._rarity[ngram]) ** 2, minlength=len(image)
        )
        self.norm[image, column] = np.sqrt(norm)

    def match(self, codes, rows, images):
        """Returns `shared`, `best`, `product` and `norm` of this order."""
        size = len(images)
        row, ngram, count = _counted(rows, _ids(codes, self._codes))
        ngram = np.minimum(ngram, len(self._codes))
        keys = images[row] * (len(self._codes) + 1) + ngram
        in_references = self._counts[_search(self._keys, keys)]
        rarity = self._rarity[ngram]
        shared = np.minimum(count[:, None], in_references)
        tf_idf = in_references * rarity[:, None]
        product = np.minimum((count * rarity)[:, None], tf_idf) * tf_idf

        def by_caption(values):
            return np.bincount(row, values, minlength=size)

        return (
            np.stack([by_caption(values) for values in shared.T], axis=-1),
            by_caption(shared.max(axis=1)),
            np.stack([by_caption(values) for values in product.T], axis=-1),
            np.sqrt(by_caption((count * rarity) ** 2)),
        )


def match_words(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> Matches:
    """Compares a caption of each image with its references.

    Args:
        candidates: A caption for each image, as words.
        references: For each image its captions, one or more.

    Raises:
        ValueError: An image has no reference.
    """
    numbers: dict[str, int] = {}

    def numbered(words):
        each = [numbers.setdefault(word, len(numbers) + 1) for word in words]
        return np.array(each, np.int64)

    index = ReferenceNgrams([[numbered(r) for r in rs] for rs in references])
    captions = padded([numbered(words) for words in candidates])
    return index.match(captions, np.arange(len(captions)))


def padded(captions: Sequence[np.ndarray]) -> np.ndarray:
    """Returns captions as rows, padded with 0: int64 `(B, T)`."""
    rows = np.zeros((len(captions), max(map(len, captions))), np.int64)
    for row, caption in zip(rows, captions, strict=True):
        row[: len(caption)] = caption
    return rows


def _pair_codes(words, row):
    """Returns the codes of pairs of neighbours, and where they begin."""
    if len(words) and not (words.min() > 0 and words.max() < 2**_BITS / 2):
        raise ValueError(
            f"Words are positive integers of at most {_BITS - 1} bits. "
            f"Received: {words.min()} to {words.max()}"
        )
    start = np.nonzero(row[1:] == row[:-1])[0]
    return (words[start] << _BITS) | words[start + 1], start


def _codes(words, row, pairs):
    """Returns code and caption of all n-grams, for each order.

    Three words are a pair and a word, four are two pairs. Pairs are numbered
    by their place in the sorted `pairs`, others behind it.
    """
    codes, start = _pair_codes(words, row)
    pair = np.zeros_like(words)
    pair[start] = _ids(codes, pairs)

    def joined(n, right):
        begin = np.arange(max(len(words) - n + 1, 0))
        begin = begin[row[begin] == row[begin + n - 1]]
        return (pair[begin] << _BITS) | right[begin + 2], row[begin]

    yield words, row
    yield codes, row[start]
    yield joined(3, words)
    yield joined(4, pair)


def _ids(codes, table):
    """Returns indices into the sorted `table`; behind it for new codes."""
    ids = _search(table, codes)
    new = ids == len(table)
    ids[new] += np.unique(codes[new], return_inverse=True)[1]
    return ids


def _search(table, values):
    """Returns indices into the sorted `table`; its length if absent."""
    index = np.searchsorted(table, values)
    present = index < len(table)
    present[present] = table[index[present]] == values[present]
    return np.where(present, index, len(table))


def _counted(rows, ids):
    """Counts the n-grams of each caption.

    Returns:
        Caption, n-gram and count, in the order of first appearance: sums
        over them are then those of pycocoevalcap, bit for bit.
    """
    size = int(ids.max(initial=0)) + 1
    keys, first, count = np.unique(
        rows * size + ids, return_index=True, return_counts=True
    )
    order = np.argsort(first)
    keys, count = keys[order], count[order]
    return keys // size, keys % size, count
