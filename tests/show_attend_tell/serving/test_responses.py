"""Responses of servers become captions, or an error that a user can read."""

import numpy as np
import pytest

from pipelines.errors import UserError
from show_attend_tell.serving.responses import parse_response

# Two images, at most 3 steps, a grid of 1 x 2; the second is not valid.
RESPONSE = {
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


def test_response_is_parsed():
    caption, none = parse_response(RESPONSE, IMAGES)
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


def test_arrays_of_bytes_are_parsed():
    arrays = {name: np.asarray(value) for name, value in RESPONSE.items()}
    for name in ("caption", "resize_mode"):
        encoded = [text.encode() for text in RESPONSE[name]]
        arrays[name] = np.array(encoded, object)
    caption, _ = parse_response(arrays, IMAGES)
    assert caption.text == "a dog"


def test_words_without_spaces_between_them():
    response = {**RESPONSE, "caption": ["犬น้ำ", ""]}
    caption, _ = parse_response(response, IMAGES)
    assert caption.words == ("犬", "น้ำ") and caption.text == "犬น้ำ"


def test_next_best_captions_are_alternatives():
    response = {
        name: value
        if name in ("valid", "resize_mode")
        else [[one, one, one] for one in value]
        for name, value in RESPONSE.items()
    }
    response["caption"][0] = ["a dog", "the dog", "empty place"]
    response["log_probability"][0] = [-1.5, -2.0, -1e9]
    caption, none = parse_response(response, IMAGES)
    assert none is None
    assert [one.text for one in caption.alternatives] == ["the dog"]


def test_control_characters_are_replaced():
    response = {**RESPONSE, "caption": ["\x1b[2Ja \u202edog", ""]}
    caption, _ = parse_response(response, IMAGES)
    assert caption.words == ("\\x1b[2Ja", "\\u202edog")


_MALFORMED = {
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
MALFORMED = [(key, value) for key in _MALFORMED for value in _MALFORMED[key]]


@pytest.mark.parametrize("name, value", MALFORMED)
def test_malformed_response_is_refused(name, value):
    with pytest.raises(UserError, match="Received"):
        parse_response({**RESPONSE, name: value}, IMAGES)


@pytest.mark.parametrize("name", RESPONSE)
def test_missing_output_is_refused(name):
    response = {key: RESPONSE[key] for key in RESPONSE if key != name}
    with pytest.raises(UserError, match=name):
        parse_response(response, IMAGES)


def test_response_for_other_images_is_refused():
    with pytest.raises(UserError):
        parse_response(RESPONSE, IMAGES[:1])
