"""Hard attention against every sequence of locations there is."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, START
from show_attend_tell.layers.equations import lstm_gates, lstm_state
from show_attend_tell.objectives import HardAttention, Likelihood
from tests import reference
from tests.show_attend_tell import tiny
from tests.show_attend_tell.layers.checks import (
    assert_close,
    named_weights,
    random_array,
)
from tests.show_attend_tell.tiny import loss_and_gradients

L, D, V = 3, 2, 6
WORDS = (4, 5)  # And the end: three steps, 27 sequences of locations.
# REINFORCE for all images, and nothing else.
REINFORCE = {
    "regularizer_weight": 0.0,
    "soft_attention_probability": 0.0,
    "reinforce_weight": 1.0,
    "entropy_weight": 0.0,
}


def make_captioner(seed=3, **options):
    captioner = tiny.make_captioner(
        vocabulary_size=V,
        shapes={"annotations": (None, L, D), "tokens": (None, None, None)},
        embedding_size=2,
        units=2,
        attention_units=2,
        initial_units=0,
        **options,
    )
    for number, weight in enumerate(captioner.trainable_weights):
        weight.assign(random_array(*weight.shape, seed=seed + number))
    return captioner


def seeded(captioner, objective, step=0):
    tiny.make_trainer(captioner, objective).set_random_state(7, step)
    return captioner, objective


def batch_of(n, k=1):
    annotations = np.repeat(random_array(1, L, D, seed=5, scale=2.0), n, axis=0)
    caption = np.array([START, *WORDS, END], np.int32)
    return {
        "annotations": np.maximum(annotations, 0),
        "tokens": np.broadcast_to(caption, (n, k, len(caption))),
    }


def log_probabilities(locations, annotations, w):
    """Returns log p(s | a) and log p(y | s, a), by the paper's equations."""
    cell_weights = reference.below(w, "decoder/cell")
    hidden, cell = reference.initial_state(
        annotations, reference.below(w, "initial_state")
    )
    log_locations = log_words = 0.0
    for previous, word, location in zip(
        (START, *WORDS), (*WORDS, END), locations, strict=True
    ):
        embedding = w["embedding/embeddings"][previous]
        _, attention = reference.attend(
            hidden, annotations, reference.below(cell_weights, "attention")
        )
        log_locations += np.log(attention[location])
        context = reference.gate(hidden, cell_weights) * annotations[location]
        hidden, cell = reference.lstm(
            embedding, context, hidden, cell, cell_weights
        )
        logits = reference.deep_output(
            embedding, hidden, context, reference.below(w, "output")
        )
        log_words += reference.log_softmax(logits)[word]
    return log_locations, log_words


def bound_and_likelihood(annotations, w):
    """Equation 10: the bound `L_s`, and what it bounds."""
    sequences = itertools.product(range(L), repeat=len(WORDS) + 1)
    log_locations, log_words = np.transpose(
        [log_probabilities(s, annotations, w) for s in sequences]
    )
    assert np.exp(log_locations).sum() == pytest.approx(1)
    bound = np.sum(np.exp(log_locations) * log_words)
    return bound, np.log(np.sum(np.exp(log_locations + log_words)))


def test_the_bound_lies_below_the_likelihood():
    annotations = batch_of(1)["annotations"][0].astype(np.float64)
    for seed in range(5):
        weights = tiny.float64_weights(make_captioner(seed))
        bound, likelihood = bound_and_likelihood(annotations, weights)
        assert bound < likelihood


@pytest.mark.proof
@pytest.mark.parametrize("samples", [1, 3])
def test_the_mean_gradient_is_that_of_the_bound(samples):
    """Equation 11, enumerated; equation 12, sampled."""
    captioner, objective = seeded(
        make_captioner(), HardAttention(**REINFORCE, attention_samples=samples)
    )
    batch = batch_of(600)

    @tf.function
    def gradients():
        return loss_and_gradients(captioner, objective, batch)[1]

    gradients()  # The first batch has no baseline.
    samples = [gradients() for _ in range(80)]
    annotations = batch["annotations"][0].astype(np.float64)
    weights = tiny.float64_weights(captioner)
    exact = reference.numeric_gradient(
        lambda weights: -bound_and_likelihood(annotations, weights)[0], weights
    )
    checked = 0
    for index, name in enumerate(named_weights(captioner)):
        each = np.stack([np.asarray(g[index], np.float64) for g in samples])
        error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
        away = np.abs(each.mean(axis=0) - exact[name])
        assert np.all(away <= 4 * error + 1e-5), name
        checked += np.count_nonzero(error)
    assert checked > 30


def test_without_the_score_function_the_attention_learns_nothing():
    # What the test above would not forgive.
    captioner, objective = seeded(
        make_captioner(), HardAttention(**{**REINFORCE, "reinforce_weight": 0})
    )
    inputs = objective.prepare(captioner, batch_of(600), 0)
    with tf.GradientTape() as tape:
        loss = objective.compute_losses(captioner, inputs, True).loss
    kernel = captioner.decoder.cell.attention.energy_kernel.value
    gradient = tape.gradient(loss, kernel)
    assert gradient is None or not np.any(gradient)


def test_with_expected_contexts_it_is_soft_attention():
    captioner, batch = make_captioner(), batch_of(4, k=2)
    soft = loss_and_gradients(captioner, Likelihood(0.7), batch)
    options = {
        **REINFORCE,
        "soft_attention_probability": 1.0,
        "regularizer_weight": 0.7,
    }
    hard = loss_and_gradients(captioner, HardAttention(**options), batch)
    assert_close(list(hard[0]), list(soft[0]))
    assert_close(hard[1], soft[1])


