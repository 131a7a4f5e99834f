"""The backward pass written by hand equals automatic differentiation."""

import functools

import numpy as np
import pytest

from show_attend_tell.layers import AttentionSampling, LSTMDecoder
from tests import reference
from tests.show_attend_tell.layers.checks import (
    BACKEND,
    arrays,
    assert_close,
    outputs_and_gradients,
)
from tests.show_attend_tell.layers.test_lstm_decoder import N, built, inputs_of

if BACKEND != "tensorflow":
    pytest.skip("the fused decoder is TensorFlow's", allow_module_level=True)

import tensorflow as tf  # noqa: E402

OUTPUTS = ("hidden", "context", "attention", "gate", "context_weights")


def sampling_of(mode, k, steps, locations):
    """Returns chosen captions' randomness: soft, sampled or Gumbel."""
    if mode == "soft":
        return None
    rng = np.random.default_rng(0)
    return AttentionSampling(
        tf.constant(rng.gumbel(size=(steps, N, k, locations)), tf.float32),
        tf.constant(np.arange(N * k).reshape(N, k) % 3 > 0, tf.float32),
        {"sampled": 0.0, "gumbel": 0.7}[mode],
    )


def assert_equal(fused, scan):
    (fused, fused_gradients), (scan, scan_gradients) = fused, scan
    assert_close(fused, scan)
    for name, gradient in scan_gradients.items():
        scale = np.max(np.abs(gradient))
        assert scale > 0, name
        actual, tolerance = fused_gradients[name], 1e-5 * scale
        np.testing.assert_allclose(
            actual, gradient, rtol=1e-4, atol=tolerance, err_msg=name
        )


# 12 and 14 are summed in parts; 17 and 23 have no divisor to do so by.
@pytest.mark.parametrize(
    ("mode", "gate", "k", "steps", "locations", "compiled"),
    [
        ("soft", "scalar", 1, 1, 5, False),
        ("soft", "scalar", 3, 4, 12, False),
        ("soft", "none", 1, 4, 17, False),
        ("soft", "vector", 3, 4, 14, False),
        ("sampled", "scalar", 3, 4, 12, False),
        ("sampled", "vector", 2, 1, 23, False),
        ("gumbel", "scalar", 3, 4, 5, True),
        ("gumbel", "none", 2, 3, 17, False),
    ],
)
def test_it_is_the_scan_of_the_cell(mode, gate, k, steps, locations, compiled):
    sampling = sampling_of(mode, k, steps, locations)
    inputs = inputs_of(k, steps, locations, units=6)
    results = []
    for fused in (True, False):
        layer = built(gate, units=6, attention_units=5, fused=fused)
        run = functools.partial(layer, sampling=sampling)
        if compiled and fused:
            run = tf.function(run, autograph=False)
        results.append(outputs_and_gradients(layer, inputs, run))
    assert_equal(*results)


@pytest.mark.parametrize("output", OUTPUTS)
def test_gradient_through_one_output(output):
    inputs = inputs_of(2, 3, 4)
    results = []
    for fused in (True, False):
        layer = built("vector", fused=fused)

        def run(layer=layer, **inputs):
            return getattr(layer(**inputs), output)

        results.append(outputs_and_gradients(layer, inputs, run))
    assert_close(*results, rtol=1e-4)


@pytest.mark.parametrize("query", [-100.0, -30.0, 0.0, 1.0, 30.0, 100.0])
def test_extreme_keys_and_queries(query):
    keys = np.array([-100.0, -30.0, -1.0, 0.0, 1.0, 30.0, 100.0])
    layer = LSTMDecoder(1, 1)
    layer.build((1, 1, 1, 1), (1, 1, 1), (1, 1, 1), (1, len(keys), 1))
    for weight in layer.weights:
        weight.assign(tf.ones(weight.shape))
    layer.cell.attention.bias.assign([query])
    layer.cell.attention.energy_kernel.assign([[3.0]])
    annotations = tf.constant(keys.reshape(1, -1, 1), tf.float32)
    zero = tf.zeros((1, 1, 1))
    with tf.GradientTape() as tape:
        tape.watch(annotations)
        decoded = layer(zero[None], zero, zero, annotations)
        first = decoded.attention[0, 0, 0, 0]
    expected = reference.softmax(3.0 * np.tanh(keys + query))
    np.testing.assert_allclose(
        decoded.attention[0, 0, 0], expected, rtol=1e-4, atol=1e-7
    )
    # d softmax_0 / d key_j, with tanh' = 1 - tanh^2.
    slope = 3.0 * (1 - np.tanh(keys + query) ** 2)
    is_first = np.eye(len(keys))[0]
    np.testing.assert_allclose(
        tape.gradient(first, annotations)[0, :, 0],
        expected[0] * (is_first - expected) * slope,
        rtol=1e-3,
        atol=1e-6,
    )
    assert all(np.all(np.isfinite(output)) for output in arrays(decoded))
