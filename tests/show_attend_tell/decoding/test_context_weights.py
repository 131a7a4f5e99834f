"""Words said from one location alone."""

import dataclasses

import numpy as np
import pytest

from show_attend_tell.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.test_model import L

N = 4
GREEDY = Decoding("greedy", max_words=6, min_words=0)
BEAM = Decoding(beam_width=3, num_captions=3, max_words=5, min_words=0)


@pytest.fixture(scope="module")
def captioner():
    return plain.varied_captioner()


def noise_of(decoding, seed=0):
    shape = (N, decoding.width, decoding.steps, 2)
    return np.random.default_rng(seed).random(shape, np.float32)


def peak(attention, t):
    return int(np.argmax(attention))


def assert_places(found, i, expected, oracle):
    for h, said in enumerate(expected):
        steps = len(said.words)
        locations = [
            oracle.place(attention, t)
            for t, attention in enumerate(oracle.attention(said.words))
        ]
        np.testing.assert_array_equal(found.locations[i, h, :steps], locations)
        assert np.all(np.asarray(found.locations[i, h, steps:]) == -1)


@pytest.mark.parametrize("decoding", [GREEDY, BEAM], ids=lambda d: d.method)
def test_the_peak_is_where_attention_is_highest(captioner, decoding):
    decoding = dataclasses.replace(decoding, context_mode="peak")
    annotations = plain.annotations_of(N)
    found = decode(captioner, annotations, decoding)
    run = plain.beam if decoding.method == "beam" else plain.greedy
    for i in range(N):
        oracle = plain.Oracle(captioner, annotations[i], peak)
        said = run(oracle, decoding)
        said = said[:3] if isinstance(said, list) else [said]
        plain.assert_captions(found, i, said, decoding, oracle)
        assert_places(found, i, said, oracle)


def test_places_are_drawn_by_the_noise(captioner):
    decoding = dataclasses.replace(GREEDY, context_mode="sampled")
    annotations = plain.annotations_of(N)
    noise = noise_of(decoding)
    found = decode(captioner, annotations, decoding, noise)
    for i in range(N):

        def by_chance(attention, t, i=i):
            return int(np.sum(np.cumsum(attention) <= noise[i, 0, t, 1]))

        oracle = plain.Oracle(captioner, annotations[i], by_chance)
        said = [plain.greedy(oracle, decoding)]
        plain.assert_captions(found, i, said, decoding, oracle)
        assert_places(found, i, said, oracle)


def test_a_beam_draws_for_each_hypothesis(captioner):
    decoding = dataclasses.replace(BEAM, context_mode="sampled")
    annotations = plain.annotations_of(N)
    noise = noise_of(decoding)
    found = decode(captioner, annotations, decoding, noise)
    again = decode(captioner, annotations, decoding, noise)
    other = decode(captioner, annotations, decoding, noise_of(decoding, 1))
    np.testing.assert_array_equal(found.locations, again.locations)
    assert np.any(np.asarray(found.locations) != np.asarray(other.locations))
    said = np.asarray(found.tokens) > 0
    locations = np.asarray(found.locations)
    assert np.all((locations >= 0) == said) and locations.max() < L


def test_the_expectation_is_of_no_place(captioner):
    found = decode(captioner, plain.annotations_of(N), GREEDY)
    assert np.all(np.asarray(found.locations) == -1)
