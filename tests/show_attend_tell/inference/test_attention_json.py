"""Attention in JSON: by hand, and there and back."""

import base64
import json

import numpy as np
import pytest

from pipelines.errors import UserError
from show_attend_tell.inference.attention_json import (
    attention_as_json,
    attention_from_json,
)


def test_by_hand():
    # Roots of 1, 1/4, 0 and 1/100 of the largest: 255, 127.5, 0, 25.5.
    attention = np.array([[[1, 0.25, 0, 0.01]]]) / 1.26
    value = attention_as_json(attention, "crop")
    assert base64.b64decode(value["roots"]) == bytes([255, 128, 0, 26])
    assert value["grid"] == [1, 4] and value["resize_mode"] == "crop"
    back, resize_mode = attention_from_json(value, 1, "a.json[0]")
    expected = np.square([255, 128, 0, 26]) / (255**2 + 128**2 + 26**2)
    np.testing.assert_allclose(back[0, 0], expected, rtol=1e-6)
    assert resize_mode == "crop"


def test_there_and_back():
    rng = np.random.default_rng(0)
    attention = np.exp(3 * rng.normal(size=(12, 14, 14)))
    attention /= attention.sum((1, 2), keepdims=True)
    text = json.dumps(attention_as_json(attention, "squash"))
    assert len(text) < 12 * 14 * 14 * 1.4 + 100
    back, _ = attention_from_json(json.loads(text), 12, "")
    np.testing.assert_allclose(back.sum((1, 2)), 1, rtol=1e-5)
    # A root is off by at most 1/2 of 255.
    assert np.abs(back - attention).max() < attention.max() / 200
    empty = attention_as_json(np.zeros((0, 2, 3)), "crop")
    assert attention_from_json(empty, 0, "")[0].shape == (0, 2, 3)


def test_malformed():
    good = attention_as_json(np.ones((2, 1, 3)), "crop")
    attention_from_json(good, 2, "")
    zeros = base64.b64encode(bytes(6)).decode()
    for value in (
        None,
        [],
        "x",
        {},
        {**good, "grid": [10**9, 10**9]},
        {**good, "grid": [True, 3]},
        {**good, "grid": 3},
        {**good, "resize_mode": []},
        {**good, "roots": "////////" * 9},
        {**good, "roots": "!!!!!!!!"},
        {**good, "roots": "\u00e9" * 8},
        {**good, "roots": 8},
        {**good, "roots": zeros},
    ):
        with pytest.raises(UserError, match=r"for each of 2 words, at x\[3\]"):
            attention_from_json(value, 2, "x[3]")
    with pytest.raises(UserError):
        attention_from_json(good, 3, "")
