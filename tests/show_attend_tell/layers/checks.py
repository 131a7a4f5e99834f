"""The checks that every layer passes, on every backend of Keras.

`check_layer` is what `run_layer_test` is in Keras; `check_oracle` compares a
layer with the paper, written in NumPy.
"""

import json

import keras
import numpy as np
from keras import ops, tree

from tests import reference

BACKEND = keras.backend.backend()
# Of bfloat16, which has eight bits, after a few sums.
_BFLOAT16 = {"rtol": 0.05, "atol": 0.05}


def random_array(*shape, seed=0, scale=1.0):
    """Normal numbers, float32, the same at every call."""
    normal = np.random.default_rng([seed, *shape]).normal(0.0, scale, shape)
    return normal.astype(np.float32)


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
    flat = tree.flatten(values)
    return [ops.convert_to_numpy(x).astype(np.float64) for x in flat]


def assert_close(actual, expected, rtol=1e-5, atol=1e-5):
    actual, expected = arrays(actual), arrays(expected)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def random_sum(outputs):
    """Returns a fixed random sum of all outputs, a scalar."""
    total = 0.0
    for i, x in enumerate(tree.flatten(outputs)):
        side = ops.convert_to_tensor(random_array(*x.shape, seed=99 + i))
        total = total + ops.sum(ops.cast(x, "float32") * side)
    return total


def outputs_and_gradients(layer, inputs, call=None):
    """Returns outputs, and the gradients of their `random_sum` by name.

    They are of float inputs and of weights, and zero where none flows. `call`
    takes the inputs in place of the layer.
    """
    call = call or layer
    inputs = {k: ops.convert_to_tensor(v) for k, v in inputs.items()}
    floats = {
        k: v
        for k, v in inputs.items()
        if "float" in keras.backend.standardize_dtype(v.dtype)
    }

    def loss(floats):
        outputs = call(**{**inputs, **floats})
        return random_sum(outputs), outputs

    weights = {f"weights/{k}": v for k, v in named_weights(layer).items()}
    return _GRADIENTS[BACKEND](loss, floats, weights)


def _tensorflow_gradients(loss, floats, weights):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(floats)
        total, outputs = loss(floats)
    sources = {**floats, **{k: w.value for k, w in weights.items()}}
    return outputs, tape.gradient(total, sources, unconnected_gradients="zero")


def _jax_gradients(loss, floats, weights):
    import jax

    def stateless(floats, values):
        mapping = [(weights[k], values[k]) for k in weights]
        with keras.StatelessScope(state_mapping=mapping):
            return loss(floats)

    values = {k: w.value for k, w in weights.items()}
    differentiated = jax.grad(stateless, argnums=(0, 1), has_aux=True)
    (of_floats, of_weights), outputs = differentiated(floats, values)
    return outputs, {**of_floats, **of_weights}


def _torch_gradients(loss, floats, weights):
    import torch

    floats = {k: v.detach().requires_grad_() for k, v in floats.items()}
    total, outputs = loss(floats)
    sources = {**floats, **{k: w.value for k, w in weights.items()}}
    gradients = torch.autograd.grad(
        total, list(sources.values()), allow_unused=True, materialize_grads=True
    )
    return outputs, dict(zip(sources, gradients, strict=True))


_GRADIENTS = {
    "tensorflow": _tensorflow_gradients,
    "jax": _jax_gradients,
    "torch": _torch_gradients,
}


def check_oracle(layer, inputs, oracle, call=None):
    """Compares outputs, and gradients by differences, with the NumPy oracle.

    It takes inputs and weights, two dictionaries in float64, and returns what
    the layer returns.
    """
    outputs, gradients = outputs_and_gradients(layer, inputs, call)
    weights = named_weights(layer)
    values = {k: inputs.get(k) for k in gradients if k in inputs}
    values |= {
        f"weights/{k}": ops.convert_to_numpy(w) for k, w in weights.items()
    }

    def expected(values):
        given = {k: values.get(k, v) for k, v in inputs.items()}
        return arrays(oracle(given, reference.below(values, "weights")))

    def total(values):
        return sum(
            np.sum(x * random_array(*x.shape, seed=99 + i))
            for i, x in enumerate(expected(values))
        )

    values = {k: np.asarray(v, np.float64) for k, v in values.items()}
    assert_close(outputs, expected(values))
    for name, gradient in reference.numeric_gradient(total, values).items():
        np.testing.assert_allclose(
            ops.convert_to_numpy(gradients[name]),
            gradient,
            rtol=1e-3,
            atol=1e-4,
            err_msg=name,
        )


def check_layer(make, inputs, weights):
    """Checks the weights' names and shapes, files, graphs and precision.

    `make` takes keywords of `keras.layers.Layer` and returns the layer.
    """
    layer = make(name="checked")
    symbolic = layer(*(keras.KerasTensor(x.shape, x.dtype) for x in inputs))
    shapes = {k: tuple(w.shape) for k, w in named_weights(layer).items()}
    assert shapes == weights
    fill(layer)
    outputs = layer(*inputs)
    assert len(layer.weights) == len(weights)
    assert type(symbolic) is type(outputs) or not isinstance(symbolic, tuple)
    assert [tuple(x.shape) for x in tree.flatten(symbolic)] == [
        tuple(x.shape) for x in tree.flatten(outputs)
    ]
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
    assert [tuple(w.shape) for w in again.weights] == [
        tuple(w.shape) for w in layer.weights
    ], "deserialized without its weights"
    again.set_weights(layer.get_weights())
    assert_close(again(*inputs), outputs, rtol=0, atol=0)


def _check_compiled(layer, inputs, outputs):
    inputs = list(map(ops.convert_to_tensor, inputs))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        assert_close(tf.function(layer)(*inputs), outputs)
        assert_close(tf.function(layer, jit_compile=True)(*inputs), outputs)
    elif BACKEND == "jax":
        import jax

        assert_close(jax.jit(lambda *x: layer(*x))(*inputs), outputs)


def _check_mixed_precision(make, layer, inputs, outputs):
    def check(made, **tolerance):
        made(*inputs)
        assert all(weight.dtype == "float32" for weight in made.weights)
        made.set_weights(layer.get_weights())
        assert_close(made(*inputs), outputs, **tolerance)

    mixed = make(dtype="mixed_bfloat16")
    check(mixed, **_BFLOAT16)
    policies = {one.dtype_policy.name for one in mixed._flatten_layers()}
    assert policies <= {"mixed_bfloat16", "float32"}
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        check(make(), **_BFLOAT16)
        # What is made in float32 stays so whatever the program's policy.
        check(make(dtype="float32"))
    finally:
        keras.config.set_dtype_policy("float32")


def check_mask(layer, inputs):
    """Compares a mask of the last two locations with shorter annotations."""
    n, locations, _ = inputs["annotations"].shape
    kept = locations - 2
    shorter = {**inputs, "annotations": inputs["annotations"][:, :kept]}
    mask = np.broadcast_to(np.arange(locations) < kept, (n, locations))
    outputs, gradients = outputs_and_gradients(
        layer, inputs, lambda **inputs: layer(**inputs, mask=mask)
    )
    for masked, expected in zip(
        arrays(outputs), arrays(layer(**shorter)), strict=True
    ):
        if masked.shape != expected.shape:  # Attention, or weights by it.
            assert not np.any(masked[..., kept:])
            masked = masked[..., :kept]
        np.testing.assert_allclose(masked, expected, rtol=1e-5, atol=1e-6)
    assert not np.any(arrays(gradients["annotations"])[0][:, kept:])
