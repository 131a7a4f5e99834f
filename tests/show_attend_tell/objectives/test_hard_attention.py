"""Hard attention against every attention sequence there is."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, START
from show_attend_tell.layers import sample_locations
from show_attend_tell.layers.equations import lstm_gates, lstm_state
from show_attend_tell.model import Captioner
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    named_weights,
    random_array,
)

L, D, V = 3, 2, 6
WORDS = (4, 5)  # And the end: three steps, 27 sequences of locations.
TINY = {
    "vocabulary_size": V,
    "embedding_size": 2,
    "units": 2,
    "attention_units": 2,
    "initial_units": 0,
    "dropout": 0.0,
    "regularizer_weight": 0.0,
}
HARD = {
    "attention": "hard",
    "reinforce_weight": 1.0,
    "entropy_weight": 0.0,
    "soft_attention_probability": 0.0,
}


def made(seed=3, scale=1.0, compiled=False, **arguments):
    captioner = Captioner(**{**TINY, **arguments}, name="captioner")
    if not compiled:
        captioner.decoder.jit_compile = False
    captioner.build({"annotations": (None, L, D), "tokens": (None, None, None)})
    fill_trainable(captioner, seed, scale)
    return captioner


def fill_trainable(captioner, seed, scale):
    for number, weight in enumerate(captioner.trainable_weights):
        weight.assign(
            random_array(*weight.shape, seed=seed + number, scale=scale)
        )


def batch_of(n, k=1):
    annotations = np.repeat(random_array(1, L, D, seed=5, scale=2.0), n, axis=0)
    caption = np.array([START, *WORDS, END], np.int32)
    return {
        "annotations": np.maximum(annotations, 0),
        "tokens": np.broadcast_to(caption, (n, k, len(caption))),
    }


def weights_of(captioner):
    return {
        name: np.asarray(weight, np.float64)
        for name, weight in named_weights(captioner).items()
    }


def along(locations, annotations, w):
    """Returns log p(s | a) and log p(y | s, a), by the paper's equations."""
    cell_weights = reference.below(w, "decoder/cell")
    hidden, cell = reference.initial_state(
        annotations, reference.below(w, "initial_state")
    )
    log_places = log_words = 0.0
    targets = (*WORDS, END)
    for before, word, place in zip(
        (START, *WORDS), targets, locations, strict=True
    ):
        embedding = w["embedding/embeddings"][before]
        _, attention = reference.attend(
            hidden, annotations, reference.below(cell_weights, "attention")
        )
        log_places += np.log(attention[place])
        context = reference.gate(hidden, cell_weights) * annotations[place]
        hidden, cell = reference.lstm(
            embedding, context, hidden, cell, cell_weights
        )
        logits = reference.deep_output(
            embedding, hidden, context, reference.below(w, "output")
        )
        log_words += reference.log_softmax(logits)[word]
    return log_places, log_words


def bound_and_likelihood(annotations, w):
    """Returns `sum_s p(s|a) log p(y|s,a)` and `log sum_s p(s,y|a)`."""
    found = [
        along(locations, annotations, w)
        for locations in itertools.product(range(L), repeat=len(WORDS) + 1)
    ]
    log_places, log_words = np.transpose(found)
    assert np.exp(log_places).sum() == pytest.approx(1)
    bound = np.sum(np.exp(log_places) * log_words)
    return bound, np.log(np.sum(np.exp(log_places + log_words)))


def test_the_bound_lies_below_the_likelihood():
    for seed in range(5):
        captioner = made(seed)
        bound, likelihood = bound_and_likelihood(
            batch_of(1)["annotations"][0].astype(np.float64),
            weights_of(captioner),
        )
        assert bound < likelihood


@pytest.mark.proof
@pytest.mark.parametrize("samples", [1, 3])
def test_the_mean_gradient_is_that_of_the_bound(samples):
    captioner = made(**HARD, attention_samples=samples)
    captioner.set_random_state(7, 0)
    batch = batch_of(600)
    trained = captioner.trainable_variables

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss, _, _ = captioner.losses_of(batch, training=True)
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, trained)]

    gradients()  # The first batch has no earlier one to be compared with.
    found = [gradients() for _ in range(80)]
    names = {w.path: name for name, w in named_weights(captioner).items()}
    annotations = batch["annotations"][0].astype(np.float64)
    weights = weights_of(captioner)

    def loss(changed):
        return -bound_and_likelihood(annotations, {**weights, **changed})[0]

    order = [names[w.path] for w in captioner.trainable_weights]
    exact = reference.numeric_gradient(loss, {n: weights[n] for n in order})
    checked = 0
    for index, name in enumerate(order):
        each = np.stack([np.asarray(g[index], np.float64) for g in found])
        error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
        away = np.abs(each.mean(axis=0) - exact[name])
        assert np.all(away <= 4 * error + 1e-5), name
        checked += np.count_nonzero(error)
    assert checked > 30


