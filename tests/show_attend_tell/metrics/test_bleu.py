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


def test_clipped_counts():
    # The example of Papineni et al. 2002: no reference has more than two
    # "the", so two of the seven match. Closest length: 7, of the second.
    scores = bleu(
        words("the the the the the the the"),
        [words("the cat is on the mat", "there is a cat on the mat")],
    )
    assert scores["BLEU-1"] == pytest.approx(2 / 7)
    assert scores["BLEU-1_no_penalty"] == pytest.approx(2 / 7)
    # "the the" is in neither reference.
    assert scores["BLEU-2"] == pytest.approx(0, abs=1e-6)


def test_four_orders_and_penalty():
    # words 5/5; pairs 3/4 ("on grass" is missing); triples 2/3 ("runs on
    # grass"); quadruples 1/2. Products: 1, 3/4, 1/2, 1/4.
    # c = 5 and the closest reference has 6 words: exp(1 - 6/5).
    scores = bleu(
        words("a dog runs on grass"),
        [
            words(
                "a dog runs on the grass",
                "the dog is running on green grass today",
            )
        ],
    )
    expected = {
        "BLEU-1": 1.0,
        "BLEU-2": math.sqrt(0.75),
        "BLEU-3": 0.5 ** (1 / 3),
        "BLEU-4": math.sqrt(0.5),
    }
    for name, value in expected.items():
        assert scores[f"{name}_no_penalty"] == pytest.approx(value)
        assert scores[name] == pytest.approx(value * EXP_MINUS_FIFTH)
    assert list(scores) == [
        *(f"BLEU-{n}" for n in (1, 2, 3, 4)),
        *(f"BLEU-{n}_no_penalty" for n in (1, 2, 3, 4)),
    ]


def test_corpus_is_summed_before_it_is_divided():
    # words (3 + 0) / (3 + 2), pairs (2 + 0) / (2 + 1); c = 5, r = 3 + 3.
    # The mean of the two captions' own scores would be another figure.
    scores = bleu(
        words("a cat sits", "a dog"),
        [words("a cat sits"), words("two men ride")],
    )
    assert scores["BLEU-1_no_penalty"] == pytest.approx(0.6)
    assert scores["BLEU-1"] == pytest.approx(0.6 * EXP_MINUS_FIFTH)
    assert scores["BLEU-2_no_penalty"] == pytest.approx(math.sqrt(0.4))


def test_counts_come_from_the_best_reference_not_from_their_sum():
    # Each reference has one "a"; together two. One of two words matches.
    scores = bleu(words("a a"), [words("a b", "a c")])
    assert scores["BLEU-1_no_penalty"] == pytest.approx(0.5)


def test_a_tie_of_lengths_goes_to_the_shorter_reference():
    # 5 words; references of 6 and 4 words. With 4: no penalty.
    scores = bleu(words("a b c d e"), [words("a b c d e f", "a b c d")])
    assert scores["BLEU-1"] == pytest.approx(1)


def test_a_longer_candidate_is_not_rewarded():
    # c = 4, r = 2: the penalty is one, and words match 2/4.
    scores = bleu(words("a b c d"), [words("a b")])
    assert scores["BLEU-1"] == pytest.approx(0.5)


def test_empty_candidate_costs_only_length():
    # words 3/3; c = 3, r = 3 + 3: exp(1 - 2).
    scores = bleu(
        [[], "a cat sits".split()], [words("two men ride"), words("a cat sits")]
    )
    assert scores["BLEU-1_no_penalty"] == pytest.approx(1)
    assert scores["BLEU-1"] == pytest.approx(math.exp(-1))


def test_only_empty_candidates_score_nothing():
    scores = bleu([[], []], [words("a"), words("b c")])
    assert all(score == pytest.approx(0, abs=1e-5) for score in scores.values())


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


# A candidate shorter, longer, and as long as its references, ties of length,
# repeated words, an empty candidate, one to five references.
CANDIDATES = words(
    "a brown dog runs through the tall grass",
    "two children are playing playing in the water",
    "a man",
    "",
    "a man in a red shirt is riding a bike",
    "people stand on the street",
)
REFERENCES = [
    words(
        "a brown dog is running through the grass",
        "the dog runs through tall grass",
        "a dog runs",
        "a big brown dog runs through the tall green grass",
        "brown dog running in a field",
    ),
    words("two children play in the water", "kids are playing in a pool"),
    words(
        "a man climbs a steep rock", "the man is on a cliff in the mountains"
    ),
    words("a girl jumps", "a girl in a dress is jumping on a bed"),
    words("a man in a red shirt rides a bike down a hill"),
    words(
        "people are standing on the street",
        "people on the street",
        "a crowd stands on the street corner",
    ),
]
# Made by pycocoevalcap 1.2 on Python 3.11:
#   Bleu(4).compute_score(
#       {i: [" ".join(r) for r in rs] for i, rs in enumerate(REFERENCES)},
#       {i: [" ".join(c)] for i, c in enumerate(CANDIDATES)},
#   )[0]
PYCOCOEVALCAP = [
    0.7326919582640866,
    0.6768774214430769,
    0.5674236378287525,
    0.46831635175425357,
]


def test_fixed_corpus_has_pycocoevalcaps_figures():
    scores = bleu(CANDIDATES, REFERENCES)
    for n, expected in enumerate(PYCOCOEVALCAP, start=1):
        assert scores[f"BLEU-{n}"] == pytest.approx(expected, abs=1e-9)


def _random_corpus(images: int, seed: int):
    rng = random.Random(seed)
    lexicon = [f"word{i}" for i in range(40)]

    def caption() -> list[str]:
        return rng.choices(lexicon, k=rng.randint(1, 20))

    references = [
        [caption() for _ in range(rng.randint(1, 5))] for _ in range(images)
    ]
    candidates = [
        rng.choice(captions)[: rng.randint(1, 20)] for captions in references
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
    counts = bleu_counts(
        words("a dog runs on grass", ""),
        [
            words(
                "a dog runs on the grass",
                "the dog is running on green grass today",
            ),
            words("a cat sits"),
        ],
    )
    # Length, closest length, matches and n-grams of orders 1 to 4.
    assert counts.tolist() == [
        [5, 6, 5, 3, 2, 1, 5, 4, 3, 2],
        [0, 3, 0, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_rows_of_counts_are_scored_alone():
    rows = bleu_of_counts(bleu_counts(CANDIDATES, REFERENCES))
    for i, pair in enumerate(zip(CANDIDATES, REFERENCES, strict=True)):
        alone = bleu(*([part] for part in pair))
        for name, score in alone.items():
            assert rows[name][i] == pytest.approx(score)


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
