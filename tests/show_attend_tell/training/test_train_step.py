"""Steps of training: weights, metrics, randomness, checkpoints."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.model import Captioner
from show_attend_tell.objectives import HardAttention, Likelihood
from show_attend_tell.training.train_step import (
    CaptionerTrainer,
    apply_gradients,
)
from tests.show_attend_tell import tiny
from tests.show_attend_tell.layers.checks import assert_close
from tests.show_attend_tell.tiny import (
    SMALL,
    D,
    K,
    L,
    N,
    T,
    V,
    batch_of,
    make_captioner,
    make_trainer,
)

GRID, INSIDE, DEPTH = (2, 3), 6, 5  # An encoder from (6, 6) to (2, 3, 5).


def make_encoder(normalized=False, dtype=None):
    """A convolution of 1x1, so that a location depends on itself alone."""
    keras.utils.set_random_seed(3)
    features = keras.Input((6, INSIDE))
    outputs = keras.layers.Reshape((*GRID, INSIDE))(features)
    outputs = keras.layers.Conv2D(DEPTH, 1, name="conv", dtype=dtype)(outputs)
    if normalized:
        outputs = keras.layers.BatchNormalization(name="norm")(outputs)
    outputs = keras.layers.ReLU(dtype=dtype)(outputs)
    return keras.Model(features, outputs, name="encoder")


def make_finetuned(encoder=None, start=0, multiplier=1.0, dtype=None):
    """Returns an eager trainer whose encoder keeps its weights."""
    encoder = encoder or make_encoder()
    weights = encoder.get_weights()
    captioner = make_captioner(
        encoder=encoder,
        dtype=dtype,
        shapes={"annotations": (None, 6, INSIDE), "tokens": (None, None, None)},
    )
    encoder.set_weights(weights)
    return make_trainer(
        captioner,
        optimizer=keras.optimizers.Adam(0.01),
        eager=True,
        encoder_start=start,
        encoder_learning_rate_multiplier=multiplier,
    )


def features_of(seed=0):
    features = np.random.default_rng(seed).normal(0, 1, (N, 6, INSIDE))
    return {**batch_of(seed=seed), "annotations": features.astype(np.float32)}


def encoded(captioner, features):
    """The encoder in NumPy."""
    kernel, bias = captioner.encoder.get_layer("conv").get_weights()
    return np.maximum(features.astype(np.float64) @ kernel[0, 0] + bias, 0)


def test_training_lowers_the_loss_and_testing_changes_nothing():
    batches = [batch_of(steps=3), batch_of(seed=1, steps=6)]
    trainer = make_trainer(make_captioner(scale=0.2))
    captioner, objective = trainer.captioner, trainer.objective
    losses = [objective.compute_losses(captioner, b) for b in batches]
    loss, nll, words = np.array(losses, np.float64).T
    before = captioner.get_weights()
    for batch in batches:
        tested = trainer.test_step(batch)
    # A mean over batches, and one over words, however long the batch.
    np.testing.assert_allclose(tested["loss"], np.mean(loss), rtol=1e-5)
    np.testing.assert_allclose(
        tested["nll_per_word"], nll.sum() / words.sum(), rtol=1e-5
    )
    tiny.assert_equal(before, captioner.get_weights())
    trainer.reset_metrics()
    history = [
        trainer.train_on_batch(batches[0], return_dict=True)["loss"]
        for _ in range(25)
    ]
    np.testing.assert_allclose(history[0], loss[0], rtol=1e-5)
    assert objective.compute_losses(captioner, batches[0])[0] < 0.7 * loss[0]
    for one, other in zip(before, captioner.get_weights(), strict=True):
        assert np.any(one != other)


# As Keras compiles by default, one shape; and batches of several lengths and
# counts of images, as training has them.
@pytest.mark.parametrize(
    ("jit_compile", "shapes"),
    [
        ("auto", [(2, 2)] * 2),
        pytest.param(False, [(2, 2), (2, 4), (1, 2)], marks=pytest.mark.proof),
    ],
)
def test_fit_and_evaluate(jit_compile, shapes):
    batches = [
        batch_of(n=n, steps=steps, seed=seed)
        for seed, (n, steps) in enumerate(shapes)
    ]
    spec = {
        "annotations": tf.TensorSpec((None, L, D), tf.float32),
        "tokens": tf.TensorSpec((None, K, None), tf.int32),
    }
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=spec
    )
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(len(shapes))
    )
    captioner = Captioner(dataclasses.replace(SMALL, dropout=0.1), V)
    captioner.decoder.jit_compile = bool(jit_compile)
    trainer = CaptionerTrainer(captioner, Likelihood())
    trainer.compile(keras.optimizers.Adam(0.02), jit_compile=jit_compile)
    history = trainer.fit(dataset, epochs=6, shuffle=False, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    weights = captioner.get_weights()
    result = trainer.evaluate(dataset, verbose=0, return_dict=True)
    assert set(result) == {"loss", "nll_per_word"}
    tiny.assert_equal(weights, captioner.get_weights())


@pytest.mark.parametrize("objective", [Likelihood, HardAttention])
def test_randomness_follows_from_seed_and_step(objective):
    objective = objective(scheduled_sampling=0.5)
    trainer = make_trainer(make_captioner(dropout=0.3), objective, eager=True)
    batch = batch_of(n=3)

    def losses(step, count):
        trainer.set_random_state(0, step, first=10)
        return [
            float(
                objective.compute_losses(
                    trainer.captioner,
                    objective.prepare(trainer.captioner, batch, step),
                    training=True,
                ).nll
            )
            for _ in range(count)
        ]

    complete = losses(10, 4)
    assert len(set(complete)) == 4
    assert losses(12, 2) == complete[2:]


def make_averaged():
    optimizer = keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.5)
    return make_trainer(optimizer=optimizer, eager=True)


CHECKPOINTS = {
    "average": (make_averaged, batch_of),
    "hard": (
        lambda: make_trainer(
            make_captioner(dropout=0.3),
            HardAttention(scheduled_sampling=0.5, baseline_decay=0.8),
            eager=True,
        ),
        batch_of,
    ),
    "frozen encoder": (
        lambda: make_finetuned(make_encoder(normalized=True), start=3),
        features_of,
    ),
    "float16": (
        lambda: make_finetuned(
            make_encoder(normalized=True), dtype="mixed_float16"
        ),
        features_of,
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_goes_on_as_the_trainer_does(tmp_path, name):
    make, batch = CHECKPOINTS[name]

    def train(trainer, steps):
        for step in steps:
            trainer.set_random_state(1, step)
            trainer.update_encoder()
            trainer.train_on_batch(batch(seed=step))

    trainer, path = make(), tmp_path / "last.keras"
    train(trainer, range(2))
    trainer.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    tiny.without_xla(loaded)
    assert loaded.captioner.config == trainer.captioner.config
    assert loaded.objective.get_config() == trainer.objective.get_config()
    assert loaded.encoder_start == trainer.encoder_start
    tiny.assert_equal(tiny.arrays_of(loaded), tiny.arrays_of(trainer))
    for one in (trainer, loaded):
        train(one, range(2, 4))
    tiny.assert_equal(tiny.arrays_of(loaded), tiny.arrays_of(trainer))
    assert loaded.steps_taken() == 4


def test_averaged_weights_are_lent():
    trainer, batch = make_averaged(), batch_of(steps=2)
    captioner, average, steps = trainer.captioner, None, []
    with trainer.averaged_weights():  # There are none yet.
        assert all(np.any(weight) for weight in captioner.get_weights())
    for _ in range(3):
        trainer.train_on_batch(batch)
        weights = captioner.get_weights()
        average = average or weights
        average = [
            0.5 * a + 0.5 * w for a, w in zip(average, weights, strict=True)
        ]
        steps.append(weights)
    before = tiny.arrays_of(trainer)
    with pytest.raises(KeyboardInterrupt), trainer.averaged_weights():
        assert_close(captioner.get_weights(), average, 1e-5, 1e-6)
        raise KeyboardInterrupt
    tiny.assert_equal(before, tiny.arrays_of(trainer))


def test_it_attends_to_what_the_encoder_returns():
    captioner, inputs = make_finetuned().captioner, features_of()
    annotations = encoded(captioner, inputs["annotations"])
    logits, attention = tiny.oracle(
        captioner, {**inputs, "annotations": annotations}
    )
    outputs = captioner(inputs)
    assert outputs["logits"].shape == (N, K, T, V)
    assert_close(outputs["logits"], logits)
    assert_close(outputs["attention"], attention)
    assert captioner.grid((1, 6)) == GRID
    carried, annotations, keys = captioner.begin(inputs["annotations"])
    for t in range(T):
        step, carried, _, _ = captioner.step(
            inputs["tokens"][:, 0, t], carried, annotations, keys
        )
        assert_close(step, logits[:, 0, t])


def test_gradients_reach_the_encoder():
    trainer, inputs = make_finetuned(), features_of()
    captioner = trainer.captioner

    def loss():
        return trainer.objective.compute_losses(captioner, inputs).loss

    for weight in captioner.encoder.trainable_variables:
        with tf.GradientTape() as tape:
            value = loss()
        gradient = np.asarray(tape.gradient(value, weight.value))
        before = weight.numpy()
        for index in list(np.ndindex(before.shape))[::7]:
            both = []
            for sign in (-1, 1):
                moved = before.copy()
                moved[index] += sign * 5e-3
                weight.assign(moved)
                both.append(float(loss()))
            weight.assign(before)
            slope = (both[1] - both[0]) / 1e-2
            assert gradient[index] == pytest.approx(slope, rel=0.03, abs=3e-3)
        assert np.abs(gradient).max() > 0.05


class Adam:
    """Kingma and Ba 2015, algorithm 1, of one weight."""

    def __init__(self, rate):
        self.rate, self.m, self.v, self.t = rate, 0.0, 0.0, 0

    def step(self, g):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return -self.rate * m / (np.sqrt(v) + 1e-12)


class RMSprop:
    def __init__(self, rate):
        self.rate, self.v = rate, 0.0

    def step(self, g):
        self.v = 0.9 * self.v + 0.1 * g**2
        return -self.rate * g / np.sqrt(self.v + 1e-12)


def test_a_frozen_encoder_stays_and_then_learns_at_its_rate():
    multiplier, start = 0.1, 3
    trainer = make_finetuned(multiplier=multiplier, start=start)
    captioner = trainer.captioner
    kernel = captioner.encoder.get_layer("conv").kernel
    first, adam = kernel.numpy(), Adam(0.01 * multiplier)
    for step in range(start + 4):
        trainer.update_encoder()
        inputs, before = features_of(step), kernel.numpy()
        with tf.GradientTape() as tape:
            loss = trainer.objective.compute_losses(captioner, inputs).loss
        gradient = tape.gradient(loss, kernel.value)
        trainer.train_on_batch(inputs)
        if step < start:
            assert gradient is None
            assert all(v is not kernel for v in trainer.learning_variables)
            np.testing.assert_array_equal(kernel, first)
            continue
        # Adam of the encoder, from its first step on.
        gradient = np.asarray(gradient, np.float64)
        expected = adam.step(gradient)
        sure = np.abs(gradient) > 1e-4  # Elsewhere epsilon counts.
        assert sure.mean() > 0.7
        np.testing.assert_allclose(
            (kernel.numpy() - before)[sure], expected[sure], rtol=5e-3
        )


def test_normalization_learns_only_with_the_encoder():
    trainer = make_finetuned(make_encoder(normalized=True), start=1)
    mean = trainer.captioner.encoder.get_layer("norm").moving_mean
    before = mean.numpy()
    trainer.train_on_batch(features_of())
    np.testing.assert_array_equal(mean, before)
    trainer.update_encoder()
    trainer.train_on_batch(features_of())
    assert np.all(mean.numpy() != before)
    before = mean.numpy()
    trainer.captioner.begin(features_of()["annotations"])
    trainer.test_on_batch(features_of())
    np.testing.assert_array_equal(mean, before)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(dtype):
    exact = make_finetuned().captioner
    trainer = make_finetuned(make_encoder(dtype=dtype), dtype=dtype)
    mixed = trainer.captioner
    del trainer.apply_gradients  # Compiled, as in earnest.
    batch = features_of()
    assert_close(mixed(batch)["logits"], exact(batch)["logits"], 0.05, 0.05)
    annotations, expected = (
        one.begin(batch["annotations"])[1] for one in (mixed, exact)
    )
    assert annotations.dtype == "float32"
    assert_close(annotations, expected, 0.02, 0.02)
    before = mixed.get_weights()
    losses = [
        float(trainer.train_on_batch(batch, return_dict=True)["loss"])
        for _ in range(4)
    ]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    for one, weight in zip(before, mixed.weights, strict=True):
        assert weight.dtype == "float32"
        assert np.isfinite(weight.numpy()).all() and np.any(weight != one)
    assert trainer.steps_taken() == 4
    scaled = isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (dtype == "mixed_float16")


RATE, MULTIPLIER, START, STEPS = 0.1, 0.03, 4, 12


def gradients_of(step):
    rng = np.random.default_rng(step)
    return [rng.normal(0, 10.0**k, (3,)).astype(np.float32) for k in (0, -3)]


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [(keras.optimizers.Adam, Adam), (keras.optimizers.RMSprop, RMSprop)],
)
def test_slow_weights_have_an_optimizer_of_their_rate(optimizer, oracle):
    fast, slow = (keras.Variable(np.ones(3, np.float32)) for _ in range(2))
    optimizer = optimizer(RATE, epsilon=1e-12)
    optimizer.build([fast, slow])
    expected = [np.ones(3), np.ones(3)]
    oracles = [oracle(RATE), oracle(RATE * MULTIPLIER)]
    for number in range(STEPS):
        gradients = gradients_of(number)[: 2 if number >= START else 1]
        variables = [fast, slow][: len(gradients)]
        apply_gradients(
            optimizer, gradients, variables, variables[1:], MULTIPLIER, START
        )
        for k, gradient in enumerate(gradients):
            expected[k] = expected[k] + oracles[k].step(gradient.astype(float))
        if number < START:
            np.testing.assert_array_equal(slow, np.ones(3))
        np.testing.assert_allclose(fast, expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(slow, expected[1], rtol=1e-4, atol=1e-5)
    assert np.abs(expected[1] - 1).max() > 0.005


def test_a_step_that_overflows_is_a_step():
    weight = keras.Variable(np.ones(3, np.float32))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1))
    optimizer.build([weight])
    apply_gradients(
        optimizer, [np.full(3, np.inf, "f")], [weight], [weight], 0.5
    )
    np.testing.assert_array_equal(weight, np.ones(3))
    assert int(optimizer.iterations) == 1
    apply_gradients(optimizer, [np.ones(3, "f")], [weight], [weight], 0.5)
    assert int(optimizer.iterations) == 2
    assert np.all(weight.numpy() < 1)
