"""Steps of two learning rates, against the optimizers in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.training.optimizer_step import take_step

RATE, PACE, START, STEPS = 0.1, 0.03, 4, 12


def gradients_of(step):
    rng = np.random.default_rng(step)
    return [rng.normal(0, 10.0**k, (3,)).astype(np.float32) for k in (0, -3)]


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


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [(keras.optimizers.Adam, Adam), (keras.optimizers.RMSprop, RMSprop)],
)
def test_slow_weights_have_an_optimizer_of_their_own(optimizer, oracle):
    fast, slow = (keras.Variable(np.ones(3, np.float32)) for _ in range(2))
    optimizer = optimizer(RATE, epsilon=1e-12)
    optimizer.build([fast, slow])
    expected = [np.ones(3), np.ones(3)]
    own = [oracle(RATE), oracle(RATE * PACE)]

    @tf.function(jit_compile=True, autograph=False)
    def step(gradients):
        variables = [fast, slow][: len(gradients)]
        take_step(optimizer, gradients, variables, variables[1:], PACE, START)

    for number in range(STEPS):
        gradients = gradients_of(number)[: 2 if number >= START else 1]
        step(gradients)
        for k, gradient in enumerate(gradients):
            expected[k] = expected[k] + own[k].step(gradient.astype(float))
        if number < START:
            np.testing.assert_array_equal(slow, np.ones(3))
        np.testing.assert_allclose(fast, expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(slow, expected[1], rtol=1e-4, atol=1e-5)
    assert np.abs(expected[1] - 1).max() > 0.005


def test_without_slow_weights_it_is_the_optimizer():
    weights = [keras.Variable(np.ones(3, np.float32)) for _ in range(2)]
    optimizers = [keras.optimizers.Adam(0.1) for _ in range(2)]
    for number in range(5):
        gradient = gradients_of(number)[:1]
        take_step(optimizers[0], gradient, weights[:1], [], 0.5, 0)
        optimizers[1].apply(gradient, weights[1:])
    np.testing.assert_array_equal(weights[0], weights[1])


def test_a_step_that_overflows_is_a_step():
    weight = keras.Variable(np.ones(3, np.float32))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1))
    optimizer.build([weight])
    take_step(optimizer, [np.full(3, np.inf, "f")], [weight], [weight], 0.5, 0)
    np.testing.assert_array_equal(weight, np.ones(3))
    assert int(optimizer.iterations) == 1
    take_step(optimizer, [np.ones(3, "f")], [weight], [weight], 0.5, 0)
    assert int(optimizer.iterations) == 2
    assert np.all(weight.numpy() < 1)