def test_without_the_score_of_places_the_gradient_is_another():
    # What the test above would not forgive.
    captioner = made(**{**HARD, "reinforce_weight": 0.0})
    captioner.set_random_state(7, 0)
    with tf.GradientTape() as tape:
        loss, _, _ = captioner.losses_of(batch_of(600), training=True)
    kernel = captioner.decoder.cell.attention.energy_kernel.value
    gradient = tape.gradient(loss, kernel)
    assert gradient is None or not np.any(gradient)


def test_places_are_drawn_as_often_as_attention_says():
    attention = np.array([0.7, 0.05, 0.25], np.float32)
    n = 20_000
    noise = np.random.default_rng(0).gumbel(size=(n, 1, L)).astype(np.float32)
    found = sample_locations(
        tf.broadcast_to(attention, (n, 1, L)), noise, np.ones((n, 1), "float32")
    )
    counted = np.mean(found, axis=(0, 1))
    error = np.sqrt(attention * (1 - attention) / n)
    assert np.all(np.abs(counted - attention) < 4 * error)
    assert set(np.unique(found)) == {0, 1}


def test_all_expectation_is_soft_attention():
    soft, hard = made(), made(**{**HARD, "soft_attention_probability": 1.0})
    batch = batch_of(4, k=2)
    found = []
    for captioner in (soft, hard):
        with tf.GradientTape() as tape:
            loss, _, _ = captioner.losses_of(batch, training=True)
        gradients = tape.gradient(loss, captioner.trainable_variables)
        found.append([loss, *map(tf.convert_to_tensor, gradients)])
    assert_close(*found)


def test_images_see_the_expectation_as_often_as_they_should():
    captioner = made(**{**HARD, "soft_attention_probability": 0.3})
    batch = batch_of(2000, k=2)
    sampling = captioner.hard.sampling(
        batch["tokens"][:, :, 1:], batch["annotations"]
    )
    part = np.asarray(sampling.sampled)
    np.testing.assert_array_equal(part[:, 0], part[:, 1])  # Per image.
    assert abs(part.mean() - 0.7) < 4 * np.sqrt(0.21 / 2000)


def by_hand(outputs, nll, mask, baseline, scale):
    """The two terms beside the likelihood, lambda_r = 0.1, lambda_e = 0.002."""
    n, k, steps, _ = outputs["attention"].shape
    total = 0.0
    for i, j in np.ndindex(n, k):
        words = int(mask[i, j].sum())
        reward = nll[i, j] / (words if scale == "released" else 1)
        score = entropy = 0.0
        for t in range(words):
            alpha = outputs["attention"][i, j, t]
            place = int(np.argmax(outputs["context_weights"][i, j, t]))
            score += np.log(alpha[place])
            entropy -= np.sum(alpha * np.log(alpha))
        drawn_here = outputs["sampled"][i, j]
        total += 0.1 * drawn_here * (reward - baseline) * score
        total -= 0.002 * entropy
    return total if scale == "released" else total / (n * k)


@pytest.mark.parametrize("scale", ["caption", "released"])
def test_the_loss_is_the_papers(scale):
    captioner = made(attention="hard", reinforce_scale=scale)
    captioner.hard.average.assign([1.4, 0.7])  # A baseline of 2.
    batch = batch_of(6, k=2)
    tokens = np.array(batch["tokens"])
    tokens[1, 1] = [START, 4, END, 0]
    batch["tokens"] = tokens
    mask = tokens[:, :, 1:] != 0
    captioner.set_random_state(1, 1)
    outputs = {
        name: np.asarray(value, np.float64)
        for name, value in captioner(batch, training=True).items()
    }
    nll = np.array(
        [
            [
                reference.caption_nll(
                    outputs["logits"][i, j], tokens[i, j, 1:], mask[i, j]
                )
                for j in range(2)
            ]
            for i in range(6)
        ]
    )
    captioner.set_random_state(1, 1)
    loss, summed, _ = captioner.losses_of(batch, training=True)
    expected = nll.mean() + by_hand(outputs, nll, mask, 2.0, scale)
    assert 0 < outputs["sampled"].sum() < 12
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(summed, nll.sum(), rtol=1e-5)
    # And the average moves on: a tenth of what was drawn here.
    reward = nll / mask.sum(-1) if scale == "released" else nll
    now = np.average(reward, weights=outputs["sampled"])
    np.testing.assert_allclose(
        captioner.hard.average,
        [0.9 * 1.4 + 0.1 * now, 0.9 * 0.7 + 0.1],
        rtol=1e-5,
    )


