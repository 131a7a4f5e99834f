"""BLEU against figures worked out by hand and by pycocoevalcap."""

import math
import random
import time

import pytest

from show_attend_tell.metrics.bleu import (
    bleu,
    bleu_counts,
    bleu_of_counts,
    leave_one_out_bleu,
    smoothed_bleu,
)

EXP_MINUS_FIFTH = 0.818730753077982  # exp(-0.2)


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


GRASS = (
    words("a dog runs on grass"),
    [
        words(
            "a dog runs on the grass",
            "the dog is running on green grass today",
        )
    ],
)


def split(*texts):
    return [words(*each) for each in texts]


@pytest.mark.parametrize(
    ("candidates", "references", "expected"),
    [
        # Papineni et al. 2002: no reference has more than two "the", so two
        # of the seven match; "the the" is in neither. Closest length: 7.
        (
            ["the the the the the the the"],
            [["the cat is on the mat", "there is a cat on the mat"]],
            {"BLEU-1": 2 / 7, "BLEU-1_no_penalty": 2 / 7, "BLEU-2": 0},
        ),
        # Summed before it is divided: words (3 + 0) / (3 + 2), pairs
        # (2 + 0) / (2 + 1); c = 5, r = 3 + 3.
        (
            ["a cat sits", "a dog"],
            [["a cat sits"], ["two men ride"]],
            {
                "BLEU-1_no_penalty": 0.6,
                "BLEU-1": 0.6 * EXP_MINUS_FIFTH,
                "BLEU-2_no_penalty": math.sqrt(0.4),
            },
        ),
        # The best reference counts, not the sum: each has one "a".
        (["a a"], [["a b", "a c"]], {"BLEU-1_no_penalty": 0.5}),
        # A tie of lengths goes to the shorter reference: no penalty.
        (["a b c d e"], [["a b c d e f", "a b c d"]], {"BLEU-1": 1}),
        # A longer candidate is not rewarded.
        (["a b c d"], [["a b"]], {"BLEU-1": 0.5}),
        # An empty one costs only length: c = 3, r = 3 + 3.
        (
            ["", "a cat sits"],
            [["two men ride"], ["a cat sits"]],
            {"BLEU-1_no_penalty": 1, "BLEU-1": math.exp(-1)},
        ),
        (
            ["", ""],
            [["a"], ["b c"]],
            {"BLEU-1": None, "BLEU-4_no_penalty": None},
        ),
        (["a b c"], [["a b c d"]], {"BLEU-4": None, "BLEU-3_no_penalty": 1}),
    ],
)
def test_by_hand(candidates, references, expected):
    scores = bleu(words(*candidates), split(*references))
    for name, value in expected.items():
        if value is not None:
            value = pytest.approx(value, abs=1e-5)
        assert scores[name] == value, name


def test_four_orders_and_penalty():
    # words 5/5; pairs 3/4 ("on grass" is missing); triples 2/3 ("runs on
    # grass"); quadruples 1/2. Products: 1, 3/4, 1/2, 1/4.
    # c = 5 and the closest reference has 6 words: exp(1 - 6/5).
    scores = bleu(*GRASS)
    expected = [1.0, math.sqrt(0.75), 0.5 ** (1 / 3), math.sqrt(0.5)]
    for n, value in enumerate(expected, start=1):
        assert scores[f"BLEU-{n}_no_penalty"] == pytest.approx(value)
        assert scores[f"BLEU-{n}"] == pytest.approx(value * EXP_MINUS_FIFTH)
    assert list(scores) == [
        *(f"BLEU-{n}" for n in (1, 2, 3, 4)),
        *(f"BLEU-{n}_no_penalty" for n in (1, 2, 3, 4)),
    ]


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ([], [], r"Received: len\(candidates\)=0"),
        (words("a"), [], r"len\(references\)=0"),
        (words("a", "b"), [words("a"), []], r"Received: references\[1\]=\[\]"),
        (words("a"), ["a dog"], r"references\[0\]='a dog'"),
        (["a dog"], [words("a dog")], r"candidates\[0\]='a dog'"),
        (words("a", "b"), [words("a"), ["a"]], r"references\[1\]\[0\]='a'"),
    ],
)
def test_what_cannot_be_scored_is_named(candidates, references, message):
    with pytest.raises(ValueError, match=message):
        bleu(candidates, references)


