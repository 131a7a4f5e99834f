"""A captioner with a part of the encoder inside."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.model import Captioner
from tests.show_attend_tell.layers.checks import assert_close
from tests.show_attend_tell.test_model import SMALL, N, T, V, batch_of

GRID, INSIDE = (2, 3), 6  # Of L' = 6 features of size 6, two by three.
DEPTH = 5


def network(normalized=False):
    """A convolution of 1x1, so that a location sees itself alone."""
    features = keras.Input((6, INSIDE))
    found = keras.layers.Reshape((*GRID, INSIDE))(features)
    found = keras.layers.Conv2D(DEPTH, 1, name="conv")(found)
    if normalized:
        found = keras.layers.BatchNormalization(name="norm")(found)
    return keras.Model(features, keras.layers.ReLU()(found), name="encoder")


def uncompiled(captioner):
    """Takes steps that are compiled by nobody, which is faster for a few."""
    captioner.decoder.jit_compile = False
    captioner.apply_gradients = functools.partial(
        Captioner.apply_gradients.python_function, captioner
    )


def made(encoder=None, seed=3, **arguments):
    keras.utils.set_random_seed(seed)
    captioner = Captioner(**{**SMALL, **arguments}, encoder=encoder)
    uncompiled(captioner)
    depth = INSIDE if encoder else DEPTH
    captioner.build(
        {"annotations": (None, 6, depth), "tokens": (None, None, None)}
    )
    captioner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    return captioner


def batch(seed=0):
    features = np.random.default_rng(seed).normal(0, 1, (N, 6, INSIDE))
    return {**batch_of(seed=seed), "annotations": features.astype(np.float32)}


def annotations_of(captioner, features):
    """The encoder in NumPy."""
    conv = captioner.encoder.get_layer("conv")
    kernel, bias = (np.asarray(w, np.float64) for w in conv.weights)
    return np.maximum(features @ kernel[0, 0] + bias, 0).astype(np.float32)


def without(captioner):
    """The same captioner, given annotations."""
    plain = made(seed=4)
    mine = {v.path.partition("/")[2]: v for v in captioner.variables}
    for variable in plain.variables:
        variable.assign(mine[variable.path.partition("/")[2]])
    return plain


def state(captioner):
    variables = [*captioner.variables, *captioner.optimizer.variables]
    return [np.array(variable) for variable in variables]


def assert_same(one, other):
    for first, second in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(first, second)


def test_it_looks_at_what_the_encoder_gives():
    captioner, inputs = made(network()), batch()
    annotations = annotations_of(captioner, inputs["annotations"])
    plain = without(captioner)
    expected = plain({**inputs, "annotations": annotations})
    found = captioner(inputs)
    assert_close(found["logits"], expected["logits"])
    assert_close(found["attention"], expected["attention"])
    assert captioner.grid((1, 6)) == GRID and plain.grid((1, 6)) == (1, 6)
    begun = zip(
        tf.nest.flatten(captioner.begin(inputs["annotations"])),
        tf.nest.flatten(plain.begin(annotations)),
        strict=True,
    )
    for one, other in begun:
        assert_close(one, other)


def test_gradients_reach_the_encoder():
    captioner, inputs = made(network()), batch()

    def loss():
        return captioner.losses_of(inputs)[0]

    for weight in captioner.encoder.trainable_variables:
        with tf.GradientTape() as tape:
            value = loss()
        gradient = np.asarray(tape.gradient(value, weight.value))
        before = weight.numpy()
        for place in list(np.ndindex(before.shape))[::7]:
            both = []
            for way in (-1, 1):
                moved = before.copy()
                moved[place] += way * 5e-3
                weight.assign(moved)
                both.append(float(loss()))
            weight.assign(before)
            slope = (both[1] - both[0]) / 1e-2
            assert gradient[place] == pytest.approx(slope, rel=0.03, abs=3e-3)
        assert np.abs(gradient).max() > 0.05


def test_a_frozen_encoder_stays_and_then_learns_at_its_pace():
    learning_rate_multiplier, start = 0.1, 3
    captioner = made(
        network(),
        encoder_learning_rate_multiplier=learning_rate_multiplier,
        encoder_start=start,
    )
    plain = None
    kernel = captioner.encoder.get_layer("conv").kernel
    first = kernel.numpy()
    moments = [np.zeros_like(first, np.float64) for _ in range(2)]
    for step in range(start + 4):
        captioner.learn_encoder(step)
        inputs, before = batch(step), kernel.numpy()
        if step < start:
            # As if it were not there.
            annotations = annotations_of(captioner, inputs["annotations"])
            plain = plain or without(captioner)
            plain.train_on_batch({**inputs, "annotations": annotations})
            assert all(v is not kernel for v in captioner.learning_variables)
        with tf.GradientTape() as tape:
            loss = captioner.losses_of(inputs)[0]
        gradient = tape.gradient(loss, kernel.value)
        captioner.train_on_batch(inputs)
        if step < start:
            assert gradient is None
            np.testing.assert_array_equal(kernel, first)
            for one, other in zip(
                plain.trainable_variables,
                captioner.learning_variables,
                strict=True,
            ):
                assert_close(one, other, 1e-4, 1e-6)
            continue
        # Adam of the encoder alone, from its own first step on.
        gradient, t = np.asarray(gradient, np.float64), step + 1 - start
        for i, (decay, g) in enumerate(((0.9, gradient), (0.999, gradient**2))):
            moments[i] = decay * moments[i] + (1 - decay) * g
        mean, square = moments[0] / (1 - 0.9**t), moments[1] / (1 - 0.999**t)
        expected = (
            -0.01 * learning_rate_multiplier * mean / (np.sqrt(square) + 1e-7)
        )
        sure = np.abs(gradient) > 1e-4  # Elsewhere epsilon has its say.
        assert sure.mean() > 0.7
        np.testing.assert_allclose(
            (kernel.numpy() - before)[sure], expected[sure], rtol=5e-3
        )


@pytest.mark.parametrize(
    ("frozen", "dtype"), [(False, "mixed_float16"), (True, "float32")]
)
def test_a_file_goes_on_as_the_model_does(tmp_path, frozen, dtype):
    start = 3 if frozen else 0
    captioner = made(network(normalized=True), encoder_start=start, dtype=dtype)
    for step in range(2):
        captioner.learn_encoder(step)
        captioner.train_on_batch(batch(step))
    path = tmp_path / "captioner.keras"
    captioner.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    uncompiled(loaded)
    assert_same(loaded, captioner)
    assert loaded.arguments == captioner.arguments
    for step in range(2, 4):
        for one in (captioner, loaded):
            one.learn_encoder(step)
            one.train_on_batch(batch(step))
            assert one.encoder_learns == (step >= start)
    assert_same(loaded, captioner)
    assert int(loaded.optimizer.iterations) == 4
    assert_close(loaded(batch())["logits"], captioner(batch())["logits"], 0, 0)


def test_normalisation_learns_with_the_encoder_alone():
    captioner = made(network(normalized=True), encoder_start=1)
    mean = captioner.encoder.get_layer("norm").moving_mean
    captioner.train_on_batch(batch())
    np.testing.assert_array_equal(mean, np.zeros(DEPTH))
    captioner.learn_encoder(1)
    captioner.train_on_batch(batch())
    assert np.all(mean.numpy() != 0)
    before = mean.numpy()
    captioner.begin(batch()["annotations"])
    captioner.test_on_batch(batch())
    np.testing.assert_array_equal(mean, before)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(dtype):
    exact = made(network())
    inside = network()
    for layer in inside.layers:
        layer.dtype_policy = keras.dtype_policies.get(dtype)
    mixed = made(inside, dtype=dtype)
    mixed.set_weights(exact.get_weights())
    del mixed.apply_gradients  # Compiled, as in earnest.
    assert_close(mixed(batch())["logits"], exact(batch())["logits"], 0.05, 0.05)
    found, expected = (
        one.begin(batch()["annotations"])[1] for one in (mixed, exact)
    )
    assert found.dtype == "float32"
    assert_close(found, expected, 0.02, 0.02)
    before = mixed.get_weights()
    losses = [
        float(mixed.train_on_batch(batch(), return_dict=True)["loss"])
        for _ in range(4)
    ]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    for one, weight in zip(before, mixed.weights, strict=True):
        assert weight.dtype == "float32"
        assert np.isfinite(weight.numpy()).all() and np.any(weight != one)
    assert int(mixed.optimizer.iterations) == 4
    wrapped = isinstance(mixed.optimizer, keras.optimizers.LossScaleOptimizer)
    assert wrapped == (dtype == "mixed_float16")


def test_vocabulary_and_steps_are_as_ever():
    captioner, inputs = made(network()), batch()
    logits = captioner(inputs)["logits"]
    assert logits.shape == (N, 2, T, V)
    carried, annotations, keys = captioner.begin(inputs["annotations"])
    for t in range(T):
        step, carried, _, _ = captioner.step(
            inputs["tokens"][:, 0, t], carried, annotations, keys
        )
        assert_close(step, logits[:, 0, t])
