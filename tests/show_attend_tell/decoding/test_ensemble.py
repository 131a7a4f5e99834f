"""Ensembles against NumPy's average of their members, word by word."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from show_attend_tell.decoding.ensemble import Ensemble
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.layers.checks import assert_close

N = 4
GREEDY = Decoding("greedy", max_words=6, min_words=0)
BEAM = Decoding(beam_width=3, num_captions=3, max_words=5, min_words=0)


class Mean(plain.Oracle):
    """The mean of the members' probabilities and of their attention."""

    def __init__(self, members):
        self.members, self.locate = members, None

    def _predict(self, words):
        log_p, attention, gate = zip(
            *(member._predict(words) for member in self.members), strict=True
        )
        mean = np.log(np.mean(np.exp(log_p), 0))
        return mean, np.mean(attention, 0), np.mean(gate)


@pytest.fixture(scope="module")
def members():
    """Three that differ in more than their weights."""
    return (
        plain.varied_captioner(),
        plain.varied_captioner(seed=2, gate="vector"),
        plain.varied_captioner(seed=5, initial_units=0),
    )


@pytest.mark.parametrize("decoding", [GREEDY, BEAM], ids=lambda d: d.method)
def test_words_are_those_of_the_mean_probability(members, decoding):
    annotations = plain.annotations_of(N)
    captions = decode(Ensemble(members), annotations, decoding)
    differs = False
    for i in range(N):
        oracle = Mean([plain.Oracle(m, annotations[i]) for m in members])
        expected = plain.search(oracle, decoding)
        plain.assert_captions(captions, i, expected, decoding, oracle)
        single = plain.search(oracle.members[0], decoding)
        differs |= single[0].words != expected[0].words
    assert differs  # It does not just follow the first.


@pytest.mark.parametrize("mode", ["expected", "peak"])
def test_one_and_twice_the_same_are_the_model(members, mode):
    decoding = dataclasses.replace(BEAM, context_mode=mode, max_words=3)
    annotations = plain.annotations_of(N)
    expected = decode(members[0], annotations, decoding)
    for count in (1, 2):
        ensemble = Ensemble([members[0]] * count)
        assert_close(decode(ensemble, annotations, decoding), expected)


def test_a_location_is_that_of_all_members(members):
    decoding = dataclasses.replace(GREEDY, context_mode="peak")
    annotations = plain.annotations_of(N)
    together, first = (
        np.asarray(decode(model, annotations, decoding).locations[..., 0])
        for model in (Ensemble(members), members[0])
    )
    is_same = together >= 0
    assert not is_same.all()  # They differ somewhere, ...
    np.testing.assert_array_equal(together[is_same], first[is_same])


def test_it_compiles_as_one_model(members):
    ensemble, annotations = Ensemble(members[:2]), plain.annotations_of(2)
    compiled = tf.function(
        lambda x: decode(ensemble, x, GREEDY), jit_compile=True, autograph=False
    )
    assert_close(
        compiled(annotations), decode(ensemble, annotations, GREEDY), 1e-4, 1e-4
    )


def test_members_have_the_same_vocabulary(members):
    other = plain.varied_captioner(vocabulary_digest="other")
    for wrong in ((), (members[0], other)):
        with pytest.raises(ValueError, match="vocabulary_digest="):
            Ensemble(wrong)
