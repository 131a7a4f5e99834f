"""Greedy decoding and sampling against a plain loop and counted words."""

import dataclasses

import numpy as np
import pytest

from pipelines.errors import UserError
from pipelines.vocabulary import END, START, UNKNOWN
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.tiny import V

N = 7
GREEDY = Decoding("greedy", max_words=6, min_words=0)
SAMPLE = Decoding("sample", max_words=4, min_words=0, num_captions=3)


@pytest.fixture(scope="module")
def captioner():
    return plain.varied_captioner()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"min_words": 4, "allow_unknown": True},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2, "max_words": 9},
    ],
    ids=str,
)
def test_greedy_is_a_plain_loop(captioner, changes):
    decoding = dataclasses.replace(GREEDY, **changes)
    plain.check_search(captioner, plain.annotations_of(N), decoding)


def test_cutting_later_changes_no_word(captioner):
    annotations = plain.annotations_of(N)
    captions = decode(captioner, annotations, GREEDY)
    shorter = dataclasses.replace(GREEDY, max_words=2)
    shorter = decode(captioner, annotations, shorter)
    np.testing.assert_array_equal(
        shorter.tokens[..., :2], captions.tokens[..., :2]
    )
    is_short = np.asarray(captions.lengths) <= 2
    np.testing.assert_array_equal(
        shorter.finished, np.logical_and(captions.finished, is_short)
    )


def test_sampled_probability_is_that_of_teacher_forcing(captioner):
    annotations = plain.annotations_of(3)
    sharp = dataclasses.replace(SAMPLE, temperature=0.7, top_k=4, top_p=0.9)
    captions = decode(captioner, annotations, sharp, plain.noise_of(3, sharp))
    for i in range(3):
        oracle = plain.Oracle(captioner, annotations[i])
        expected = [
            oracle.caption(tuple(row[row > 0]))
            for row in np.asarray(captions.tokens[i])
        ]
        plain.assert_captions(captions, i, expected, sharp, oracle)


def probabilities(oracle, decoding):
    """Returns the probability of each first word, worked out by sorting."""
    log_p, _ = oracle.predict(())
    scaled = np.full(V, -np.inf)
    words = plain.allowed((), decoding)
    scaled[words] = log_p[words] / decoding.temperature
    order = np.argsort(-scaled)
    if decoding.top_k:
        scaled[order[decoding.top_k :]] = -np.inf
    probability = np.exp(scaled) / np.exp(scaled).sum()
    total, kept = 0.0, np.zeros(V)
    for word in order:
        if total >= decoding.top_p:
            break
        kept[word] = probability[word]
        total += probability[word]
    return kept / kept.sum()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"top_k": 3},
        {"top_p": 0.95},
        {"top_k": 5, "top_p": 0.8, "temperature": 1.5, "min_words": 1},
    ],
    ids=str,
)
def test_words_are_sampled_as_often_as_they_are_likely(captioner, changes):
    decoding = dataclasses.replace(
        SAMPLE, max_words=1, num_captions=4000, **{"min_words": 0, **changes}
    )
    annotations = plain.annotations_of(1)
    noise = plain.noise_of(1, decoding)
    captions = decode(captioner, annotations, decoding, noise)
    expected = probabilities(plain.Oracle(captioner, annotations[0]), decoding)
    first = np.asarray(captions.tokens[0, :, 0])
    counted = np.bincount(first, minlength=V) / len(first)
    error = np.sqrt(expected * (1 - expected) / len(first))
    assert np.all(np.abs(counted - expected) <= 4 * error + 1e-12)
    assert np.count_nonzero(expected) > 1


def test_noise_at_its_ends_samples_allowed_words(captioner):
    narrow = dataclasses.replace(SAMPLE, top_p=0.5, no_repeat_ngram_size=1)
    for edge in (0.0, np.nextafter(np.float32(1), np.float32(0))):
        noise = np.full((N, 3, narrow.steps, 2), edge, np.float32)
        captions = decode(captioner, plain.annotations_of(N), narrow, noise)
        assert not np.isin(captions.tokens, [START, UNKNOWN]).any()
        assert np.all(np.asarray(captions.log_probability) > -1e3)
        for row in np.asarray(captions.tokens).reshape(-1, narrow.steps):
            words = row[row > END]
            assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "viterbi"},
        {"beam_width": 0},
        {"num_captions": 6},
        {"method": "greedy", "num_captions": 2},
        {"length_penalty": -0.1},
        {"length_penalty": float("nan")},
        {"min_words": 31},
        {"max_words": 0},
        {"no_repeat_ngram_size": -1},
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"seed": -1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong):
    name = list(wrong)[-1]
    with pytest.raises(UserError, match=f"--{name}.*Received: {name}="):
        Decoding(**wrong)
