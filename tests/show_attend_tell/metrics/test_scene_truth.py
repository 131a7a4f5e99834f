"""Captions of scenes, and attention that is known."""

import numpy as np
import pytest

from pipelines.captions import CaptionedImage
from pipelines.sources.scenes import load_scenes, scene_of
from show_attend_tell.metrics import scene_truth
from show_attend_tell.metrics.grounding import FIGURES
from show_attend_tell.metrics.scene_truth import measure_scene_truth

GRID = (14, 14)


def measure(texts, images, attentions=None):
    """Measures captions, by default with attention that is uniform."""
    uniform = [np.full((len(t.split()), *GRID), 1 / 196) for t in texts]
    return measure_scene_truth(texts, attentions or uniform, images)


@pytest.fixture(scope="module")
def scenes():
    return load_scenes(0, 0, 40, 0).images


@pytest.fixture
def two_things(monkeypatch):
    """A small red ball at the upper left, a large blue striped star below."""
    from pipelines.sources.scenes.scene import Scene, Thing

    things = (
        Thing("ball", "red", "plain", "small", 56, 56, 48),
        Thing("star", "blue", "striped", "large", 160, 160, 96),
    )
    monkeypatch.setattr(scene_truth, "scene_of", lambda id: Scene(things))
    references = ("a small red ball is above a star", "a ball")
    return CaptionedImage("x", "test", references)


def test_statements_by_kind(two_things):
    captions = [
        # objects 2 true; colour true; relation true ("left of").
        "a red ball is left of a star",
        # objects true; colours true and false; size true; relation false.
        "a red ball is right of a large green star",
        # One of two numbers is true; object true; texture true.
        "there are two things and there are three things and we see a "
        "striped star",
        "ball ball",
        # An object that is not there, and one that is.
        "a cone and a star",
    ]
    measured = measure(captions, [two_things] * 5)
    expected = {
        # count, true, captions, true_captions
        "object": (7, 6 / 7, 4, 3 / 4),
        "colour": (3, 2 / 3, 2, 1 / 2),
        "texture": (1, 1, 1, 1),
        "size": (1, 1, 1, 1),
        "relation": (2, 1 / 2, 2, 1 / 2),
        "number": (2, 1 / 2, 1, 0),
    }
    assert list(measured["by_statement"]) == list(expected)
    for kind, figures in measured["by_statement"].items():
        assert list(figures) == ["count", "true", "captions", "true_captions"]
        assert tuple(figures.values()) == pytest.approx(expected[kind])
    assert measured["true_captions"] == 1 / 5
    assert measured["parsed_captions"] == 4 / 5
    assert measured["true_statements"] == pytest.approx(12 / 16)
    assert measured["statements"] == 16 / 5
    # "small red ball", "above", "star"; and "ball".
    assert measured["reference_statements"] == (5 + 1) / 2


def test_words_by_class(two_things):
    # The ball is from 32 to 80 of 224 pixels: rows and columns 2 to 4 of
    # fourteen, 9 locations. The star is from 112 to 208: 7 to 12, 36.
    attention = np.zeros((8, *GRID), np.float32)
    # a small red ball is above a star
    attention[1, 3, 3] = 1  # "small", in the ball
    attention[2, 8, 8] = 1  # "red", in the star instead
    attention[3, 4, 4] = 0.75  # "ball", and a quarter beside it
    attention[3, 5, 5] = 0.25
    attention[7, 7, 7] = 0.5  # "star", half of it in the star
    attention[7, 0, 0] = 0.3
    attention[7, 0, 1] = 0.2
    text = "a small red ball is above a star"
    measured = measure([text], [two_things], [attention])
    assert set(measured["by_word_class"]) == {"noun", "colour", "size"}
    expected = {
        "size": (1, 1, 9 / 196, 1, 9 / 196),
        "colour": (1, 0, 9 / 196, 0, 9 / 196),
        "noun": (2, 1, 45 / 2 / 196, (0.75 + 0.5) / 2, 45 / 2 / 196),
    }
    for kind, values in expected.items():
        figures = dict(zip(("count", *FIGURES), values, strict=True))
        of_class = measured["by_word_class"][kind]
        of_class = {name: of_class[name] for name in figures}
        assert of_class == pytest.approx(figures)
    for name in FIGURES:
        assert measured[name] == measured["by_word_class"]["noun"][name]


