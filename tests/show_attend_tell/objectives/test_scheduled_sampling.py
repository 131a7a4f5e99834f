"""Which previous words are replaced, by what, and how often."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.objectives.scheduled_sampling import ScheduledSampling
from show_attend_tell.training.run import scheduled_share
from show_attend_tell.training.warm_start import copy_weights
from tests import reference
from tests.show_attend_tell.test_model import batch_of, made

V = 7


def captions(n, k, steps):
    """Captions of many lengths, words 4 to 6."""
    rng = np.random.default_rng(0)
    tokens = np.full((n, k, steps + 1), PADDING, np.int32)
    for number, index in enumerate(np.ndindex(n, k)):
        length = number % steps
        tokens[index][: length + 2] = [
            START,
            *rng.integers(4, V, length),
            END,
        ]
    return tokens


def test_every_word_is_drawn_at_one_and_none_at_zero():
    tokens = captions(40, 5, 9)
    # Certain of <unk>, which no caption has.
    logits = np.zeros((40, 5, 9, V), np.float32)
    logits[..., UNKNOWN] = 60.0
    mixed = np.array(ScheduledSampling(1.0).mixed(tokens, lambda: logits))
    expected = np.where(tokens > END, UNKNOWN, tokens)
    np.testing.assert_array_equal(mixed, expected)
    assert (mixed == UNKNOWN).sum() > 700
    same = ScheduledSampling(0.0).mixed(tokens, lambda: logits)
    np.testing.assert_array_equal(same, tokens)


def test_the_share_is_right_and_the_words_are_the_models():
    tokens = captions(600, 5, 9)
    rng = np.random.default_rng(3)
    row = rng.normal(0, 1.5, V).astype(np.float32)
    row[:UNKNOWN] = 9.0  # What is never said is never drawn, however likely.
    row[UNKNOWN] = -9.0
    logits = np.broadcast_to(row, (600, 5, 9, V))
    layer = ScheduledSampling(0.3)
    words = tokens > END
    mixed = np.array(layer.mixed(tokens, lambda: logits))
    np.testing.assert_array_equal(mixed[~words], tokens[~words])
    likely = np.exp(row[4:]) / np.exp(row[4:]).sum()
    count = words.sum()
    for number, p in enumerate(likely):
        at = tokens[words] == 4 + number
        # Words that stay show neither the share nor the draw.
        differ = (mixed[words] != tokens[words])[at].mean()
        expected = 0.3 * (1 - p)
        error = np.sqrt(expected * (1 - expected) / at.sum())
        assert abs(differ - expected) < 4 * error
    layer.probability.assign(1.0)
    drawn = np.array(layer.mixed(tokens, lambda: logits))[words]
    for number, p in enumerate(likely):
        error = np.sqrt(p * (1 - p) / count)
        assert abs((drawn == 4 + number).mean() - p) < 4 * error


def test_words_are_those_that_the_model_expects_there():
    """The second pass, against NumPy, with words that can be told before."""
    model = made(scheduled_sampling=1.0)
    model.sampling.probability.assign(1.0)  # `made` draws all weights.
    calm = made()
    # So far apart that the likeliest is as good as certain.
    kernel = model.output_layer.output_kernel
    kernel.assign(400 * kernel)
    copy_weights(model, calm)
    batch = batch_of(n=3)
    tokens = batch["tokens"]
    logits = np.array(calm(batch)["logits"])
    logits[..., :UNKNOWN] = -np.inf
    mixed = tokens.copy()
    best = logits.argmax(-1)
    mixed[..., 1:] = np.where(tokens[..., 1:] > END, best, tokens[..., 1:])
    assert (mixed != tokens).any()
    found = model.losses_of(batch, training=True)
    second = np.array(calm({**batch, "tokens": mixed})["logits"], np.float64)
    targets = tokens[..., 1:]
    nll = [
        reference.caption_nll(second[i], targets[i], targets[i] != PADDING)
        for i in np.ndindex(targets.shape[:2])
    ]
    np.testing.assert_allclose(found[1], np.sum(nll), rtol=1e-5)
    # Measuring is with people's words.
    expected = calm.losses_of(batch, training=False)
    np.testing.assert_array_equal(
        model.losses_of(batch, training=False), expected
    )


def gradients(model, batch):
    with tf.GradientTape() as tape:
        loss = model.losses_of(batch, training=True)[0]
    found = tape.gradient(loss, model.trainable_variables)
    return [tf.convert_to_tensor(g).numpy() for g in found]


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_at_zero_nothing_changes(attention):
    arguments = {"attention": attention, "dropout": 0.4}
    plain = made(**arguments)
    sampled = made(scheduled_sampling=0.5, **arguments)
    copy_weights(plain, sampled)
    sampled.sampling.probability.assign(0.0)
    found = []
    for model in (plain, sampled):
        model.set_random_state(3, 17)
        found.append(gradients(model, batch_of()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    sampled.sampling.probability.assign(1.0)
    sampled.set_random_state(3, 17)
    assert np.any(gradients(sampled, batch_of())[0] != found[0][0])


@pytest.mark.parametrize("attention", ["soft", "hard"])
def test_chance_follows_from_seed_and_step(attention):
    model, batch = (
        made(scheduled_sampling=0.5, dropout=0.3, attention=attention),
        batch_of(n=3),
    )
    model.sampling.probability.assign(0.5)

    def losses(step, count):
        model.set_random_state(0, step, first=10)
        return [
            float(model.losses_of(batch, training=True)[1])
            for _ in range(count)
        ]

    whole = losses(10, 4)
    assert len(set(whole)) == 4
    assert losses(12, 2) == whole[2:]


def test_the_share_grows_evenly():
    config = RunConfig().replace(scheduled_sampling=0.4, epochs=5)
    shares = [scheduled_share(config, epoch) for epoch in range(5)]
    np.testing.assert_allclose(shares, [0, 0.1, 0.2, 0.3, 0.4])
    assert scheduled_share(config.replace(epochs=1), 0) == 0.4
