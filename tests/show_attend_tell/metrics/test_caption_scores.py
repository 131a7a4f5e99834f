"""Scores against pycocoevalcap's own pipeline, and what is missing."""

import functools
import json
import math
import os
import shutil
import sys

import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.sources.annotation_files import read_lines
from show_attend_tell.metrics import caption_scores as metrics
from show_attend_tell.metrics.bootstrap import resample
from show_attend_tell.metrics.caption_scores import (
    Difference,
    compare,
    evaluate_captions,
)
from show_attend_tell.metrics.score_table import (
    as_json,
    left_out_lines,
    score_table,
)
from show_attend_tell.metrics.tokenization import tokenize

REAL_IMAGES = 50
# Line ends that pycocoevalcap does not take out would move words to another
# caption there; it is given these as spaces.
LINE_ENDS = ("\r", "\v", "\f", "\u2028", "\u2029")
ODD = (
    "",
    "...",
    "A dog\nruns\r\non the \u2028 grass",
    "a form\fof \v many \u2029 lines",
    "a ||| b |||",
    "SCORE ||| a dog ||| a cat",
    "\U0001f600 \U0001f468\u200d\U0001f469",
    "a dog \U0001f436 on grass",
    "כלב רץ על הדשא",
    "개가 풀밭을 달린다",
    "<b>x</b> &amp; <a href='y z'>dog</a>",
    "1 1/2 dogs, don't (stop) [now]; \"it's\" $5",
    "\x1b[31mred\x00 nul \u202e rtl \u00a0 space",
    "cafe\u0301 na\u00efve \ufb01sh",
    "at 5 p.m.",
    "Washington D.C.",
    "dog " * 300,
)


def read_flickr(folder: str) -> list[list[str]]:
    captions = {}
    for _, line in read_lines(os.path.join(folder, "Flickr8k.token.txt")):
        key, _, caption = line.rstrip("\n").partition("\t")
        captions.setdefault(key.partition("#")[0], []).append(caption)
    return list(captions.values())[:REAL_IMAGES]


@functools.cache
def measured(folder: str):
    """Returns our evaluation, pycocoevalcap's, and its METEOR program."""
    if shutil.which("java") is None:
        pytest.skip("Java is not here")
    pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    program = Meteor()  # First: it takes its time to begin.
    groups = read_flickr(folder)
    candidates = [captions[0] for captions in groups]
    references = [captions[1:] for captions in groups]
    candidates += ODD
    # Odd references too, and images with one, two or more references.
    references += [
        [*groups[i][: 1 + i % 5], *([ODD[i - 1]] if i % 2 else [])]
        for i in range(len(ODD))
    ]
    ours = evaluate_captions(range(len(candidates)), candidates, references)

    def plain(text):
        for end in LINE_ENDS:
            text = text.replace(end, " ")
        return {"caption": text}

    tokenizer = PTBTokenizer()
    truths = tokenizer.tokenize(
        {i: list(map(plain, texts)) for i, texts in enumerate(references)}
    )
    results = tokenizer.tokenize(
        {i: [plain(text)] for i, text in enumerate(candidates)}
    )
    bleus, _ = Bleu(4).compute_score(truths, results, verbose=0)
    theirs = {f"BLEU-{n}": score for n, score in enumerate(bleus, start=1)}
    each = {}
    for name, scorer in (
        ("METEOR", program),
        ("ROUGE-L", Rouge()),
        ("CIDEr", Cider()),
    ):
        theirs[name], each[name] = scorer.compute_score(truths, results)
    # There an empty caption equals an empty reference.
    wordless = [not results[i][0] for i in results]
    each["ROUGE-L"] = np.where(wordless, 0, each["ROUGE-L"])
    theirs["ROUGE-L"] = each["ROUGE-L"].mean()
    counts = [program._stat(results[i][0], truths[i]) for i in results]
    return ours, theirs, each, program, counts


@pytest.fixture
def both(flickr8k_dir):
    return measured(flickr8k_dir)


def test_scores_are_pycocoevalcaps(both):
    ours, theirs, *_ = both
    assert ours.tokenizer == "PTB"
    assert not {"PTB", "METEOR", "ROUGE-L", "CIDEr"} & set(ours.left_out)
    for name, expected in theirs.items():
        assert ours.scores[name] == pytest.approx(expected, abs=1e-9), name
    assert len(theirs) == 7


def test_scores_of_each_image_are_pycocoevalcaps(both):
    ours, _, each, *_ = both
    for name, expected in each.items():
        np.testing.assert_allclose(
            ours.per_image[name], expected, atol=1e-9, err_msg=name
        )


