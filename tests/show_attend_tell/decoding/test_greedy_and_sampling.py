"""Greedy decoding and sampling against a plain loop and counted words."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.layers.checks import assert_close
from tests.show_attend_tell.test_model import L, V

N = 7
GREEDY = Decoding("greedy", max_words=6, min_words=0)
SAMPLE = Decoding("sample", max_words=4, min_words=0, num_captions=3)
SILENT = [PADDING, START, UNKNOWN]


def noise_of(n, decoding, seed=0):
    shape = (n, decoding.num_captions, decoding.steps, 2)
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.fixture(scope="module")
def captioner():
    return plain.varied_captioner()


@pytest.fixture(scope="module")
def captions(captioner):
    return decode(captioner, plain.annotations_of(N), GREEDY)


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
    annotations = plain.annotations_of(N)
    found = decode(captioner, annotations, decoding)
    assert found.tokens.shape == (N, 1, decoding.steps)
    assert found.attention.shape == (N, 1, decoding.steps, L)
    for i in range(N):
        oracle = plain.Oracle(captioner, annotations[i])
        expected = plain.greedy(oracle, decoding)
        plain.assert_captions(found, i, [expected], decoding, oracle)


def test_the_example_has_all_kinds(captions):
    # Otherwise the other tests would prove little.
    lengths = np.asarray(captions.lengths)
    finished = np.asarray(captions.finished)
    assert not finished.all() and len(set(lengths[finished])) > 1


def test_cutting_later_changes_no_word(captioner, captions):
    shorter = dataclasses.replace(GREEDY, max_words=2)
    shorter = decode(captioner, plain.annotations_of(N), shorter)
    np.testing.assert_array_equal(
        shorter.tokens[..., :2], captions.tokens[..., :2]
    )
    np.testing.assert_array_equal(
        shorter.finished,
        np.logical_and(captions.finished, np.asarray(captions.lengths) <= 2),
    )


def test_a_batch_is_as_many_batches_of_one(captioner, captions):
    annotations = plain.annotations_of(N)
    noise = noise_of(N, SAMPLE)
    drawn = decode(captioner, annotations, SAMPLE, noise)
    for i in range(N):
        one = annotations[i : i + 1]
        alone = decode(captioner, one, GREEDY)
        assert_close(alone, [x[i : i + 1] for x in captions])
        alone = decode(captioner, one, SAMPLE, noise[i : i + 1])
        assert_close(alone, [x[i : i + 1] for x in drawn])


def test_attention_is_a_distribution_up_to_the_end(captions):
    spoken = np.asarray(captions.tokens) != PADDING
    sums = np.sum(captions.attention, -1)
    np.testing.assert_allclose(sums, spoken.astype(float), rtol=1e-5)
    assert np.asarray(captions.attention).min() >= 0


@pytest.mark.parametrize("compiled", [False, True])
def test_a_graph_says_the_same(captioner, captions, compiled):
    noise = noise_of(N, SAMPLE)
    drawn = decode(captioner, plain.annotations_of(N), SAMPLE, noise)
    for decoding, expected in ((GREEDY, captions), (SAMPLE, drawn)):
        function = tf.function(
            lambda a, n, decoding=decoding: decode(captioner, a, decoding, n),
            jit_compile=compiled,
            autograph=False,
        )
        found = function(plain.annotations_of(N), noise)
        assert_close(found, expected)
        assert [x.dtype for x in found] == [x.dtype for x in expected]


def test_a_certain_end_stops_at_once():
    found = decode(plain.certain_of(END), plain.annotations_of(2), GREEDY)
    expected = [[[END] + [PADDING] * GREEDY.max_words]] * 2
    np.testing.assert_array_equal(found.tokens, expected)
    np.testing.assert_array_equal(found.lengths, [[0], [0]])
    np.testing.assert_allclose(found.log_probability, [[0], [0]], atol=1e-6)


def test_mixed_precision():
    mixed = plain.varied_captioner(dtype="mixed_bfloat16")
    found = decode(mixed, plain.annotations_of(N), GREEDY)
    assert found.attention.dtype == "float32"
    assert np.all(np.isfinite(found.log_probability))


def test_sampled_probability_is_that_of_teacher_forcing(captioner):
    annotations = plain.annotations_of(3)
    sharp = dataclasses.replace(SAMPLE, temperature=0.7, top_k=4, top_p=0.9)
    found = decode(captioner, annotations, sharp, noise_of(3, SAMPLE))
    for i, h in np.ndindex(3, SAMPLE.num_captions):
        words = tuple(w for w in np.asarray(found.tokens[i, h]) if w)
        oracle = plain.Oracle(captioner, annotations[i])
        log_probability = sum(
            oracle.predict(words[:t])[0][word] for t, word in enumerate(words)
        )
        said = plain.PlainCaption(words, log_probability)
        plain.assert_captions(
            # Samples keep their order: compare one at a time.
            type(found)(*(np.asarray(x)[:, h : h + 1] for x in found)),
            i,
            [said],
            sharp,
            oracle,
        )


def shares(oracle, decoding):
    """Returns the probability of each first word, worked out by sorting."""
    log_p, _ = oracle.predict(())
    scaled = np.full(V, -np.inf)
    words = plain.allowed((), decoding)
    scaled[words] = log_p[words] / decoding.temperature
    order = np.argsort(-scaled)
    if decoding.top_k:
        scaled[order[decoding.top_k :]] = -np.inf
    probability = np.exp(reference_softmax(scaled))
    total, kept = 0.0, np.zeros(V)
    for word in order:
        if total >= decoding.top_p:
            break
        kept[word] = probability[word]
        total += probability[word]
    return kept / kept.sum()


def reference_softmax(scaled):
    return scaled - np.log(np.exp(scaled[np.isfinite(scaled)]).sum())


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
def test_words_are_drawn_as_often_as_they_are_likely(captioner, changes):
    decoding = dataclasses.replace(
        SAMPLE, max_words=1, num_captions=4000, **{"min_words": 0, **changes}
    )
    annotations = plain.annotations_of(1)
    found = decode(captioner, annotations, decoding, noise_of(1, decoding))
    expected = shares(plain.Oracle(captioner, annotations[0]), decoding)
    first = np.asarray(found.tokens[0, :, 0])
    counted = np.bincount(first, minlength=V) / len(first)
    error = np.sqrt(expected * (1 - expected) / len(first))
    assert np.all(np.abs(counted - expected) <= 4 * error + 1e-12)
    assert np.count_nonzero(expected) > 1


def test_noise_at_its_ends_draws_what_may_be_said(captioner):
    narrow = dataclasses.replace(SAMPLE, top_p=0.5, no_repeat_ngram_size=1)
    for edge in (0.0, np.nextafter(np.float32(1), np.float32(0))):
        noise = np.full((N, 3, narrow.steps, 2), edge, np.float32)
        found = decode(captioner, plain.annotations_of(N), narrow, noise)
        assert not np.isin(found.tokens, [START, UNKNOWN]).any()
        assert np.all(np.asarray(found.log_probability) > -1e3)
        for row in np.asarray(found.tokens).reshape(-1, narrow.steps):
            words = row[row > END]
            assert len(set(words)) == len(words)


def test_sampling_without_noise_is_refused(captioner):
    with pytest.raises(ValueError, match="noise"):
        decode(captioner, plain.annotations_of(1), SAMPLE)


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