def slowly(captioner, batch, sampling, gumbel_temperature):
    """Logits step by step, differentiated by TensorFlow."""
    cell, attend = captioner.decoder.cell, captioner.decoder.cell.attention
    annotations = batch["annotations"]
    keys = attend.project(annotations)
    hidden, state = captioner.initial_state(annotations)
    hidden, state = hidden[:, None], state[:, None]
    words = captioner.embedding(batch["tokens"][:, :, :-1])
    logits, attentions = [], []
    for t in range(words.shape[2]):
        _, attention = attend(hidden, annotations, keys=keys)
        scores = tf.math.log(attention) + sampling.noise[t]
        place = tf.one_hot(tf.argmax(scores, -1), L)
        if gumbel_temperature:
            relaxed = tf.nn.softmax(scores / gumbel_temperature)
            place = relaxed + tf.stop_gradient(place - relaxed)
        mask = sampling.sampled[..., None] > 0
        context = tf.matmul(tf.where(mask, place, attention), annotations)
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
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_those_of_the_steps(gumbel_temperature, compiled):
    captioner = made(
        **HARD, gumbel_temperature=gumbel_temperature, compiled=compiled
    )
    batch = batch_of(8)
    batch["annotations"] = batch["annotations"] + random_array(8, L, D)
    captioner.hard.soft_attention_probability = 0.5
    captioner.set_random_state(2, 2)
    sampling = captioner.hard.sampling(
        batch["tokens"][:, :, :-1], batch["annotations"]
    )
    assert 0 < np.sum(sampling.sampled) < 8
    found = []
    for run in (
        lambda: captioner(batch, training=True),
        lambda: slowly(captioner, batch, sampling, gumbel_temperature),
    ):
        captioner.set_random_state(2, 2)
        with tf.GradientTape() as tape:
            outputs = run()
            if isinstance(outputs, dict):
                outputs = outputs["logits"], outputs["attention"]
            total = sum(
                tf.reduce_sum(x * random_array(*x.shape, seed=i))
                for i, x in enumerate(outputs)
            )
        gradients = tape.gradient(total, captioner.trainable_variables)
        found.append([*outputs, *map(tf.convert_to_tensor, gradients)])
    assert_close(*found, rtol=1e-4, atol=1e-4)


def test_a_step_of_training_is_repeatable_and_testing_draws_nothing():
    captioner = made(attention="hard", compiled=True)
    captioner.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    batch = batch_of(4, k=2)
    losses = []
    for step in (0, 0, 1):
        captioner.hard.average.assign([0.0, 0.0])
        captioner.set_random_state(3, step)
        captioner.reset_metrics()
        losses.append(captioner.train_on_batch(batch)[0])
    assert losses[0] == losses[1] != losses[2]
    tested = []
    for _ in range(2):
        captioner.reset_metrics()
        tested.append(captioner.test_on_batch(batch)[0])
    assert tested[0] == tested[1]


def test_a_file_holds_the_baseline(tmp_path):
    captioner = made(attention="hard", attention_temperature=2.0)
    captioner.hard.average.assign([3.0, 0.5])
    path = tmp_path / "hard.keras"
    captioner.save(path)
    again = keras.saving.load_model(path)
    assert again.arguments == captioner.arguments
    np.testing.assert_array_equal(again.hard.average, [3.0, 0.5])
    batch = batch_of(2)
    assert_close(again(batch), captioner(batch))


@pytest.mark.parametrize(
    "wrong",
    [
        {"reinforce_scale": "batch"},
        {"attention_samples": 0},
        {"attention_temperature": 0.0},
        {"attention": "firm"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong):
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=f"Received: .*{value}"):
        Captioner(**{**TINY, "attention": "hard", **wrong})
