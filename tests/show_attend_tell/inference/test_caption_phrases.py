"""Phrases of captions with their boxes, worked by hand."""

import numpy as np
import pytest

from show_attend_tell.inference.attention_boxes import box_of
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_phrases import phrases_as_json


def caption(text: str, attention) -> Caption:
    words = tuple(text.split())
    gate = np.ones(len(words))
    return Caption(words, -1.0, -1.0, True, np.asarray(attention), gate)


def test_phrases_have_the_mean_attention_of_their_words():
    attention = np.full((5, 8, 8), 1 / 64)
    attention[:2] = 0
    attention[0, 1, 1] = attention[1, 1, 2] = 1.0  # a man
    man, horse = caption("a man riding a horse", attention).phrases
    assert (man.words, man.start, man.stop) == (("a", "man"), 0, 2)
    assert (horse.text, horse.start, horse.stop) == ("a horse", 3, 5)
    mean = np.zeros((8, 8))
    mean[1, 1] = mean[1, 2] = 0.5
    assert man.box == box_of(mean)
    left, top, right, bottom = man.box
    assert left < 1.5 / 8 and right > 2.5 / 8 and top < 1.5 / 8 < bottom
    assert bottom < 3 / 8
    # A location counts by the part of it that the box covers.
    rows = min(bottom, 2 / 8) - max(top, 1 / 8)
    columns = [min(right, (n + 1) / 8) - max(left, n / 8) for n in (1, 2)]
    expected = 0.5 * sum(columns) * rows * 64
    assert man.attention == pytest.approx(expected)
    assert horse.box == (0, 0, 1, 1)
    assert horse.attention == pytest.approx(1)


def test_captions_in_other_languages_and_empty_ones_have_none():
    attention = np.full((4, 2, 2), 0.25)
    assert caption("ein mann im schnee", attention).phrases == ()
    assert caption("", attention[:0]).phrases == ()


def test_phrases_in_json():
    attention = np.full((3, 2, 2), 0.25)
    entries = phrases_as_json(caption("a dog runs", attention).phrases)
    assert entries == [
        {
            "phrase": "a dog",
            "start": 0,
            "stop": 2,
            "box": [0.0, 0.0, 1.0, 1.0],
            "attention": 1.0,
        }
    ]