def test_leave_one_out():
    # k = 0 and k = 1: "a dog" has its twin: 2/2 words, 1/1 pairs.
    # k = 2: "a cat" against twice "a dog": 1/2 words, 0/1 pairs.
    scores = leave_one_out_bleu([words("a dog", "a dog", "a cat")])
    assert scores["BLEU-1"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert scores["BLEU-2"] == pytest.approx(2 / 3, abs=1e-6)
    assert scores["BLEU-3"] is None


def test_leave_one_out_weighs_by_images():
    # k = 0, 1: both images, all words match. k = 2: the second image alone,
    # none. The image with a single caption is left out.
    scores = leave_one_out_bleu(
        [words("x y", "x y"), words("p q", "p q", "r s"), words("z")]
    )
    assert scores["BLEU-1"] == pytest.approx(
        (2 * 1 + 2 * 1 + 1 * 0) / 5, abs=1e-6
    )


def test_leave_one_out_needs_two_captions():
    with pytest.raises(ValueError, match="Received: 2 images"):
        leave_one_out_bleu([words("a"), words("b")])


def _random_corpus(images: int, seed: int):
    rng = random.Random(seed)
    lexicon = [f"word{i}" for i in range(40)]

    def caption() -> list[str]:
        return rng.choices(lexicon, k=rng.randint(1, 20))

    references = [
        [caption() for _ in range(rng.randint(1, 5))] for _ in range(images)
    ]
    candidates = [
        rng.choice(captions)[: rng.randint(0, 20)] for captions in references
    ]
    return candidates, references


@pytest.mark.parametrize("seed", range(5))
def test_random_corpora_have_pycocoevalcaps_figures(seed):
    reference = pytest.importorskip("pycocoevalcap.bleu.bleu")
    candidates, references = _random_corpus(50, seed)
    expected, _ = reference.Bleu(4).compute_score(
        {i: [" ".join(c) for c in cs] for i, cs in enumerate(references)},
        {i: [" ".join(c)] for i, c in enumerate(candidates)},
        verbose=0,
    )
    scores = bleu(candidates, references)
    for n, value in enumerate(expected, start=1):
        assert scores[f"BLEU-{n}"] == pytest.approx(value, abs=1e-9)


def test_counts_of_an_image():
    # Length, closest length, matches and n-grams of orders 1 to 4.
    counts = bleu_counts([*GRASS[0], []], [*GRASS[1], words("a cat sits")])
    assert counts.tolist() == [
        [5, 6, 5, 3, 2, 1, 5, 4, 3, 2],
        [0, 3, 0, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_rows_of_counts_are_scored_by_themselves():
    candidates, references = _random_corpus(20, seed=9)
    rows = bleu_of_counts(bleu_counts(candidates, references))
    for i, pair in enumerate(zip(candidates, references, strict=True)):
        single = bleu(*([part] for part in pair))
        for name, score in single.items():
            assert score is None or rows[name][i] == pytest.approx(score)


def test_smoothed_bleu():
    # words 5/5; one added: pairs 4/5, triples 3/4, quadruples 2/3; c = 5,
    # r = 6. A caption of one right word of one: 1/1 throughout, and c = 1,
    # r = 3. One that has no word in common, and an empty one: nothing.
    counts = bleu_counts(
        [*words("a dog runs on grass", "dog", "two men"), []],
        [words(t) for t in ("a dog runs on the grass", "a dog sits", "a", "a")],
    )
    expected = [0.4**0.25 * EXP_MINUS_FIFTH, math.exp(-2), 0, 0]
    assert smoothed_bleu(counts) == pytest.approx(expected, abs=1e-3)


def test_ten_thousand_captions_take_seconds():
    candidates, references = _random_corpus(10_000, seed=0)
    start = time.perf_counter()
    bleu(candidates, references)
    # About one second; ten leave room for a busy machine.
    assert time.perf_counter() - start < 10
