"""The likelihood of captions, and the losses of equation 14."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.objectives import HardAttention, Likelihood
from show_attend_tell.objectives.likelihood import caption_nll, smoothing
from show_attend_tell.objectives.scheduled_sampling import (
    replace_previous_words,
)
from tests import reference
from tests.show_attend_tell import tiny
from tests.show_attend_tell.layers.checks import (
    assert_close,
    named_weights,
    random_array,
)
from tests.show_attend_tell.tiny import (
    K,
    batch_of,
    loss_and_gradients,
    make_captioner,
)

WORDS = 7


def random_captions(batch, steps):
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, (*batch, steps, WORDS)).astype(np.float32)
    targets = rng.integers(END, WORDS, (*batch, steps)).astype(np.int32)
    lengths = rng.integers(0, steps + 1, batch)
    return logits, targets, np.arange(steps) < lengths[..., None]


def smoothed_nll(logits, targets, mask, share):
    """Equation by equation: the target's part, and the mean of all words'."""
    total = 0.0
    for scores, target, real in zip(logits, targets, mask, strict=True):
        log_p = reference.log_softmax(scores)
        if real:  # Neither padding (0) nor start (1) can follow.
            total -= (1 - share) * log_p[target] + share * log_p[2:].mean()
    return total


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_nll_and_its_gradient_are_the_papers(batch, share):
    logits, targets, mask = random_captions(batch, 4)
    weights = np.reshape([1.0 + sum(i) for i in np.ndindex(batch)], batch)

    def expected(logits):
        each = [
            smoothed_nll(logits[i], targets[i], mask[i], share)
            for i in np.ndindex(batch)
        ]
        return np.reshape(each, batch)

    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        nll = caption_nll(variable, targets, mask)
        if share:
            nll = nll + share * smoothing(variable, targets, mask)
        weighted = tf.reduce_sum(nll * tf.cast(weights, tf.float32))
    assert nll.dtype == "float32"
    np.testing.assert_allclose(
        nll, expected(logits.astype(np.float64)), rtol=1e-5
    )
    gradient = reference.numeric_gradient(
        lambda arrays: np.sum(weights * expected(arrays["logits"])),
        {"logits": logits},
    )
    np.testing.assert_allclose(
        tape.gradient(weighted, variable), gradient["logits"], atol=1e-5
    )


def test_nll_is_exact_for_large_logits_and_in_mixed_precision():
    logits = np.full((1, 2, WORDS), -200.0, np.float32)
    logits[0, 0, 3] = logits[0, 1, 2] = 200.0
    mask = np.ones((1, 2), bool)
    for targets, expected in (([[3, 2]], 0.0), ([[3, 1]], 400.0)):
        nll = caption_nll(logits, np.array(targets), mask)
        np.testing.assert_allclose(nll, [expected])
    # Uniform over V words, forty of them: 40 log V.
    logits = tf.zeros((1, 40, WORDS), tf.bfloat16)
    nll = caption_nll(logits, np.zeros((1, 40), int), np.ones((1, 40), bool))
    np.testing.assert_allclose(nll, [40 * np.log(WORDS)], rtol=1e-6)


@pytest.mark.parametrize("normalization", ["sum", "mean"])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_losses_are_equation_14(normalization, share):
    captioner, batch = make_captioner(), batch_of(n=3)
    logits, attention = tiny.oracle(captioner, batch)
    targets = batch["tokens"][..., 1:]
    mask = targets != PADDING
    losses = [
        smoothed_nll(logits[i], targets[i], mask[i], share)
        + reference.doubly_stochastic(attention[i], mask[i], 0.7, normalization)
        for i in np.ndindex(3, K)
        if mask[i].any()
    ]
    assert len(losses) == 5  # One of the six captions is padding.
    loss, nll, words = Likelihood(0.7, normalization, share).compute_losses(
        captioner, batch
    )
    np.testing.assert_allclose(loss, np.mean(losses), 1e-5)
    expected = tiny.nll_of(logits, batch["tokens"]).sum()  # Not smoothed.
    np.testing.assert_allclose(nll, expected, 1e-5)
    assert float(words) == mask.sum()


@pytest.mark.parametrize("objective", [Likelihood, HardAttention])
def test_supervision_is_added_and_changes_nothing_at_zero(objective):
    """Forward and gradient on a tiny model, against NumPy."""
    captioner, batch = make_captioner(), batch_of(n=3)
    coverage = np.maximum(random_array(3, K, tiny.T, tiny.L, seed=8), 0)
    coverage[:, :, 1] = 0  # No boxes.
    coverage *= (batch["tokens"][..., 1:] != PADDING)[..., None]
    supervised = {**batch, "coverage": coverage}
    captions = (batch["tokens"][..., 1:] != PADDING).any(-1).sum()

    def expected(weights):
        _, attention = tiny.oracle(captioner, batch, weights)
        total = 0.0
        for index in np.argwhere(coverage.any(-1)):
            alpha, c = attention[tuple(index)], coverage[tuple(index)]
            even, inside = c[c > 0] / c.sum(), np.log((alpha * c).sum())
            total += (even * np.log(even / alpha[c > 0])).sum() - inside
        return 0.15 * total / captions

    def run(weight, inputs):
        return loss_and_gradients(
            captioner,
            objective(regularizer_weight=0.0, attention_supervision=weight),
            inputs,
            training=False,
        )

    plain, plain_gradients = run(0.3, batch)
    off, off_gradients = run(0.0, supervised)
    np.testing.assert_array_equal(off, plain)
    tiny.assert_equal(off_gradients, plain_gradients)
    losses, gradients = run(0.3, supervised)
    weights = tiny.float64_weights(captioner)
    np.testing.assert_allclose(
        losses.loss - plain.loss, expected(weights), rtol=1e-4
    )
    names = list(named_weights(captioner))
    numeric = reference.numeric_gradient(expected, weights)
    for name, one, other in zip(names, gradients, plain_gradients, strict=True):
        difference = np.asarray(one, np.float64) - other
        np.testing.assert_allclose(
            difference, numeric[name], rtol=1e-2, atol=1e-4, err_msg=name
        )


def test_padding_counts_nothing():
    captioner, batch = make_captioner(), batch_of()
    tokens, annotations = batch["tokens"], batch["annotations"]
    losses, gradients = loss_and_gradients(captioner, Likelihood(), batch)
    for padding in (
        {"tokens": np.pad(tokens, ((0, 0), (0, 0), (0, 5)))},
        {"tokens": np.pad(tokens, ((0, 0), (0, 3), (0, 0)))},
        {
            "annotations": np.concatenate([annotations, 9 * annotations]),
            "tokens": np.pad(tokens, ((0, 2), (0, 0), (0, 0))),
        },
    ):
        again = loss_and_gradients(
            captioner, Likelihood(), {**batch, **padding}
        )
        assert_close(list(again[0]), list(losses), 1e-6)
        assert_close(again[1], gradients, 1e-4, 1e-6)
    assert all(np.any(gradient) for gradient in gradients)
    nothing = {**batch, "tokens": np.zeros_like(tokens)}
    losses = Likelihood().compute_losses(captioner, nothing)
    assert_close(list(losses), [0.0, 0.0, 0.0])


def long_captions(n, k, steps):
    """Captions of many lengths, words 4 to 6."""
    rng = np.random.default_rng(0)
    tokens = np.full((n, k, steps + 1), PADDING, np.int32)
    for number, index in enumerate(np.ndindex(n, k)):
        length = number % steps
        words = rng.integers(4, WORDS, length)
        tokens[index][: length + 2] = [START, *words, END]
    return tokens


def test_previous_words_are_replaced_as_often_as_they_should_be():
    tokens = long_captions(600, 5, 9)
    row = np.random.default_rng(3).normal(0, 1.5, WORDS).astype(np.float32)
    row[:UNKNOWN] = 9.0  # Never sampled, however likely.
    row[UNKNOWN] = -9.0
    logits = np.broadcast_to(row, (600, 5, 9, WORDS))
    seeds = [keras.random.SeedGenerator(n) for n in (0, 1)]
    words = tokens > END
    likely = np.exp(row[4:]) / np.exp(row[4:]).sum()
    for probability in (0.3, 1.0):
        mixed = np.array(
            replace_previous_words(tokens, logits, probability, seeds)
        )
        np.testing.assert_array_equal(mixed[~words], tokens[~words])
        for number, p in enumerate(likely):
            at = tokens[words] == 4 + number
            # A word that is sampled again shows nothing.
            differ = (mixed[words] != tokens[words])[at].mean()
            expected = probability * (1 - p)
            error = np.sqrt(expected * (1 - expected) / at.sum())
            assert abs(differ - expected) < 4 * error
    for number, p in enumerate(likely):  # All were replaced.
        error = np.sqrt(p * (1 - p) / words.sum())
        assert abs((mixed[words] == 4 + number).mean() - p) < 4 * error


def test_the_second_pass_reads_the_models_words():
    """Against NumPy, with words that are certain beforehand."""
    captioner, batch = make_captioner(), batch_of(n=3)
    kernel = captioner.output_layer.output_kernel
    kernel.assign(400 * kernel)
    tokens = batch["tokens"]
    logits = np.array(captioner(batch)["logits"])
    logits[..., :UNKNOWN] = -np.inf
    mixed = tokens.copy()
    mixed[..., 1:] = np.where(
        tokens[..., 1:] > END, logits.argmax(-1), tokens[..., 1:]
    )
    assert (mixed != tokens).any()
    objective = Likelihood(scheduled_sampling=1.0)
    losses, _ = loss_and_gradients(captioner, objective, batch)
    second = captioner({**batch, "tokens": mixed})["logits"]
    expected = tiny.nll_of(np.array(second, np.float64), tokens).sum()
    np.testing.assert_allclose(losses.nll, expected, rtol=1e-5)
    # Measuring is with the words of the references.
    np.testing.assert_array_equal(
        objective.compute_losses(captioner, batch, training=False),
        Likelihood().compute_losses(captioner, batch, training=False),
    )


def test_scheduled_sampling_at_zero_changes_nothing():
    captioner, batch = make_captioner(dropout=0.4), batch_of()
    sampled = Likelihood(scheduled_sampling=0.5)
    gradients = []
    for objective, probability in (
        (Likelihood(), None),
        (sampled, 0.0),
        (sampled, 1.0),
    ):
        if probability is not None:
            objective.sampling_probability.assign(probability)
        trainer = tiny.make_trainer(captioner, objective)
        trainer.set_random_state(3, 17)
        gradients.append(loss_and_gradients(captioner, objective, batch)[1])
    tiny.assert_equal(gradients[0], gradients[1])
    assert np.any(gradients[0][0] != gradients[2][0])


def test_scheduled_sampling_grows_evenly():
    objective, probabilities = Likelihood(scheduled_sampling=0.4), []
    for epoch in range(5):
        objective.set_progress(epoch, 5)
        probabilities.append(float(objective.sampling_probability))
    np.testing.assert_allclose(probabilities, [0, 0.1, 0.2, 0.3, 0.4])
    objective.set_progress(0, 1)
    assert float(objective.sampling_probability) == pytest.approx(0.4)
