"""Beam search against lists and loops over NumPy's captioner."""

import dataclasses

import keras
import numpy as np
import pytest

from pipelines.vocabulary import END, PADDING
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.candidates import MASKED_LOG_PROBABILITY
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.layers.checks import assert_close
from tests.show_attend_tell.tiny import L, V

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
    plain.check_search(captioner, annotations, decoding)


def test_the_constraints_matter_here(captioner, annotations, captions):
    # Otherwise the comparison above would say little about them.
    assert {0, 1} & set(np.asarray(captions.lengths).ravel())
    free = dataclasses.replace(BEAM, max_words=7)
    tokens = [
        np.asarray(decode(captioner, annotations, decoding).tokens)
        for decoding in (
            free,
            dataclasses.replace(free, no_repeat_ngram_size=1),
            dataclasses.replace(free, no_repeat_ngram_size=2),
            dataclasses.replace(free, allow_unknown=True),
        )
    ]
    assert all(np.any(tokens[0] != changed) for changed in tokens[1:])


def test_a_beam_of_all_is_exhaustive_search(captioner, annotations):
    decoding = Decoding(
        beam_width=400, num_captions=400, max_words=3, min_words=0
    )
    captions = decode(captioner, annotations[:1], decoding)
    oracle = plain.Oracle(captioner, annotations[0])
    everything = plain.every_caption(oracle, decoding)
    assert len(everything) == 1 + 7 + 7**2 + 7**3 == 400
    scores = [caption.score(decoding) for caption in everything]
    np.testing.assert_allclose(captions.score[0], scores, atol=1e-5)
    rows = np.asarray(captions.tokens[0])
    words = [tuple(row[row != PADDING]) for row in rows]
    assert set(words) == {caption.words for caption in everything}
    assert words[0] == everything[0].words


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
    is_word = (tokens != PADDING)[..., None]
    assert_close(captions.attention, forced["attention"] * is_word, atol=1e-5)


@pytest.mark.parametrize("gate", ["vector", "none"])
def test_gates_are_those_of_the_words(gate, annotations):
    plain.check_search(plain.varied_captioner(gate=gate), annotations[:2], BEAM)


def test_permuted_locations_permute_attention(captioner, annotations, captions):
    order = np.random.default_rng(0).permutation(L)
    permuted = decode(captioner, annotations[:, order], BEAM)
    np.testing.assert_array_equal(permuted.tokens, captions.tokens)
    attention = np.asarray(captions.attention)[..., order]
    assert_close(permuted.attention, attention)


def test_room_that_is_not_needed_changes_nothing(annotations):
    # A caption that ends in time is the same with more steps left over.
    captioner = plain.varied_captioner()
    plain.add_to_bias(captioner, {END: 8.0})
    decodings = [dataclasses.replace(BEAM, max_words=n) for n in (6, 12)]
    few, many = (decode(captioner, annotations, one) for one in decodings)
    assert np.all(few.finished)
    np.testing.assert_array_equal(few.tokens, many.tokens[..., :7])
    assert not np.any(many.tokens[..., 7:])
    assert_close(few.score, many.score)


def test_captions_end_between_the_limits(annotations):
    captions = decode(plain.captioner_of(7), annotations, BEAM)
    assert not np.any(captions.finished)
    assert np.all(np.asarray(captions.tokens[:, 0, :-1]) == 7)
    assert np.all(np.asarray(captions.lengths) == 5)
    decoding = dataclasses.replace(BEAM, min_words=2)
    captions = decode(plain.captioner_of(END), annotations, decoding)
    np.testing.assert_array_equal(captions.lengths[:, 0], np.full(N, 2))


def test_fewer_captions_than_asked_for_are_followed_by_empty_ones(captioner):
    decoding = dataclasses.replace(
        BEAM, beam_width=30, num_captions=30, max_words=1
    )
    captions = decode(captioner, plain.annotations_of(1), decoding)
    log_probability = np.asarray(captions.log_probability[0])
    is_caption = log_probability > MASKED_LOG_PROBABILITY / 2
    assert is_caption.sum() == 1 + 7  # The end, or one of seven words.
    assert not np.any(captions.tokens[0][~is_caption])


def test_more_words_than_candidates(annotations):
    # Fewer words than slots in the beam, and than may be excluded.
    wide = Decoding(beam_width=V + 3, no_repeat_ngram_size=2, max_words=4)
    captioner = plain.varied_captioner(seed=3)
    plain.check_search(captioner, annotations[:1], wide)