def test_what_is_not_there_is_missed(two_things):
    measured = measure(["a cone"], [two_things])
    assert measured["by_word_class"]["noun"]["count"] == 1
    assert all(measured[name] == 0 for name in FIGURES)
    measured = measure(["ball ball"], [two_things])  # It does not parse.
    assert measured["parsed_captions"] == 0
    assert measured["by_word_class"] == measured["by_statement"] == {}
    assert measured["true_statements"] is None
    assert all(measured[name] is None for name in FIGURES)


def test_references_are_true_and_uniform_attention_is_random(scenes):
    measured = measure([image.captions[0] for image in scenes], scenes)
    assert measured["true_captions"] == 1
    assert measured["parsed_captions"] == 1
    assert measured["true_statements"] == 1
    classes = measured["by_word_class"]
    assert set(classes) == {"noun", "colour", "texture", "size"}
    assert classes["noun"]["count"] >= 2 * len(scenes)
    for figures in classes.values():
        accuracy, random_accuracy, mass, uniform = (
            figures[name] for name in FIGURES
        )
        assert accuracy == pytest.approx(random_accuracy)
        assert mass == pytest.approx(uniform, rel=1e-4)
        assert 0 < figures["pointing_chance"] < 0.5
    assert all(
        figures["true"] == figures["true_captions"] == 1
        for figures in measured["by_statement"].values()
    )


# The boxes of a word, computed anew: things that look as the noun phrase
# around it says. No two units of references look alike.
MEANINGS = {
    "big": "large", "little": "small", "dotted": "spotted", "dots": "spotted",
    "spots": "spotted", "stripes": "striped", "sphere": "ball",
    "block": "cube", "crescent": "moon", "crosses": "cross",
}  # fmt: skip
MEANT = frozenset(
    "large small red orange yellow green blue purple pink black plain striped "
    "spotted ball cube cone star heart ring moon cross".split()
)
SHAPES = frozenset("ball cube cone star heart ring moon cross".split())


def phrases(text):
    """Yields the positions and meanings of each noun phrase."""
    phrase = {}
    for position, word in enumerate([*text.split(), "."]):
        meaning = MEANINGS.get(word, word)
        if meaning not in MEANT and meaning not in MEANINGS.values():
            meaning = MEANINGS.get(word[:-1], word[:-1])
        if meaning in MEANT:
            phrase[position] = meaning
        elif phrase and word != "with":
            yield phrase
            phrase = {}


def test_ideal_attention_on_references_is_perfect(scenes):
    texts, attentions = [], []
    for image in scenes:
        text = image.captions[0]
        attention = np.zeros((len(text.split()), *GRID), np.float32)
        for phrase in phrases(text):
            assert len(SHAPES & set(phrase.values())) == 1, text
            (thing, *_) = (
                thing
                for thing in scene_of(image.id).things
                if set(phrase.values())
                <= {thing.shape, thing.colour, thing.texture, thing.size}
            )
            # The location at its middle lies wholly inside: it is at least
            # 46 pixels wide and a location is 16.
            attention[list(phrase), thing.y // 16, thing.x // 16] = 1
        if "things" in text:  # All things are meant; one of them will do.
            thing = scene_of(image.id).things[0]
            at = text.split().index("things")
            attention[at, thing.y // 16, thing.x // 16] = 1
        texts.append(text)
        attentions.append(attention)
    measured = measure(texts, scenes, attentions)
    for figures in (measured, *measured["by_word_class"].values()):
        assert figures["attention_mass"] == pytest.approx(1)
        assert figures["pointing_accuracy"] == 1
