"""Ensembles against NumPy's average of their members, word by word."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from show_attend_tell.decoding.ensemble import Ensemble
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.layers.checks import assert_close

N = 4
GREEDY = Decoding("greedy", max_words=6, min_words=0)
BEAM = Decoding(beam_width=3, num_captions=3, max_words=5, min_words=0)


class Together(plain.Oracle):
    """The mean of the members' probabilities and of their attention."""

    def __init__(self, members):
        self.members = members

    def predict(self, words):
        looks = [member.predict(words) for member in self.members]
        probability = np.mean([np.exp(log_p) for log_p, _ in looks], axis=0)
        return np.log(probability), np.mean([seen for _, seen in looks], axis=0)


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
    found = decode(Ensemble(members), annotations, decoding)
    run = plain.beam if decoding.method == "beam" else plain.greedy
    differ = False
    for i in range(N):
        oracle = Together([plain.Oracle(m, annotations[i]) for m in members])
        said = run(oracle, decoding)
        said = said[:3] if isinstance(said, list) else [said]
        plain.assert_captions(found, i, said, decoding, oracle)
        alone = run(oracle.members[0], decoding)
        alone = alone if isinstance(alone, list) else [alone]
        differ |= alone[0].words != said[0].words
    assert differ  # It does not just follow the first.


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("look", ["expected", "peak"])
def test_one_and_twice_the_same_are_the_model(members, count, look):
    decoding = dataclasses.replace(BEAM, context_mode=look)
    annotations = plain.annotations_of(N)
    expected = decode(members[0], annotations, decoding)
    found = decode(Ensemble([members[0]] * count), annotations, decoding)
    for name in ("tokens", "lengths", "finished", "locations"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(expected, name)
        )
    for name in ("log_probability", "score", "attention", "gate"):
        assert_close(getattr(found, name), getattr(expected, name), 1e-5, 1e-5)


def test_places_are_told_where_all_look_at_one(members):
    decoding = dataclasses.replace(GREEDY, context_mode="peak")
    annotations = plain.annotations_of(N)
    found = np.asarray(
        decode(Ensemble(members), annotations, decoding).locations
    )
    first = np.asarray(decode(members[0], annotations, decoding).locations)
    assert (found[..., 0] < 0).any()  # They disagree somewhere, ...
    agreed = found[..., 0] >= 0
    np.testing.assert_array_equal(found[..., 0][agreed], first[..., 0][agreed])


def test_it_compiles_as_one_model(members):
    ensemble, annotations = Ensemble(members[:2]), plain.annotations_of(2)
    compiled = tf.function(
        lambda x: decode(ensemble, x, BEAM), jit_compile=True, autograph=False
    )
    found, expected = compiled(annotations), decode(ensemble, annotations, BEAM)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert_close(found.log_probability, expected.log_probability, 1e-4, 1e-4)


def test_members_know_the_same_words(members):
    other = plain.varied_captioner(vocabulary_digest="other")
    for wrong in ((), (members[0], other)):
        with pytest.raises(ValueError, match="vocabulary_digest="):
            Ensemble(wrong)
