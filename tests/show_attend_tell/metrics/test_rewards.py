"""Rewards against pycocoevalcap, plain counting and by hand."""

import shutil
import time

import numpy as np
import pytest

from pipelines.sources import load_source
from pipelines.vocabulary import END, Vocabulary
from show_attend_tell.metrics.bleu import bleu_counts, smoothed_bleu
from show_attend_tell.metrics.rewards import LARGEST_WORD, References, cider_d

IMAGES, WORDS = 40, 12


def written(rng, length):
    """A caption of few different words, so that n-grams come again."""
    return rng.integers(1, WORDS, length)


def corpus(seed=0, fixed=None):
    """References of each image, one to five, some of a single word."""
    rng = np.random.default_rng(seed)
    return [
        [
            written(rng, rng.integers(1, 14))
            for _ in range(fixed or rng.integers(1, 6))
        ]
        for _ in range(IMAGES)
    ]


def filled(captions):
    size = max(map(len, captions))
    return np.array([[*c, *[0] * (size - len(c))] for c in captions])


def text(caption):
    return " ".join(f"w{word}" for word in caption)


def by_pycocoevalcap(candidates, references):
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer()
    for candidate, each in zip(candidates, references, strict=True):
        scorer += (text(candidate), [text(r) for r in each])
    return scorer.compute_score()[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_cider_d_is_pycocoevalcaps(seed):
    references = corpus(seed)
    known, images = References(references), np.arange(IMAGES)
    rng = np.random.default_rng(seed + 9)
    unknown = WORDS + 5  # Of no reference.
    for _ in range(5):
        candidates = [
            np.append(written(rng, rng.integers(0, 16)), unknown)
            for _ in range(IMAGES)
        ]
        candidates[0] = references[0][0]
        candidates[1] = np.array([references[1][0][0]])
        expected = by_pycocoevalcap(candidates, references)
        found = known.cider_d(filled(candidates), images)
        assert expected.max() > 1 and len(set(expected)) > 20
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
        words = [text(c).split() for c in candidates]
        others = [[text(r).split() for r in each] for each in references]
        np.testing.assert_allclose(
            cider_d(words, others), expected, rtol=0, atol=1e-9
        )


def test_cider_d_by_hand():
    # Three images. "a" is in all of them and counts nothing; "b" and "a b"
    # are in two; what is in one, or in none, counts log 3.
    a, b, c, d = 1, 2, 3, 4
    references = [[[a, b], [a, c]], [[a, b]], [[a, d]]]
    known = References([[np.array(r) for r in each] for each in references])
    two, one = np.log(3 / 2), np.log(3)
    # "a b b" and "a b", a pair longer. Words: (2 two) and (two), cut at one,
    # so half of what it would be. Pairs: "a b", "b b" and "a b". Nothing
    # is shared with "a c" that counts.
    found = known.cider_d(np.array([[a, b, b, 0]]), np.array([0]))
    cosines = two * two / (2 * two * two) + two / np.hypot(two, one)
    expected = 10 / 2 * np.exp(-1 / (2 * 36)) * cosines / 4
    np.testing.assert_allclose(found, [expected], rtol=1e-12)
    # The second image's own caption: cosines of one for words and pairs.
    found = known.cider_d(np.array([[a, b]]), np.array([1]))
    np.testing.assert_allclose(found, [10 * 2 / 4], rtol=1e-12)


def test_bleu_is_that_of_plain_counting():
    references = corpus(3)
    known, images = References(references), np.arange(IMAGES)
    rng = np.random.default_rng(4)
    candidates = [written(rng, n % 15) for n in range(IMAGES)]
    expected = smoothed_bleu(
        bleu_counts(
            [c.tolist() for c in candidates],
            [[r.tolist() for r in each] for each in references],
        )
    )
    found = known.rewards(filled(candidates), images)
    assert len(set(expected)) > 20
    np.testing.assert_allclose(found.bleu, expected, rtol=0, atol=1e-12)
    cider = by_pycocoevalcap(candidates, references)
    np.testing.assert_allclose(found.cider, cider, rtol=0, atol=1e-9)


def test_meteor_by_hand():
    # "a dog runs on grass" beside "a dog is on the grass" (four words match,
    # in the chunks "a dog", "on" and "grass") and "the dog runs" (one chunk of
    # two words): the first gives more.
    a, dog, runs, on, grass, is_, the = range(1, 8)
    references = [[[a, dog, is_, on, the, grass], [the, dog, runs]]]
    known = References([[np.array(r) for r in each] for each in references])
    found = known.rewards(np.array([[a, dog, runs, on, grass, 0]]), [0])
    precision, recall = 4 / 5, 4 / 6
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    expected = (1 - 0.6 * (3 / 4) ** 0.2) * mean
    np.testing.assert_allclose(found.meteor, [expected], rtol=1e-12)
    nothing = known.rewards(np.array([[9, 9], [0, 0]]), [0, 0])
    np.testing.assert_array_equal(nothing.meteor, [0, 0])


@pytest.mark.proof
def test_meteor_is_that_of_its_own_program_but_for_stems_and_kinds_of_words():
    """Where words are numbers, METEOR's program finds the same ones too."""
    pytest.importorskip("pycocoevalcap")
    if shutil.which("java") is None:
        pytest.skip("METEOR needs Java")
    from pycocoevalcap.meteor.meteor import Meteor

    rng = np.random.default_rng(6)
    # No word twice in a caption, so that nothing can be matched two ways.
    references = [
        [1 + rng.permutation(WORDS)[: rng.integers(4, 11)] for _ in range(4)]
        for _ in range(IMAGES)
    ]
    candidates = [
        1 + rng.permutation(WORDS)[: rng.integers(4, 11)] for _ in range(IMAGES)
    ]
    known = References(references)
    found = known.rewards(filled(candidates), np.arange(IMAGES)).meteor
    _, expected = Meteor().compute_score(
        {i: [text(r) for r in each] for i, each in enumerate(references)},
        {i: [text(c)] for i, c in enumerate(candidates)},
    )
    assert np.std(expected) > 0.02
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_words_of_the_largest_vocabulary_are_told_apart():
    high = LARGEST_WORD
    references = [[np.full(4, high)], [np.array([high - 1, high, 1, 2])]]
    found = References(references).cider_d(
        np.array([[high] * 4, [high, high, high, high - 1]]), np.array([0, 0])
    )
    expected = by_pycocoevalcap([[high] * 4, []], references)[0]
    assert found[0] == pytest.approx(expected) and found[1] < found[0]


@pytest.mark.parametrize(
    "wrong", [[], [[]], [[np.array([0])]], [[np.array([LARGEST_WORD + 1])]]]
)
def test_what_cannot_be_counted_is_refused(wrong):
    with pytest.raises(ValueError, match="Received"):
        References(wrong)


def test_a_batch_takes_no_time(flickr8k_dir):
    images = load_source("flickr8k", flickr8k_dir, None).split("train")
    vocabulary = Vocabulary.build(
        (c for image in images for c in image.captions), 10000, 5
    )
    encoded = [
        [vocabulary.encode(c)[1:] for c in image.captions] for image in images
    ]
    known = References(encoded)
    rng = np.random.default_rng(0)
    chosen = np.repeat(rng.choice(len(images), 13), 5)
    said = filled([encoded[i][k % 5] for k, i in enumerate(chosen)])
    assert (said == END).any(axis=1).all()
    times = []
    for _ in range(20):
        began = time.perf_counter()
        rewards = known.rewards(said, chosen).cider
        times.append(time.perf_counter() - began)
    assert rewards.shape == (65,) and rewards.min() > 1
    print(f"{1000 * min(times):.1f} ms a batch")
    assert min(times) < 0.02
