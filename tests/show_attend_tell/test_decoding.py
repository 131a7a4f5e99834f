"""Greedy decoding against a plain loop."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.decoding import greedy
from tests import reference
from tests.show_attend_tell.layers.checks import assert_close, drawn, fill
from tests.show_attend_tell.test_model import D, L, V, made

N, MAX_WORDS = 7, 6
SILENT = [PADDING, START, UNKNOWN]


def annotations_of(n=N):
    return np.maximum(drawn(n, L, D, scale=3.0), 0)


def talkative(**arguments):
    """A captioner whose captions end early, late, and not at all."""
    captioner = made(seed=11, scale=1.5, **arguments)
    bias = np.asarray(captioner.output_layer.output_bias).copy()
    bias[SILENT] += 3.0  # What it would like best, but may not say.
    bias[END] += 1.0
    captioner.output_layer.output_bias.assign(bias)
    return captioner


@pytest.fixture(scope="module")
def captioner():
    return talkative()


@pytest.fixture(scope="module")
def captions(captioner):
    return greedy(captioner, annotations_of(), MAX_WORDS)


def plain_loop(captioner, annotations, max_words):
    """One image at a time: argmax in NumPy, stop at the end token."""
    state, annotations, keys = captioner.begin(annotations[None])
    token, said, log_probability = START, [], 0.0
    attention, gates = [], []
    while token != END:
        logits, state, alpha, gate = captioner.step(
            np.array([token]), state, annotations, keys
        )
        logits = np.asarray(logits, np.float64)[0]
        log_p = reference.log_softmax(logits)
        allowed = log_p.copy()
        allowed[SILENT] = -np.inf
        token = int(np.argmax(allowed))
        if len(said) == max_words and token != END:
            return said, False, log_probability, attention, gates
        said.append(token)
        log_probability += log_p[token]
        attention.append(np.asarray(alpha)[0])
        gates.append(np.mean(gate))
    return said, True, log_probability, attention, gates


@pytest.mark.parametrize("gate", ["scalar", "vector", "none"])
def test_greedy_is_a_plain_loop(gate):
    captioner = talkative(gate=gate)
    found = greedy(captioner, annotations_of(), MAX_WORDS)
    assert found.tokens.shape == (N, MAX_WORDS + 1)
    assert found.attention.shape == (N, MAX_WORDS + 1, L)
    for i, annotations in enumerate(annotations_of()):
        said, finished, log_probability, attention, gates = plain_loop(
            captioner, annotations, MAX_WORDS
        )
        steps, rest = len(said), MAX_WORDS + 1 - len(said)
        np.testing.assert_array_equal(found.tokens[i], said + [PADDING] * rest)
        assert bool(found.finished[i]) == finished
        assert int(found.lengths[i]) == steps - finished
        np.testing.assert_allclose(
            found.log_probability[i], log_probability, rtol=1e-5
        )
        assert_close(found.attention[i, :steps], np.array(attention))
        assert_close(found.gate[i, :steps], np.array(gates))
        assert not np.any(found.attention[i, steps:])
        assert not np.any(found.gate[i, steps:])


def test_the_example_has_all_kinds(captions):
    # Otherwise the other tests would prove little.
    lengths = np.asarray(captions.lengths)
    finished = np.asarray(captions.finished)
    assert not finished.all() and len(set(lengths[finished])) > 1


def test_what_is_never_said(captions):
    tokens = np.asarray(captions.tokens)
    assert not np.isin(tokens, [START, UNKNOWN]).any()
    for row, length, finished in zip(
        tokens, captions.lengths, captions.finished, strict=True
    ):
        length = int(length)
        assert not np.isin(row[:length], SILENT + [END]).any()
        if finished:
            assert row[length] == END
            length += 1
        assert (row[length:] == PADDING).all()
        assert length <= MAX_WORDS + 1


def test_a_caption_that_is_cut_has_max_words(captions):
    lengths = np.asarray(captions.lengths)
    assert (lengths[~np.asarray(captions.finished)] == MAX_WORDS).all()
    assert lengths.max() <= MAX_WORDS


def test_cutting_later_changes_no_word(captioner, captions):
    shorter = greedy(captioner, annotations_of(), 2)
    np.testing.assert_array_equal(shorter.tokens[:, :2], captions.tokens[:, :2])
    np.testing.assert_array_equal(
        shorter.finished, np.asarray(captions.lengths) <= 2
    )


def test_log_probability_is_that_of_teacher_forcing(captioner, captions):
    tokens = np.asarray(captions.tokens)
    start = np.full((N, 1), START, np.int32)
    given = np.concatenate([start, tokens], axis=1)[:, None]
    logits = captioner({"annotations": annotations_of(), "tokens": given})
    logits = np.asarray(logits["logits"][:, 0], np.float64)
    for i in range(N):
        expected = -reference.caption_nll(
            logits[i], tokens[i], tokens[i] != PADDING
        )
        np.testing.assert_allclose(
            captions.log_probability[i], expected, atol=1e-4
        )


def test_a_batch_is_as_many_batches_of_one(captioner, captions):
    for i in range(N):
        alone = greedy(captioner, annotations_of()[i : i + 1], MAX_WORDS)
        assert_close(alone, [x[i : i + 1] for x in captions])


def test_attention_is_a_distribution_up_to_the_end(captions):
    spoken = np.asarray(captions.tokens) != PADDING
    sums = np.sum(captions.attention, -1)
    np.testing.assert_allclose(sums, spoken.astype(float), rtol=1e-5)
    assert np.asarray(captions.attention).min() >= 0


def test_eager_graph_and_compiled_say_the_same(captioner, captions):
    for compiled in (False, True):
        function = tf.function(
            lambda annotations: greedy(captioner, annotations, MAX_WORDS),
            input_signature=[tf.TensorSpec((None, L, D))],
            jit_compile=compiled,
            autograph=False,
        )
        found = function(annotations_of())
        assert_close(found, captions)
        assert [x.dtype for x in found] == [x.dtype for x in captions]


def test_a_certain_end_stops_at_once(captioner):
    quiet = talkative()
    fill(quiet)
    bias = np.zeros(V, np.float32)
    bias[END] = 1e3
    quiet.output_layer.output_bias.assign(bias)
    found = greedy(quiet, annotations_of(2), MAX_WORDS)
    np.testing.assert_array_equal(
        found.tokens, [[END] + [PADDING] * MAX_WORDS] * 2
    )
    np.testing.assert_array_equal(found.lengths, [0, 0])
    np.testing.assert_allclose(found.log_probability, [0, 0], atol=1e-6)


def test_mixed_precision():
    mixed = talkative(dtype="mixed_bfloat16")
    found = greedy(mixed, annotations_of(), MAX_WORDS)
    assert found.attention.dtype == "float32"
    assert np.all(np.isfinite(found.log_probability))
