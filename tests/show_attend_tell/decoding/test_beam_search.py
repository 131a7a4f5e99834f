"""Beam search against lists and loops over NumPy's captioner."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, PADDING
from show_attend_tell.decoding import Decoding
from show_attend_tell.decoding.candidates import MASKED_LOG_PROBABILITY
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.layers.checks import assert_close
from tests.show_attend_tell.test_model import D, L, V

N = 5
BEAM = Decoding(beam_width=3, num_captions=3, max_words=5, min_words=0)


@pytest.fixture(scope="module")
def captioner():
    return plain.varied_captioner()


@pytest.fixture(scope="module")
def annotations():
    return plain.annotations_of(N)


@pytest.fixture(scope="module")
def captions(captioner, annotations):
    return decode(captioner, annotations, BEAM)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"beam_width": 1, "num_captions": 1},
        {"beam_width": 7, "num_captions": 5, "length_penalty": 0.0},
        {"beam_width": 4, "num_captions": 1, "length_penalty": 1.5},
        {"min_words": 3, "allow_unknown": True},
        {"beam_width": 4, "no_repeat_ngram_size": 1},
        {"beam_width": 4, "no_repeat_ngram_size": 2, "max_words": 7},
        {"no_repeat_ngram_size": 3, "max_words": 8},
        {"no_repeat_ngram_size": 9},  # Longer than any caption.
    ],
    ids=str,
)
def test_it_is_plain_beam_search(captioner, annotations, changes):
    decoding = dataclasses.replace(BEAM, **changes)
    found = decode(captioner, annotations, decoding)
    for i in range(N):
        oracle = plain.Oracle(captioner, annotations[i])
        expected = plain.beam(oracle, decoding)[: decoding.num_captions]
        plain.assert_captions(found, i, expected, decoding, oracle)


def test_the_constraints_matter_here(captioner, annotations, captions):
    # Otherwise the comparison above would say little about them.
    tokens = np.asarray(captions.tokens)
    assert {0, 1} & set(np.asarray(captions.lengths).ravel())
    assert not np.asarray(captions.finished).all()
    for n in (1, 2):
        longer = dataclasses.replace(BEAM, max_words=7, no_repeat_ngram_size=n)
        freely = dataclasses.replace(longer, no_repeat_ngram_size=0)
        one, other = (
            np.asarray(decode(captioner, annotations, d).tokens)
            for d in (longer, freely)
        )
        assert np.any(one != other)
    said = decode(
        captioner, annotations, dataclasses.replace(BEAM, allow_unknown=True)
    )
    assert np.any(np.asarray(said.tokens) != tokens)


def test_a_beam_of_all_is_exhaustive_search(captioner, annotations):
    decoding = Decoding(
        beam_width=400, num_captions=400, max_words=3, min_words=0
    )
    found = decode(captioner, annotations[:1], decoding)
    oracle = plain.Oracle(captioner, annotations[0])
    everything = plain.every_caption(oracle, decoding)
    assert len(everything) == 1 + 7 + 7**2 + 7**3 == 400
    scores = [said.score(decoding) for said in everything]
    np.testing.assert_allclose(found.score[0], scores, atol=1e-5)
    words = {tuple(row[row != PADDING]) for row in np.asarray(found.tokens[0])}
    assert words == {said.words for said in everything}
    assert tuple(found.tokens[0, 0])[: len(everything[0].words)] == (
        everything[0].words
    )


def test_a_beam_of_one_is_greedy(captioner):
    annotations = plain.annotations_of(20)
    greedy = decode(captioner, annotations, Decoding("greedy", max_words=6))
    one = decode(captioner, annotations, Decoding(beam_width=1, max_words=6))
    assert_close(one, greedy)


def test_scores_are_those_of_teacher_forcing(captioner, annotations, captions):
    tokens = np.asarray(captions.tokens)
    start = np.full((*tokens.shape[:2], 1), 1, np.int32)
    given = {
        "annotations": annotations,
        "tokens": np.concatenate([start, tokens], axis=-1),
    }
    forced = captioner(given)
    log_p = keras.ops.log_softmax(forced["logits"], axis=-1)
    word = np.take_along_axis(np.asarray(log_p), tokens[..., None], -1)[..., 0]
    expected = np.sum(word * (tokens != PADDING), axis=-1)
    assert_close(captions.log_probability, expected, atol=1e-4)
    spoken = (tokens != PADDING)[..., None]
    assert_close(captions.attention, forced["attention"] * spoken, atol=1e-5)


@pytest.mark.parametrize("gate", ["scalar", "vector", "none"])
def test_gates_are_those_of_the_words_said(gate, annotations):
    captioner = plain.varied_captioner(gate=gate)
    found = decode(captioner, annotations, BEAM)
    for i, h in np.ndindex(N, BEAM.num_captions):
        state, scaled, keys = captioner.begin(annotations[i : i + 1])
        token, steps = 1, int(np.sum(np.asarray(found.tokens[i, h]) > 0))
        for t in range(steps):
            _, state, _, opened = captioner.step(
                np.array([token]), state, scaled, keys
            )
            assert_close(found.gate[i, h, t], np.mean(opened))
            token = int(found.tokens[i, h, t])


def test_a_batch_is_as_many_batches_of_one(captioner, annotations, captions):
    # Some are done long before others: that must not show.
    for i in range(N):
        alone = decode(captioner, annotations[i : i + 1], BEAM)
        np.testing.assert_array_equal(alone.tokens[0], captions.tokens[i])
        assert_close(alone, [x[i : i + 1] for x in captions])


def test_permuted_locations_permute_attention(captioner, annotations, captions):
    order = np.random.default_rng(0).permutation(L)
    found = decode(captioner, annotations[:, order], BEAM)
    np.testing.assert_array_equal(found.tokens, captions.tokens)
    assert_close(found.attention, np.asarray(captions.attention)[..., order])


def test_room_that_is_not_needed_changes_nothing(captioner, annotations):
    # A caption that ends in time is the same with more steps left over.
    quiet = plain.varied_captioner()
    bias = np.asarray(quiet.output_layer.output_bias).copy()
    bias[END] += 8.0
    quiet.output_layer.output_bias.assign(bias)
    few, many = (
        decode(quiet, annotations, dataclasses.replace(BEAM, max_words=words))
        for words in (6, 20)
    )
    assert np.all(few.finished)
    np.testing.assert_array_equal(few.tokens, many.tokens[..., :7])
    assert not np.any(many.tokens[..., 7:])
    assert_close(few.score, many.score)


def test_captions_that_never_end_are_returned(annotations):
    found = decode(plain.certain_of(7), annotations, BEAM)
    assert not np.any(found.finished)
    np.testing.assert_array_equal(found.tokens[:, 0, :-1], np.full((N, 5), 7))
    np.testing.assert_array_equal(found.lengths, np.full((N, 3), 5))


def test_an_end_that_may_not_come_yet(annotations):
    silent = plain.certain_of(END)
    found = decode(silent, annotations, BEAM)
    np.testing.assert_array_equal(found.lengths[:, 0], np.zeros(N))
    np.testing.assert_allclose(found.log_probability[:, 0], 0, atol=1e-6)
    held = decode(silent, annotations, dataclasses.replace(BEAM, min_words=2))
    np.testing.assert_array_equal(held.lengths[:, 0], np.full(N, 2))


def test_fewer_captions_than_asked_for_are_followed_by_empty_ones(captioner):
    decoding = Decoding(
        beam_width=30, num_captions=30, max_words=1, min_words=0
    )
    found = decode(captioner, plain.annotations_of(1), decoding)
    real = np.asarray(found.log_probability[0]) > MASKED_LOG_PROBABILITY / 2
    assert real.sum() == 1 + 7  # The end, or one of seven words.
    assert not np.any(found.tokens[0][~real])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_graph_says_the_same(captioner, annotations, captions, compiled):
    function = tf.function(
        lambda annotations: decode(captioner, annotations, BEAM),
        input_signature=[tf.TensorSpec((None, L, D))],
        jit_compile=compiled,
        autograph=False,
    )
    found = function(annotations)
    assert_close(found, captions)
    assert [x.dtype for x in found] == [x.dtype for x in captions]


def test_mixed_precision(annotations):
    mixed = plain.varied_captioner(dtype="mixed_bfloat16")
    found = decode(mixed, annotations, BEAM)
    assert found.attention.dtype == "float32"
    assert np.all(np.isfinite(found.log_probability))


def test_more_words_than_candidates(annotations):
    # Fewer words than locations in the beam, and than may be banned.
    wide = Decoding(beam_width=V + 3, no_repeat_ngram_size=2, max_words=4)
    captioner = plain.varied_captioner(seed=3)
    found = decode(captioner, annotations[:1], wide)
    oracle = plain.Oracle(captioner, annotations[0])
    expected = plain.beam(oracle, wide)[:1]
    plain.assert_captions(found, 0, expected, wide, oracle)
