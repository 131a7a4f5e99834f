"""Noun phrases of captions that were marked by hand."""

import re
import time

import pytest

from pipelines.noun_phrases import WORDS, find_noun_phrases
from pipelines.words import words_of


@pytest.mark.parametrize(
    "marked",
    [
        "[a man] in [a red shirt] is riding [a bike] down [the street]",
        "[two dogs] run through [the snow]",
        "[a group of people] stand in front of [a building]",
        "[the side of a snow covered hill] and [its top]",
        "[a black and white dog] jumps over [a bar]",
        "[a boy] and [his dog] play near [water]",
        "[a smiling girl] with [long hair] sits on top of [a nearby wall]",
        "[a woman] in [black] takes [a run] at [a bike race]",
        "[three very small children] are swimming in [a swimming pool]",
        "[a man] holding [an orange and white flag] smiles at someone",
        "there is [a large red circle] with [stripes] left of "
        "[two small blue squares]",
        "one is running and another jumps high",
        "[all the other players] watch it",
        "",
    ],
)
def test_phrases_marked_by_hand(marked):
    words, expected = [], []
    for part in re.findall(r"\[[^]]*\]|[^[]+", marked):
        start = len(words)
        words += words_of(part)
        if part[0] == "[":
            expected.append((start, len(words)))
    assert find_noun_phrases(words) == expected


@pytest.mark.parametrize(
    "caption",
    [
        "Ein Mann in einem roten Hemd steht auf der Straße",
        "un perro corre en la arena",
        "un homme en rouge a un chapeau",
        "due cani in acqua",
        "een hond is in het water",
        "um homem a cavalo na praia",
        "två hundar i gräset",
        "bir köpek karda koşuyor",
        "собака бежит по снегу",
        "狗在草地上跑",
        "犬が走っている",
        "คนวิ่ง",
        "dog",
    ],
)
def test_what_is_not_plainly_english_has_no_phrases(caption):
    assert find_noun_phrases(words_of(caption)) == []


def test_a_word_has_one_kind():
    words = " ".join(WORDS.values()).split()
    assert len(words) == len(set(words))


@pytest.mark.parametrize("part", ["two", "black and", "dog of", "the very"])
def test_time_grows_with_the_caption_and_not_with_its_square(part):
    words = words_of(f"the {part} " + f"{part} " * 20_000)
    start = time.process_time()
    assert len(find_noun_phrases(words)) <= 20_000
    assert time.process_time() - start < 2
