"""A server's answer becomes captions, or an error that a user can read."""

import copy

import numpy as np
import pytest

from pipelines.errors import UserError
from show_attend_tell.serving.answers import captions_of

# Two images, steps of 3 at most, a grid of 1 x 2; the second is none.
ANSWER = {
    "caption": ["a dog", ""],
    "tokens": [[5, 6, 0], [0, 0, 0]],
    "length": [2, 0],
    "finished": [True, False],
    "log_probability": [-1.5, 0.0],
    "score": [-0.5, 0.0],
    "attention": [
        [[[0.25, 0.75]], [[1.0, 0.0]], [[0.0, 0.0]]],
        [[[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]],
    ],
    "gate": [[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]],
    "locations": [[1, 0, -1], [-1, -1, -1]],
    "resize_mode": ["squash", "squash"],
    "valid": [True, False],
}
IMAGES = [b"one", b"two"]


def test_an_answer_becomes_captions():
    caption, none = captions_of(ANSWER, IMAGES)
    assert none is None
    assert caption.words == ("a", "dog")
    assert (caption.log_probability, caption.score) == (-1.5, -0.5)
    assert caption.finished
    np.testing.assert_array_equal(
        caption.attention, [[[0.25, 0.75]], [[1.0, 0.0]]]
    )
    np.testing.assert_array_equal(caption.gate, [0.5, 1.0])
    assert caption.locations == (1, 0)
    assert caption.resize_mode == "squash"
    assert caption.photo == b"one"
    assert caption.alternatives == ()


def test_arrays_of_bytes_are_as_good():
    arrays = {name: np.asarray(value) for name, value in ANSWER.items()}
    for name in ("caption", "resize_mode"):
        value = [text.encode() for text in ANSWER[name]]
        arrays[name] = np.array(value, object)
    caption, _ = captions_of(arrays, IMAGES)
    assert caption.text == "a dog"


def test_the_next_best_are_alternatives():
    answer = {
        name: value
        if name in ("valid", "resize_mode")
        else [[one, one, one] for one in value]
        for name, value in copy.deepcopy(ANSWER).items()
    }
    answer["caption"][0] = ["a dog", "the dog", "never said"]
    answer["log_probability"][0] = [-1.5, -2.0, -1e9]
    caption, none = captions_of(answer, IMAGES)
    assert none is None
    assert [one.text for one in caption.alternatives] == ["the dog"]


def test_text_does_nothing_to_the_terminal():
    answer = {**ANSWER, "caption": ["\x1b[2Ja \u202edog", ""]}
    caption, _ = captions_of(answer, IMAGES)
    assert caption.words == ("?[2Ja", "?dog")


HOSTILE = {
    "attention": [None, 1.0, "much", [[[[1.0]]]], [[], []], [[[[]]], [[[]]]]]
    + [[[[[-1.0, 2.0]]] * 3] * 2, [[[[float("nan"), 1.0]]] * 3] * 2]
    + [[[[[10**400, 1]]] * 3] * 2, [[[[1.0, 0.0]]] * 4] * 2],
    "caption": [["a dog"], [["a", "dog"], []], [1, 2], ["a", ""], [None, ""]]
    + [["a big dog", ""], "a dog", {"b64": "aaaa"}],
    "length": [[3, 0], [-1, 0], [10**30, 0], ["x", 0], [[2], [0]]],
    "gate": [[[2.0, 0.0, 0.0]] * 2, [[0.5, 0.5]] * 2, [["x"] * 3] * 2],
    "locations": [[[7, 0, 0]] * 2, [[-5, 0, 0]] * 2, [[0, 0]] * 2],
    "log_probability": [[float("nan"), 0.0], [None, 0.0], [{}, 0.0], [-1.0]],
    "resize_mode": [["sphere", ""], ["crop"], [None, None]],
    "valid": [[True], [[True], [True]], True],
}
CASES = [(name, bad) for name, values in HOSTILE.items() for bad in values]


@pytest.mark.parametrize("name, bad", CASES)
def test_what_is_no_answer_is_refused(name, bad):
    with pytest.raises(UserError, match="Received"):
        captions_of({**ANSWER, name: bad}, IMAGES)


@pytest.mark.parametrize("name", sorted(ANSWER))
def test_nothing_may_be_missing(name):
    answer = {key: value for key, value in ANSWER.items() if key != name}
    with pytest.raises(UserError, match=name):
        captions_of(answer, IMAGES)


def test_answers_for_other_images_are_refused():
    with pytest.raises(UserError):
        captions_of(ANSWER, IMAGES[:1])
