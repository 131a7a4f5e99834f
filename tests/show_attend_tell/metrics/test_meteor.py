"""METEOR by hand, by its program, and what becomes of the program's answers.

A script in the place of Java prints counts that are known; figures of the
program itself are in test_caption_scores.
"""

import shutil

import numpy as np
import pytest

from show_attend_tell.metrics.external_programs import Unavailable
from show_attend_tell.metrics.meteor import exact_meteor, meteor
from show_attend_tell.metrics.ngrams import match_words


def counts(*numbers: int) -> str:
    return " ".join(f"{number:.1f}" for number in numbers)


def test_meteor_by_hand(java):
    # "a dog runs quickly" for "a dog runs on the grass": two content words
    # and one function word match, in one piece. Content words weigh 0.75,
    # function words 0.25:
    #   precision (2 * 0.75 + 0.25) / (3 * 0.75 + 1 * 0.25) = 0.7
    #   recall    (2 * 0.75 + 0.25) / (3 * 0.75 + 3 * 0.25) = 0.58333
    #   mean      1 / (0.15 / 0.7 + 0.85 / 0.58333) = 0.598291
    #   penalty   0.6 * (1 / 3) ** 0.2 = 0.481645
    # A caption equal to its reference has no penalty. Nothing: zero.
    lines = [
        counts(4, 6, 1, 3, 2, 2, 1, 1, *[0] * 12, 1, 3, 3),
        counts(2, 2, 1, 1, 1, 1, 1, 1, *[0] * 12, 1, 2, 2),
        counts(0, 3, 0, 1, *[0] * 16, 0, 0, 0),
    ]
    java(f"print({chr(10).join(lines)!r})")
    result = meteor(["a"] * 3, [["b"]] * 3)
    np.testing.assert_allclose(
        result.of_each()["METEOR"], [0.598291 * (1 - 0.481645), 1, 0], atol=1e-6
    )


def test_meteor_gets_a_line_for_each_caption(java, tmp_path):
    java(
        "import sys\n"
        f"open({str(tmp_path / 'seen')!r}, 'w').write(sys.stdin.read())\n"
        f"print({counts(*[0] * 23)!r})\nprint({counts(*[0] * 23)!r})"
    )
    meteor(["a ||| dog", ""], [["x", "y ||| z"], ["w"]])
    assert (tmp_path / "seen").read_text().split("\n") == [
        "SCORE ||| x ||| y  z ||| a  dog",
        "SCORE ||| w ||| ",
        "",
    ]


@pytest.mark.parametrize(
    "printed", ["1.0 2.0", "Error: specify hypothesis", "", "x " * 23]
)
def test_meteor_that_prints_something_else(java, printed):
    java(f"print({printed!r})")
    with pytest.raises(Unavailable, match="METEOR printed"):
        meteor(["a"], [["a"]])


def test_exact_meteor_by_hand():
    # "a dog runs on grass" and "a dog is on the grass" (four words match, in
    # the chunks "a dog", "on" and "grass") and "the dog runs" (one chunk of
    # two words): the first gives more.
    others = ["a dog is on the grass".split(), "the dog runs".split()]
    matches = match_words(
        ["a dog runs on grass".split(), ["b", "b"], []], [others] * 3
    )
    precision, recall = 4 / 5, 4 / 6
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    expected = (1 - 0.6 * (3 / 4) ** 0.2) * mean
    np.testing.assert_allclose(exact_meteor(matches), [expected, 0, 0])


@pytest.mark.proof
def test_exact_meteor_is_the_programs_but_for_stems_and_kinds_of_words():
    """Where words are numbers, METEOR's program finds the same ones too."""
    pytest.importorskip("pycocoevalcap")
    if shutil.which("java") is None:
        pytest.skip("METEOR needs Java")
    from pycocoevalcap.meteor.meteor import Meteor

    rng = np.random.default_rng(6)

    def caption():
        # No word twice, so that nothing can be matched two ways.
        return [f"w{w}" for w in rng.permutation(12)[: rng.integers(4, 11)]]

    references = [[caption() for _ in range(4)] for _ in range(40)]
    candidates = [caption() for _ in range(40)]
    result = exact_meteor(match_words(candidates, references))
    _, expected = Meteor().compute_score(
        {i: [" ".join(r) for r in each] for i, each in enumerate(references)},
        {i: [" ".join(c)] for i, c in enumerate(candidates)},
    )
    assert np.std(expected) > 0.02
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
