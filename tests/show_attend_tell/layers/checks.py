"""What every layer must do, checked in one way."""

import json

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tests import reference

# Of bfloat16, which has eight bits, after a few sums.
_BFLOAT16 = {"rtol": 0.05, "atol": 0.05}


def random_array(*shape, seed=0, scale=1.0):
    """Normal numbers, float32, the same at every call."""
    draws = np.random.default_rng([seed, *shape]).normal(0.0, scale, shape)
    return draws.astype(np.float32)


def fill(layer, seed=0, scale=0.5):
    """Gives every weight, biases too, numbers that are not zero."""
    for number, weight in enumerate(layer.weights):
        if weight.dtype == "float32":
            weight.assign(
                random_array(*weight.shape, seed=seed + number, scale=scale)
            )


def named_weights(layer):
    """Returns weights by their path below the layer."""
    return {w.path.partition("/")[2]: w for w in layer.weights}


def arrays(values):
    return [np.asarray(x, np.float64) for x in tree.flatten(values)]


def assert_close(found, expected, rtol=1e-5, atol=1e-5):
    found, expected = arrays(found), arrays(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def check_oracle(layer, inputs, oracle, call=None):
    """Compares outputs, and all gradients, with the NumPy oracle.

    The gradient is that of a fixed random sum of all outputs, with respect
    to every float input and every weight; the oracle's is by differences.

    Args:
        layer: A layer with weights.
        inputs: Name to array; float ones are differentiated.
        oracle: Takes inputs and weights, two dictionaries in float64, and
            returns what the layer returns.
        call: What to call with the inputs, by default the layer.
    """
    call = call or layer
    weights = named_weights(layer)
    floats = {k: v for k, v in inputs.items() if v.dtype == np.float32}
    tensors = {k: tf.constant(v) for k, v in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch([tensors[k] for k in floats])
        outputs = tree.flatten(call(**tensors))
        sides = [
            random_array(*x.shape, seed=99 + i) for i, x in enumerate(outputs)
        ]
        total = sum(
            tf.reduce_sum(tf.cast(x, tf.float32) * side)
            for x, side in zip(outputs, sides, strict=True)
        )
    variables = {
        **{k: tensors[k] for k in floats},
        **{f"weights/{k}": w.value for k, w in weights.items()},
    }
    found = tape.gradient(total, variables)

    def expected(values):
        own = {k: values.get(k, v) for k, v in inputs.items()}
        return arrays(oracle(own, reference.below(values, "weights")))

    def projected(values):
        return sum(
            np.sum(x * side)
            for x, side in zip(expected(values), sides, strict=True)
        )

    values = {k: np.asarray(v, np.float64) for k, v in variables.items()}
    assert_close(outputs, expected(values))
    gradients = reference.numeric_gradient(projected, values)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            tf.zeros_like(variables[name])
            if found[name] is None
            else found[name],
            gradient,
            rtol=1e-3,
            atol=1e-4,
            err_msg=name,
        )


def check_layer(make, shapes, inputs, weights):
    """Checks what has nothing to do with the layer's mathematics.

    Args:
        make: Takes keywords of `keras.layers.Layer` and returns the layer.
        shapes: The arguments of `build`, or `None` for a layer without.
        inputs: Arrays to call the layer with.
        weights: The names and shapes that its weights must have.
    """
    layer = make(name="checked")
    if shapes is not None:
        layer.build(*shapes)
    assert {k: tuple(w.shape) for k, w in named_weights(layer).items()} == (
        weights
    )
    fill(layer)
    outputs = layer(*inputs)
    assert len(layer.weights) == len(weights)
    _check_round_trip(layer, inputs, outputs)
    _check_compiled(layer, inputs, outputs)
    _check_mixed_precision(make, layer, inputs, outputs)


def _check_round_trip(layer, inputs, outputs):
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is type(layer)
    assert again.get_config() == config
    if layer.weights:
        assert [tuple(w.shape) for w in again.weights] == [
            tuple(w.shape) for w in layer.weights
        ], "deserialized without its weights"
    _copy_weights(layer, again)
    assert_close(again(*inputs), outputs, rtol=0, atol=0)


def _copy_weights(source, target):
    target.set_weights(source.get_weights())


def _check_compiled(layer, inputs, outputs):
    for compiled in (False, True):
        function = tf.function(layer, jit_compile=compiled)
        assert_close(function(*map(tf.constant, inputs)), outputs)


def _check_mixed_precision(make, layer, inputs, outputs):
    mixed = make(dtype="mixed_bfloat16")
    mixed(*inputs)
    policies = {one.dtype_policy.name for one in mixed._flatten_layers()}
    assert policies <= {"mixed_bfloat16", "float32"}
    assert all(weight.dtype == "float32" for weight in mixed.weights)
    _copy_weights(layer, mixed)
    assert_close(mixed(*inputs), outputs, **_BFLOAT16)
    # The whole program may be in mixed precision, too.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = make()
        mixed(*inputs)
        _copy_weights(layer, mixed)
        assert_close(mixed(*inputs), outputs, **_BFLOAT16)
        # What is made in float32 stays so whatever the program's policy.
        exact = make(dtype="float32")
        exact(*inputs)
        _copy_weights(layer, exact)
        assert_close(exact(*inputs), outputs)
    finally:
        keras.config.set_dtype_policy("float32")