def test_images_see_the_expected_context_as_often_as_they_should():
    objective = HardAttention(soft_attention_probability=0.3)
    sampling = objective.sample(make_captioner(), batch_of(2000, k=2))
    sampled = np.asarray(sampling.sampled)
    np.testing.assert_array_equal(sampled[:, 0], sampled[:, 1])  # Per image.
    assert abs(sampled.mean() - 0.7) < 4 * np.sqrt(0.21 / 2000)


def sampling_loss(outputs, sampled, nll, mask, baseline, scale):
    """The two terms by hand, lambda_r = 0.1, lambda_e = 0.002."""
    n, k, _, _ = outputs["attention"].shape
    total = 0.0
    for i, j in np.ndindex(n, k):
        words = int(mask[i, j].sum())
        reward = nll[i, j] / (words if scale == "released" else 1)
        score = entropy = 0.0
        for t in range(words):
            alpha = outputs["attention"][i, j, t]
            location = int(np.argmax(outputs["context_weights"][i, j, t]))
            score += np.log(alpha[location])
            entropy -= np.sum(alpha * np.log(alpha))
        total += 0.1 * sampled[i, j] * (reward - baseline) * score
        total -= 0.002 * entropy
    return total if scale == "released" else total / (n * k)


@pytest.mark.parametrize("scale", ["caption", "released"])
def test_the_loss_is_the_papers(scale):
    captioner = make_captioner()
    objective = HardAttention(reinforce_scale=scale, regularizer_weight=0.0)
    objective.average.assign([1.4, 0.7])  # A baseline of 2.
    batch = batch_of(6, k=2)
    tokens = np.array(batch["tokens"])
    tokens[1, 1] = [START, 4, END, 0]
    batch["tokens"], mask = tokens, tokens[:, :, 1:] != 0
    seeded(captioner, objective, 1)
    sampling = objective.sample(captioner, batch)
    outputs = captioner(batch, training=True, sampling=sampling)
    outputs = {k: np.asarray(v, np.float64) for k, v in outputs.items()}
    nll = tiny.nll_of(outputs["logits"], tokens)
    seeded(captioner, objective, 1)
    loss, summed, _ = objective.compute_losses(captioner, batch, True)
    sampled = np.asarray(sampling.sampled)
    assert 0 < sampled.sum() < 12
    expected = sampling_loss(outputs, sampled, nll, mask, 2.0, scale)
    np.testing.assert_allclose(loss, nll.mean() + expected, rtol=1e-5)
    np.testing.assert_allclose(summed, nll.sum(), rtol=1e-5)
    # And the baseline moves on, by a tenth of what was sampled.
    reward = nll / mask.sum(-1) if scale == "released" else nll
    mean = np.average(reward, weights=sampled)
    np.testing.assert_allclose(
        objective.average,
        [0.9 * 1.4 + 0.1 * mean, 0.9 * 0.7 + 0.1],
        rtol=1e-5,
    )


def step_by_step(captioner, batch, sampling):
    """Logits and attention, differentiated by TensorFlow."""
    cell, attend = captioner.decoder.cell, captioner.decoder.cell.attention
    annotations, temperature = batch["annotations"], sampling.gumbel_temperature
    hidden, state = captioner.initial_state(annotations)
    hidden, state = hidden[:, None], state[:, None]
    words = captioner.embedding(batch["tokens"][:, :, :-1])
    logits, attentions = [], []
    for t in range(words.shape[2]):
        _, attention = attend(hidden, annotations)
        scores = tf.math.log(attention) + sampling.noise[t]
        location = tf.one_hot(tf.argmax(scores, -1), L)
        if temperature:
            relaxed = tf.nn.softmax(scores / temperature)
            location = relaxed + tf.stop_gradient(location - relaxed)
        mask = sampling.sampled[..., None] > 0
        context = tf.matmul(tf.where(mask, location, attention), annotations)
        context = cell.open_gate(hidden) * context
        gates = lstm_gates(
            words[:, :, t] @ cell.embedding_kernel
            + context @ cell.context_kernel
            + hidden @ cell.hidden_kernel
            + cell.bias
        )
        hidden, state = lstm_state(gates, state)
        logits.append(captioner.output_layer(words[:, :, t], hidden, context))
        attentions.append(attention)
    return tf.stack(logits, 2), tf.stack(attentions, 2)


@pytest.mark.parametrize("gumbel_temperature", [0.0, 0.7])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_are_those_of_the_steps(gumbel_temperature, jit_compile):
    captioner = make_captioner(jit_compile=jit_compile)
    batch = batch_of(8)
    batch["annotations"] = batch["annotations"] + random_array(8, L, D)
    objective = HardAttention(gumbel_temperature=gumbel_temperature)
    seeded(captioner, objective, 2)
    sampling = objective.sample(captioner, batch)
    assert 0 < np.sum(sampling.sampled) < 8

    @tf.function(autograph=False)
    def ours():
        outputs = captioner(batch, training=True, sampling=sampling)
        return outputs["logits"], outputs["attention"]

    results = []
    for run in (ours, lambda: step_by_step(captioner, batch, sampling)):
        with tf.GradientTape() as tape:
            outputs = run()
            total = sum(
                tf.reduce_sum(x * random_array(*x.shape, seed=i))
                for i, x in enumerate(outputs)
            )
        gradients = tape.gradient(total, captioner.trainable_variables)
        results.append([*outputs, *map(tf.convert_to_tensor, gradients)])
    assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [{"reinforce_scale": "batch"}, {"attention_samples": 0}],
    ids=str,
)
def test_options_out_of_range_are_refused(wrong):
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=f"Received: .*{value}"):
        HardAttention(**wrong)