def test_meteor_of_resampled_images_is_the_programs(both):
    ours, _, _, program, counts = both
    (measure,) = [s for s in ours.sums if "METEOR" in s.of_all()]
    resampled = resample([measure], samples=3, seed=5)["METEOR"]
    weights = np.random.default_rng(5).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), 3
    )
    for value, times in zip(resampled, weights, strict=True):
        lines = np.repeat(counts, times)
        program.meteor_p.stdin.write(
            f"EVAL ||| {' ||| '.join(lines)}\n".encode()
        )
        program.meteor_p.stdin.flush()
        scores = [program.meteor_p.stdout.readline() for _ in lines]
        assert len(scores) == len(counts)
        corpus = float(program.meteor_p.stdout.readline())
        assert value == pytest.approx(corpus, abs=1e-9)


def test_intervals_hold_their_scores(both):
    ours, *_ = both
    for name in ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "words"):
        low, high = ours.intervals[name]
        assert low < ours.scores[name] < high
    assert set(ours.scores) - set(ours.intervals) == {"vocabulary", "distinct"}


@pytest.fixture
def no_java(monkeypatch):
    monkeypatch.setenv("PATH", "")


CAPTIONS = ("A dog runs.", "a DOG runs", "two cats sleep on a bed")
REFERENCES = (
    ("A dog runs on grass.", "The dog is running."),
    ("A brown dog runs.",),
    ("Two cats sleep.", "Cats on a bed.", "There are two cats on the bed."),
)


def test_without_java(no_java):
    result = evaluate_captions("abc", CAPTIONS, REFERENCES)
    assert result.tokenizer == "words_of"
    for name in ("PTB", "METEOR"):
        assert "Java was not found" in result.left_out[name]
        assert "apt-get install" in result.left_out[name]
    assert "METEOR" not in result.scores
    # All of 3 + 3 + 6 words are in a reference. Pairs: both of "a dog runs";
    # of its twin only "dog runs"; of "two cats sleep on a bed" all 5 but
    # "sleep on".
    assert result.scores["BLEU-1_no_penalty"] == pytest.approx(1)
    assert result.scores["BLEU-2_no_penalty"] == pytest.approx((7 / 9) ** 0.5)


