"""Section 4.1: one location is sampled, and the straight-through gradient."""

import numpy as np
from keras import ops

from show_attend_tell.layers import BahdanauAttention, sample_locations
from tests import reference
from tests.show_attend_tell.layers.checks import (
    outputs_and_gradients,
    random_array,
)

ATTENTION = np.array([0.7, 0.05, 0.25], np.float32)


def test_locations_are_sampled_in_proportion_to_attention():
    n = 20_000
    noise = np.random.default_rng(0).gumbel(size=(n, 1, 3)).astype(np.float32)
    arguments = np.tile(ATTENTION, (n, 1, 1)), noise, np.ones((n, 1), "f")
    weights = sample_locations(*map(ops.convert_to_tensor, arguments))
    weights = ops.convert_to_numpy(weights)
    assert set(np.unique(weights)) == {0, 1}
    counted = np.mean(weights, axis=(0, 1))
    error = np.sqrt(ATTENTION * (1 - ATTENTION) / n)
    assert np.all(np.abs(counted - ATTENTION) < 4 * error)


def test_gradients_of_the_estimators():
    noise = random_array(1, 2, 3)
    sampled = ops.convert_to_tensor(np.array([[1.0, 0.0]], "f"))
    side = random_array(1, 2, 3, seed=99)  # Of the random sum.
    inputs = {"attention": np.broadcast_to(ATTENTION, (1, 2, 3)).copy()}
    layer = BahdanauAttention(1)  # Without weights yet.
    for temperature in (0.0, 0.7):
        weights, gradients = outputs_and_gradients(
            layer,
            inputs,
            lambda attention, temperature=temperature: sample_locations(
                attention, ops.convert_to_tensor(noise), sampled, temperature
            ),
        )
        # The value is the sample's; the second caption sees the expectation.
        weights = ops.convert_to_numpy(weights)
        assert sorted(weights[0, 0]) == [0, 0, 1]
        np.testing.assert_array_equal(weights[0, 1], ATTENTION)

        def relaxed(arrays, temperature=temperature):
            scores = np.log(arrays["attention"]) + noise[0, 0]
            return np.sum(reference.softmax(scores / temperature) * side[0, 0])

        expected = np.zeros(3)
        if temperature:
            expected = reference.numeric_gradient(
                relaxed, {"attention": ATTENTION}
            )["attention"]
        actual = ops.convert_to_numpy(gradients["attention"])[0]
        np.testing.assert_allclose(actual[0], expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(actual[1], side[0, 1], rtol=1e-6)
