"""CIDEr-D against pycocoevalcap and by hand; n-grams of large vocabularies."""

import time

import numpy as np
import pytest

from pipelines.sources import load_source
from pipelines.vocabulary import END, Vocabulary
from show_attend_tell.metrics.cider import cider, cider_d
from show_attend_tell.metrics.ngrams import (
    ReferenceNgrams,
    match_words,
    padded,
)

IMAGES, WORDS = 40, 12


def random_caption(rng, length):
    """A caption of few different words, so that n-grams come again."""
    return rng.integers(1, WORDS, length)


def random_references(seed):
    """References of each image, one to five, some of a single word."""
    rng = np.random.default_rng(seed)
    return [
        [
            random_caption(rng, rng.integers(1, 14))
            for _ in range(rng.integers(1, 6))
        ]
        for _ in range(IMAGES)
    ]


def text(caption):
    return " ".join(f"w{word}" for word in caption)


def by_pycocoevalcap(candidates, references):
    scorer = pytest.importorskip(
        "pycocoevalcap.cider.cider_scorer"
    ).CiderScorer()
    for candidate, each in zip(candidates, references, strict=True):
        scorer += (text(candidate), [text(r) for r in each])
    return scorer.compute_score()[1]


@pytest.mark.parametrize("seed", range(4))
def test_cider_d_is_pycocoevalcaps(seed):
    references = random_references(seed)
    rng = np.random.default_rng(seed + 9)
    unknown = WORDS + 5  # Of no reference.
    candidates = [
        np.append(random_caption(rng, rng.integers(0, 16)), unknown)
        for _ in range(IMAGES)
    ]
    candidates[0] = references[0][0]
    candidates[1] = np.array([references[1][0][0]])
    candidates[2] = np.full(9, unknown)
    expected = by_pycocoevalcap(candidates, references)
    assert expected.max() > 1 and len(set(expected)) > 20
    matches = ReferenceNgrams(references).match(
        padded(candidates).astype(np.int32), np.arange(IMAGES, dtype=np.int32)
    )
    # Sums are in the same order: equal but for the last bit of a power.
    np.testing.assert_allclose(cider_d(matches), expected, rtol=1e-15)
    measured = cider(
        [text(c) for c in candidates],
        [[text(r) for r in each] for each in references],
    )
    np.testing.assert_array_equal(measured.of_each()["CIDEr"], cider_d(matches))


def test_cider_d_by_hand():
    # Three images. "a" is in all of them and counts nothing; "b" and "a b"
    # are in two; what is in one, or in none, counts log 3.
    a, b, c, d = 1, 2, 3, 4
    index = ReferenceNgrams([[[a, b], [a, c]], [[a, b]], [[a, d]]])
    two, one = np.log(3 / 2), np.log(3)
    # "a b b" and "a b", a pair longer. Words: (2 two) and (two), cut at one,
    # so half of what it would be. Pairs: "a b", "b b" and "a b". Nothing
    # is shared with "a c" that counts. The second image's own caption: cosines
    # of one for words and pairs.
    result = cider_d(index.match([[a, b, b], [a, b, 0]], [0, 1]))
    cosines = two * two / (2 * two * two) + two / np.hypot(two, one)
    expected = 10 / 2 * np.exp(-1 / (2 * 36)) * cosines / 4
    np.testing.assert_allclose(result, [expected, 10 * 2 / 4], rtol=1e-12)


def test_all_references_count():
    candidates, others = ["a dog runs"] * 2, ["a cat"]
    few = cider(candidates, [["x y z"] * 9, others])
    last = cider(candidates, [["x y z"] * 9 + ["a dog runs"], others])
    assert few.of_each()["CIDEr"][0] == 0 < last.of_each()["CIDEr"][0]


def test_captions_that_equal_their_references_have_the_highest_score():
    texts = ["a b c d", "e f g h"]
    result = cider(texts, [[text] for text in texts])
    assert result.of_all()["CIDEr"] == pytest.approx(10)


def test_words_of_a_very_large_vocabulary_are_distinguished():
    high = 2**31 - 1
    references = [[np.full(4, high)], [np.array([high - 1, high, 1, 2])]]
    candidates = [[high] * 4, [high, high, high, high - 1]]
    matches = ReferenceNgrams(references).match(candidates, [0, 0])
    expected = by_pycocoevalcap([[high] * 4, []], references)[0]
    result = cider_d(matches)
    assert result[0] == pytest.approx(expected) and result[1] < result[0]
    assert matches.best.tolist() == [[4, 3, 2, 1], [3, 2, 1, 0]]


def test_captions_without_words():
    matches = match_words([[], ["a"]], [[["a"]], [[], []]])
    assert matches.length.tolist() == [0, 1]
    assert matches.closest_length.tolist() == [1, 0]
    np.testing.assert_array_equal(cider_d(matches), [0, 0])


@pytest.mark.parametrize("wrong", [[], [[]], [[[0]]], [[[-1, 1]]], [[[2**31]]]])
def test_what_cannot_be_counted_is_refused(wrong):
    with pytest.raises(ValueError, match="Received"):
        ReferenceNgrams(wrong)


def test_a_batch_takes_milliseconds(flickr8k_dir):
    images = load_source("flickr8k", flickr8k_dir, None).split("train")
    vocabulary = Vocabulary.build(
        (c for image in images for c in image.captions), 10000, 5
    )
    encoded = [
        [vocabulary.encode(c)[1:] for c in image.captions] for image in images
    ]
    index = ReferenceNgrams(encoded)
    rng = np.random.default_rng(0)
    chosen = np.repeat(rng.choice(len(images), 13), 5)
    captions = padded([encoded[i][k % 5] for k, i in enumerate(chosen)])
    assert (captions == END).any(axis=1).all()
    times = []
    for _ in range(20):
        began = time.perf_counter()
        scores = cider_d(index.match(captions, chosen))
        times.append(time.perf_counter() - began)
    assert scores.shape == (65,) and scores.min() > 1
    assert min(times) < 0.02