def test_without_pycocoevalcap(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    result = evaluate_captions("abc", CAPTIONS, REFERENCES)
    assert result.tokenizer == "words_of"
    assert set(result.left_out) == {"PTB", "METEOR", "ROUGE-L", "SPICE"}
    assert all(
        "pip install '.[eval]'" in reason for reason in result.left_out.values()
    )
    assert result.scores["BLEU-1_no_penalty"] == pytest.approx(1)


def test_words_vocabulary_distinct_novel(no_java):
    result = evaluate_captions(
        "abc", CAPTIONS, REFERENCES, training_captions=["A dog RUNS!", "no"]
    )
    assert result.scores["words"] == pytest.approx(12 / 3)
    # a, dog, runs, two, cats, sleep, on, bed
    assert result.scores["vocabulary"] == 8
    assert result.scores["distinct"] == pytest.approx(2 / 3)
    assert result.scores["novel_captions"] == pytest.approx(1 / 3)
    # Three images resampled at random: from none novel to all.
    assert result.intervals["novel_captions"] == pytest.approx((0, 1))


def test_a_file_does_not_differ_from_itself(both):
    ours, *_ = both
    differences = compare(ours, ours)
    assert list(differences) == list(ours.scores)
    for name, difference in differences.items():
        assert difference.value == 0
        if name in ours.intervals:
            assert difference.interval == (0, 0)
        else:
            assert difference.interval is None


def test_differences_are_paired_by_image(no_java):
    first = evaluate_captions("abc", CAPTIONS, REFERENCES)
    turned = evaluate_captions(
        "cab",
        *(
            [values[2], values[0], values[1]]
            for values in (CAPTIONS, REFERENCES)
        ),
    )
    # The same captions in another order: paired by place they would differ.
    for difference in compare(first, turned).values():
        assert difference.value == pytest.approx(0, abs=1e-12)
        if difference.interval:
            assert difference.interval == pytest.approx((0, 0), abs=1e-12)
    better = evaluate_captions(
        "abc", [texts[0] for texts in REFERENCES], REFERENCES
    )
    result = compare(better, first)["BLEU-4"]
    assert result.value == pytest.approx(
        better.scores["BLEU-4"] - first.scores["BLEU-4"]
    )
    assert 0 < result.interval[0] <= result.value <= result.interval[1]


def test_other_images_or_words_cannot_be_compared(no_java, monkeypatch):
    first = evaluate_captions("abc", CAPTIONS, REFERENCES)
    other = evaluate_captions("abd", CAPTIONS, REFERENCES)
    with pytest.raises(UserError, match="1 images only in the first.*'c'"):
        compare(first, other)
    monkeypatch.setattr(
        metrics, "tokenize", lambda *a: tokenized_as(tokenize(*a), "PTB")
    )
    with pytest.raises(UserError, match="Received: words_of and PTB"):
        compare(first, evaluate_captions("abc", CAPTIONS, REFERENCES))


def tokenized_as(texts, name):
    return type(texts)(texts.candidates, texts.references, name)


@pytest.mark.parametrize(
    ("ids", "captions", "references", "error", "message"),
    [
        ("ab", ["x"], [["x"]], ValueError, "2 ids, 1 captions, 1 sets"),
        ("", [], [], ValueError, "0 images"),
        ("ab", ["x", "y"], [["x"], []], ValueError, "of which 1 have none"),
        ("a", ["x"], [["..."]], UserError, "no word in any"),
    ],
)
def test_what_cannot_be_scored(
    no_java, ids, captions, references, error, message
):
    with pytest.raises(error, match=message):
        evaluate_captions(ids, captions, references)


def test_only_empty_captions_score_nothing(no_java):
    result = evaluate_captions(
        "ab", ["", "?!"], [["a dog"], ["a cat", "..."]], ["a bird"]
    )
    for name in ("CIDEr", "words", "vocabulary", "distinct", "novel_captions"):
        assert result.scores[name] == 0
    for name in ("BLEU-1", "BLEU-4_no_penalty"):
        assert result.scores[name] is None and name not in result.intervals
    assert result.undefined["BLEU-1"] == "no caption has a word"
    assert result.wordless == (2, 1)
    assert left_out_lines(result)[-1] == (
        "2 of 2 captions have no words, and 1 references; they match nothing"
    )


def test_bleu_of_short_captions_is_undefined(no_java):
    result = evaluate_captions("ab", ["a dog", "a"], [["a dog"], ["a cat"]])
    assert result.scores["BLEU-2"] == pytest.approx(1 * math.exp(1 - 4 / 3))
    undefined = {name for name, score in result.scores.items() if score is None}
    assert undefined == {
        f"BLEU-{n}{form}" for n in (3, 4) for form in ("", "_no_penalty")
    }
    assert result.undefined["BLEU-3"] == "no caption has 3 words"
    assert "BLEU-3, BLEU-3_no_penalty: undefined, because" in score_table(
        result
    )
    assert as_json(result)["undefined"] == result.undefined
    json.dumps(as_json(result), allow_nan=False)
    other = evaluate_captions("ab", ["a b c d", ""], [["a dog"], ["a cat"]])
    difference = compare(other, result)["BLEU-4"]
    assert difference == Difference(None, None)
    table = score_table(other, result, compare(other, result))
    (row,) = [x for x in table.splitlines() if x.startswith("BLEU-4 ")]
    assert row.split()[-2:] == ["undefined", "undefined"]


@pytest.mark.parametrize("ids", ["a", "ab"])
def test_cider_of_one_image_or_of_equal_ones_is_undefined(no_java, ids):
    texts = ["a dog runs on the grass"] * len(ids)
    result = evaluate_captions(ids, texts, [[text] for text in texts])
    assert result.scores["CIDEr"] is None
    assert "CIDEr" not in result.intervals
    assert "CIDEr" not in result.per_image
    assert "how few images have them" in result.undefined["CIDEr"]
    assert result.scores["BLEU-4"] == pytest.approx(1)
    # Resampling one image changes nothing, and tells nothing.
    assert ("BLEU-4" in result.intervals) == (len(ids) > 1)


def test_scripts_without_spaces_are_scored_by_character(no_java):
    result = evaluate_captions(
        "ab",
        ["一只狗在草地上跑", "หมาวิ่ง"],
        [["一只狗在草地上奔跑。"], ["หมาวิ่ง"]],
    )
    # 8 and 4 characters, all of them in 9 and 4.
    assert result.scores["BLEU-1"] == pytest.approx(math.exp(1 - 13 / 12))
    assert result.scores["words"] == 6
    assert result.scores["BLEU-4"] > 0.7
    assert result.scores["CIDEr"] > 5
