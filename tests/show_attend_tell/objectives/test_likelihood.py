"""The likelihood of captions."""

import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.objectives.likelihood import caption_nll, smoothing
from tests import reference

V = 6


def drawn(batch, steps):
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, (*batch, steps, V)).astype(np.float32)
    targets = rng.integers(0, V, (*batch, steps)).astype(np.int32)
    lengths = rng.integers(0, steps + 1, batch)
    return logits, targets, np.arange(steps) < lengths[..., None]


@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_nll_and_its_gradient_are_the_papers(batch):
    logits, targets, mask = drawn(batch, 4)

    def total(arrays):
        return sum(
            reference.caption_nll(arrays["logits"][i], targets[i], mask[i])
            * (1 + sum(i))
            for i in np.ndindex(batch)
        )

    expected = [
        reference.caption_nll(logits[i].astype(np.float64), targets[i], mask[i])
        for i in np.ndindex(batch)
    ]
    weights = np.reshape([1.0 + sum(i) for i in np.ndindex(batch)], batch)
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        nll = caption_nll(variable, targets, mask)
        weighted = tf.reduce_sum(nll * tf.cast(weights, tf.float32))
    assert nll.dtype == "float32"
    np.testing.assert_allclose(nll, np.reshape(expected, batch), rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(weighted, variable),
        reference.numeric_gradient(total, {"logits": logits})["logits"],
        atol=1e-5,
    )


def test_certainty_costs_nothing_and_stays_finite():
    logits = np.full((1, 2, V), -200.0, np.float32)
    logits[0, 0, 3] = logits[0, 1, 2] = 200.0
    mask = np.ones((1, 2), bool)
    for targets, expected in (([[3, 2]], 0.0), ([[3, 1]], 400.0)):
        nll = caption_nll(logits, np.array(targets), mask)
        np.testing.assert_allclose(nll, [expected])


def test_it_is_exact_in_mixed_precision():
    # Uniform over V words, forty of them: 40 log V.
    logits = tf.zeros((1, 40, V), tf.bfloat16)
    nll = caption_nll(logits, np.zeros((1, 40), int), np.ones((1, 40), bool))
    np.testing.assert_allclose(nll, [40 * np.log(V)], rtol=1e-6)


def smoothed(logits, targets, mask, share):
    """Equation by equation: the target's part, and the mean of all words'."""
    total = 0.0
    for scores, target, real in zip(logits, targets, mask, strict=True):
        log_p = reference.log_softmax(scores)
        if real:  # Neither padding (0) nor start (1) can follow.
            total -= (1 - share) * log_p[target] + share * log_p[2:].mean()
    return total


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_smoothing_is_the_mean_over_all_words(share):
    logits, targets, mask = drawn((2, 3), 4)
    targets = np.maximum(targets, 2)

    def each(arrays):
        return [
            smoothed(arrays["logits"][i], targets[i], mask[i], share)
            for i in np.ndindex(2, 3)
        ]

    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        parts = variable, targets, mask
        loss = caption_nll(*parts) + share * smoothing(*parts)
    expected = each({"logits": logits.astype(np.float64)})
    np.testing.assert_allclose(loss, np.reshape(expected, (2, 3)), rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(loss, variable),
        reference.numeric_gradient(
            lambda arrays: sum(each(arrays)), {"logits": logits}
        )["logits"],
        atol=1e-5,
    )
