"""The fast decoder: the cell, called T times, and the paper."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from show_attend_tell.layers import LSTMDecoder
from show_attend_tell.layers import fused_decoder as recurrence
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_layer,
    check_oracle,
    fill,
    named_weights,
    random_array,
)
from tests.show_attend_tell.layers.test_lstm_decoder_cell import weights_of

N, D, U, A, E = 2, 3, 2, 2, 3
OUTPUTS = ("hidden", "context", "attention", "gate")


def make(gate):
    return lambda **kwargs: LSTMDecoder(U, A, gate, **kwargs)


def inputs_of(k, steps, locations):
    return {
        "embedding": random_array(N, k, steps, E),
        "hidden": random_array(N, k, U),
        "cell": random_array(N, k, U, seed=1),
        "annotations": random_array(N, locations, D),
    }


def built(gate, units=U, attention_units=A, **kwargs):
    layer = LSTMDecoder(units, attention_units, gate, **kwargs)
    hidden = (None, None, units)
    layer.build((None, None, None, E), hidden, hidden, (None, None, D))
    fill(layer)
    return layer


def step_by_step(layer, embedding, hidden, cell, annotations):
    """The same by the cell, which TensorFlow differentiates."""
    steps = []
    for t in range(embedding.shape[2]):
        step = layer.cell(embedding[:, :, t], hidden, cell, annotations)
        hidden, cell = step.hidden, step.cell
        steps.append([getattr(step, name) for name in OUTPUTS])
    return [tf.stack(parts, axis=2) for parts in zip(*steps, strict=True)]


def outputs_and_gradients(layer, inputs, run):
    tensors = {k: tf.constant(v) for k, v in inputs.items()}
    variables = [*tensors.values(), *(w.value for w in layer.weights)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = run(**tensors)[:4]
        total = sum(
            tf.reduce_sum(x * random_array(*x.shape, seed=i))
            for i, x in enumerate(outputs)
        )
    # Of the annotations both through the keys and through the context.
    gradients = tape.gradient(total, variables, unconnected_gradients="zero")
    return outputs, gradients


@pytest.mark.parametrize("gate", ["vector", "none"])
def test_decoder(gate):
    inputs = list(inputs_of(2, 3, 4).values())
    shapes = [(None, None, None, E), *((None, None, U),) * 2, (None, 4, D)]
    weights = {f"cell/{k}": v for k, v in weights_of(gate).items()}
    check_layer(make(gate), shapes, inputs, weights)


@pytest.mark.parametrize(
    ("gate", "k", "steps", "locations"),
    [("scalar", 2, 2, 4), ("vector", 1, 3, 3), ("none", 1, 2, 3)],
)
def test_decoder_is_the_papers(gate, k, steps, locations):
    def oracle(inputs, weights):
        captions = [
            reference.decode(
                inputs["embedding"][index],
                inputs["hidden"][index],
                inputs["cell"][index],
                inputs["annotations"][index[0]],
                reference.below(weights, "cell"),
            )
            for index in np.ndindex(N, k)
        ]
        return [
            np.reshape(
                [getattr(caption, name) for caption in captions],
                (N, k, steps, -1),
            )
            for name in OUTPUTS
        ]

    layer = built(gate)
    inputs = inputs_of(k, steps, locations)
    check_oracle(layer, inputs, oracle, lambda **inputs: layer(**inputs)[:4])
    decoded = layer(**inputs)
    assert_close(decoded.context_weights, decoded.attention)


# 12 and 14 are summed in parts; 17 and 23 have no divisor to do so by.
@pytest.mark.parametrize(
    ("gate", "k", "steps", "locations", "compiled"),
    [
        ("scalar", 1, 1, 5, False),
        ("scalar", 3, 4, 12, False),
        ("scalar", 3, 4, 12, True),
        ("scalar", 1, 4, 17, False),
        ("vector", 3, 4, 14, False),
        ("vector", 1, 1, 23, True),
        ("none", 3, 4, 5, False),
    ],
)
def test_decoder_is_the_cell_step_by_step(gate, k, steps, locations, compiled):
    layer = built(gate, units=6, attention_units=5)
    shape = (N, k, 6)
    inputs = inputs_of(k, steps, locations)
    inputs |= {
        "hidden": random_array(*shape),
        "cell": random_array(*shape, seed=1),
    }
    run = layer
    if compiled:
        run = tf.function(lambda **inputs: layer(**inputs), autograph=False)
    fast, fast_gradients = outputs_and_gradients(layer, inputs, run)
    slow, slow_gradients = outputs_and_gradients(
        layer, inputs, lambda **inputs: step_by_step(layer, **inputs)
    )
    assert_close(fast, slow)
    names = [*inputs, *named_weights(layer)]
    for name, one, other in zip(
        names, fast_gradients, slow_gradients, strict=True
    ):
        scale = np.max(np.abs(other))
        assert scale > 0, name
        np.testing.assert_allclose(
            one, other, rtol=1e-4, atol=1e-5 * scale, err_msg=name
        )


@pytest.mark.parametrize("used", OUTPUTS)
def test_gradient_through_one_output_alone(used):
    layer, inputs = built("vector"), inputs_of(2, 3, 4)
    _, fast = outputs_and_gradients(
        layer, inputs, lambda **inputs: [getattr(layer(**inputs), used)]
    )
    place = OUTPUTS.index(used)
    _, slow = outputs_and_gradients(
        layer, inputs, lambda **inputs: [step_by_step(layer, **inputs)[place]]
    )
    assert_close(fast, slow, rtol=1e-4)


def saturated(keys, query):
    """Runs one step with given keys (L,) and one given query, A = U = 1."""
    one = np.ones((1, 1), np.float32)
    weights = recurrence.Weights(
        query_kernel=one,
        query_bias=np.float32([query]),
        energy_kernel=3 * one,
        gate_kernel=one,
        gate_bias=np.zeros(1, np.float32),
        context_kernel=np.ones((1, 4), np.float32),
        hidden_kernel=np.ones((1, 4), np.float32),
    )
    state = np.zeros((1, 1, 1), np.float32)
    keys = tf.constant(np.reshape(keys, (1, -1, 1)), tf.float32)
    arguments = [
        tf.zeros((1, 1, 1, 4)),
        state,
        state,
        tf.ones_like(keys),
        keys,
        recurrence.Weights(*map(tf.constant, weights)),
    ]
    with tf.GradientTape() as tape:
        tape.watch(keys)
        run = recurrence.decoder_loop(*arguments)
        first = run.attention[0, 0, 0, 0]
    return run, tape.gradient(first, keys)


@pytest.mark.parametrize("query", [-100.0, -30.0, 0.0, 1.0, 30.0, 100.0])
def test_extreme_keys_and_queries(query):
    keys = np.array([-100.0, -30.0, -1.0, 0.0, 1.0, 30.0, 100.0])
    run, gradient = saturated(keys, query)
    expected = reference.softmax(3.0 * np.tanh(keys + query))
    np.testing.assert_allclose(
        run.attention[0, 0, 0], expected, rtol=1e-4, atol=1e-7
    )
    # d softmax_0 / d key_j, with tanh' = 1 - tanh^2.
    slope = 3.0 * (1 - np.tanh(keys + query) ** 2)
    here = np.eye(len(keys))[0]
    np.testing.assert_allclose(
        gradient[0, :, 0],
        expected[0] * (here - expected) * slope,
        rtol=1e-3,
        atol=1e-6,
    )
    for output in run:
        assert np.all(np.isfinite(output))


def test_recurrence_is_exact_in_mixed_precision():
    layer, inputs = built("scalar"), inputs_of(2, 3, 4)
    mixed = built("scalar", dtype="mixed_bfloat16")
    found, expected = mixed(**inputs), layer(**inputs)
    assert found.attention.dtype == "float32"
    np.testing.assert_allclose(np.sum(found.attention, -1), 1.0, rtol=1e-6)
    assert_close(found.attention, expected.attention)


def test_in_a_graph_of_unknown_batch_and_steps():
    layer, inputs = built("scalar"), inputs_of(2, 3, 4)
    signature = [
        tf.TensorSpec((None, 2, None, E)),
        tf.TensorSpec((None, 2, U)),
        tf.TensorSpec((None, 2, U)),
        tf.TensorSpec((None, 4, D)),
    ]

    @tf.function(input_signature=signature)
    def run(*inputs):
        with tf.GradientTape() as tape:
            outputs = layer(*inputs)
            total = ops.sum(outputs.hidden) + ops.sum(outputs.attention**2)
        weights = [w.value for w in layer.weights]
        return outputs, tape.gradient(
            total, weights, unconnected_gradients="zero"
        )

    for k, steps in ((2, 3), (2, 1)):
        inputs = inputs_of(k, steps, 4)
        outputs, gradients = run(*inputs.values())
        assert_close(outputs, layer(**inputs))
        assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 0, "attention_units": 1},
        {"units": 1, "attention_units": 0},
        {"units": 1, "attention_units": 1, "gate": "open"},
    ],
)
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="Received: "):
        LSTMDecoder(**arguments)
