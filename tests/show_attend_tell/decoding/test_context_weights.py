"""Contexts of one location, as hard attention was trained with."""

import dataclasses

import numpy as np
import pytest

from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.tiny import L

N = 4
GREEDY = Decoding("greedy", max_words=6, min_words=0)
BEAM = Decoding(beam_width=3, num_captions=3, max_words=5, min_words=0)


@pytest.fixture(scope="module")
def captioner():
    return plain.varied_captioner()


@pytest.mark.parametrize("decoding", [GREEDY, BEAM], ids=lambda d: d.method)
def test_the_peak_is_where_attention_is_highest(captioner, decoding):
    plain.check_search(
        captioner,
        plain.annotations_of(N),
        dataclasses.replace(decoding, context_mode="peak"),
        locate=lambda attention, t, i: np.argmax(attention),
    )


def test_locations_are_sampled_by_the_noise(captioner):
    decoding = dataclasses.replace(GREEDY, context_mode="sampled")
    noise = plain.noise_of(N, decoding)

    def locate(attention, t, i):
        return np.sum(np.cumsum(attention) <= noise[i, 0, t, 1])

    plain.check_search(
        captioner, plain.annotations_of(N), decoding, noise, locate
    )


def test_a_beam_samples_for_each_hypothesis(captioner):
    decoding = dataclasses.replace(BEAM, context_mode="sampled")
    annotations = plain.annotations_of(N)
    noises = (plain.noise_of(N, decoding, seed) for seed in (0, 0, 1))
    captions, again, other = (
        decode(captioner, annotations, decoding, noise) for noise in noises
    )
    locations = np.asarray(captions.locations)
    np.testing.assert_array_equal(locations, again.locations)
    assert np.any(locations != np.asarray(other.locations))
    np.testing.assert_array_equal(
        locations >= 0, np.asarray(captions.tokens) > 0
    )
    assert locations.max() < L
