"""Self-critical training against every caption that there is."""

import collections
import functools

import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.metrics.bleu import bleu_counts, smoothed_bleu
from show_attend_tell.objectives import SelfCritical
from tests import reference
from tests.show_attend_tell import tiny
from tests.show_attend_tell.layers.checks import named_weights, random_array

L, D, V = 3, 2, 6
WORDS, MAX_WORDS = (4, 5), 3  # And the end: 22 captions, 8 of them cut.
BLEU_WEIGHT, METEOR_WEIGHT = 2.0, 3.0
# Of three images; unknown words too, which are never sampled.
CAPTIONS = [
    [[START, 4, 5, END], [START, 5, 3, 4, END]],
    [[START, 5, 5, END]],
    [[START, 4, 4, 5, 5, END], [START, 3, END]],
]


def make_captioner(scale=1.0, seed=3):
    captioner = tiny.make_captioner(
        vocabulary_size=V,
        shapes={"annotations": (None, L, D), "tokens": (None, None, None)},
        embedding_size=2,
        units=2,
        attention_units=2,
        initial_units=0,
        dropout=0.5,
    )
    for number, weight in enumerate(captioner.trainable_weights):
        weight.assign(
            random_array(*weight.shape, seed=seed + number, scale=scale)
        )
    return captioner


def make_objective(**options):
    objective = SelfCritical(
        **{
            "max_words": MAX_WORDS,
            "reward_samples": 3,
            "reward_bleu": BLEU_WEIGHT,
            "reward_meteor": METEOR_WEIGHT,
            "regularizer_weight": 0.0,
            **options,
        },
    )
    objective.adapt([[np.array(c) for c in each] for each in CAPTIONS])
    return objective


def batch_of(examples):
    annotations = np.maximum(random_array(3, L, D, seed=5, scale=2.0), 0)
    return {
        "annotations": annotations[np.maximum(examples, 0)],
        "tokens": np.zeros((len(examples), 2, 5), np.int32),
        "examples": np.array(examples, np.int32),
    }


@functools.cache
def reward_of(caption, example):
    """By pycocoevalcap and by plain counting; the end is a word."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    def text(tokens):
        return " ".join(f"w{token}" for token in tokens)

    scorer = CiderScorer()
    for number, captions in enumerate(CAPTIONS):
        candidate = text(caption) if number == example else ""
        scorer += (candidate, [text(c[1:]) for c in captions])
    cider = scorer.compute_score()[1][example]
    counts = bleu_counts([caption], [[c[1:] for c in CAPTIONS[example]]])
    bleu = smoothed_bleu(counts)[0]
    meteor = max(meteor_of(caption, c[1:]) for c in CAPTIONS[example])
    return cider + BLEU_WEIGHT * bleu + METEOR_WEIGHT * meteor


def meteor_of(caption, reference):
    """Counts plainly what `exact_meteor` describes."""

    def matches(n):
        ours, theirs = (
            collections.Counter(zip(*(x[i:] for i in range(n)), strict=False))
            for x in (caption, reference)
        )
        return (ours & theirs).total()

    words = matches(1)
    if not words:
        return 0.0
    precision, recall = words / len(caption), words / len(reference)
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    chunks = max(words - matches(2), 1)
    return (1 - 0.6 * (chunks / words) ** 0.2) * mean


def expected_reward(annotations, w, example, temperature):
    """Sums probability times reward over all captions, in NumPy."""
    cell_weights = reference.below(w, "decoder/cell")

    def onwards(words, hidden, cell):
        before = w["embedding/embeddings"][words[-1] if words else START]
        step = reference.decoder_step(
            before, hidden, cell, annotations, cell_weights
        )
        logits = reference.deep_output(
            before, step.hidden, step.context, reference.below(w, "output")
        )
        # Neither padding, nor start, nor unknown; no end before a word.
        choice = [*WORDS, END] if words else [*WORDS]
        each = reference.softmax(logits[choice] / temperature)
        p = dict(zip(choice, each, strict=True))
        total = 0.0
        if words:
            total += p[END] * reward_of((*words, END), example)
        if len(words) == MAX_WORDS:
            return total + (1 - p[END]) * reward_of(words, example)
        for word in WORDS:
            total += p[word] * onwards((*words, word), step.hidden, step.cell)
        return total

    state = reference.initial_state(
        annotations, reference.below(w, "initial_state")
    )
    return onwards((), *state)


@pytest.mark.proof
@pytest.mark.parametrize(
    "options",
    [
        {"reward_baseline": "others"},
        {
            "reward_baseline": "greedy",
            "reward_samples": 2,
            "reward_temperature": 0.7,
        },
    ],
    ids=lambda options: options["reward_baseline"],
)
def test_the_mean_gradient_is_that_of_the_expected_reward(options):
    # All words, also the unknown one, are likely at every step.
    captioner, objective = make_captioner(seed=58), make_objective(**options)
    batch = batch_of([0] * 500)
    trained = captioner.trainable_variables

    @tf.function
    def gradients(step):
        inputs = objective.prepare(captioner, batch, step)
        with tf.GradientTape() as tape:
            loss = objective.compute_losses(captioner, inputs, True).loss
        return [
            tf.convert_to_tensor(g) for g in tape.gradient(loss, trained)
        ], tf.reduce_mean(tf.cast(inputs["finished"], tf.float32))

    samples, finished = zip(
        *[gradients(tf.constant(step)) for step in range(60)], strict=True
    )
    assert 0.2 < np.mean(finished) < 0.8  # Both kinds matter.
    weights = tiny.float64_weights(captioner)
    annotations = batch["annotations"][0].astype(np.float64)
    temperature = options.get("reward_temperature", 1.0)
    exact = reference.numeric_gradient(
        lambda weights: -expected_reward(annotations, weights, 0, temperature),
        weights,
    )
    checked = 0
    for index, name in enumerate(named_weights(captioner)):
        each = np.stack([np.asarray(g[index], np.float64) for g in samples])
        error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
        away = np.abs(each.mean(axis=0) - exact[name])
        assert np.all(away <= 4 * error + 1e-5), name
        checked += np.count_nonzero(np.abs(exact[name]) > 4 * error)
    assert checked > 30  # Far enough from zero to tell.


@pytest.mark.parametrize("baseline", ["others", "greedy"])
def test_advantages_are_rewards_less_the_baseline(baseline):
    captioner, batch = make_captioner(), batch_of([2, -1, 0, 1])
    objective = make_objective(reward_baseline=baseline, seed=4)
    inputs = objective.prepare(captioner, batch, 0)
    tokens, rewards = np.asarray(inputs["tokens"]), {}
    for row in (0, 2, 3):
        assert (tokens[row, :, 0] == START).all()
        captions = [
            tuple(int(t) for t in c if t != PADDING) for c in tokens[row, :, 1:]
        ]
        ends = [caption[-1] == END for caption in captions]
        np.testing.assert_array_equal(inputs["finished"][row], ends)
        example = batch["examples"][row]
        rewards[row] = [reward_of(c, example) for c in captions]
        for k in range(3):
            other = np.delete(rewards[row], k).mean()
            if baseline == "greedy":
                best = greedy(captioner, batch["annotations"][row])
                other = reward_of(best, example)
            np.testing.assert_allclose(
                inputs["advantage"][row, k], rewards[row][k] - other, atol=1e-5
            )
    # The empty row neither counts in the mean nor teaches anything.
    assert (tokens[1] == PADDING).all()
    np.testing.assert_allclose(
        objective.metrics[0].result(),
        np.mean(list(rewards.values())),
        rtol=1e-5,
    )


def greedy(captioner, annotations):
    """The likeliest word at every step, by calling the model anew."""
    words = [START]
    while len(words) < MAX_WORDS + 2:
        logits = captioner(
            {
                "annotations": annotations[None],
                "tokens": np.array([[[*words, PADDING]]]),
            }
        )["logits"][0, 0, -1]
        allowed = [*WORDS, END] if len(words) > 1 else [*WORDS]
        best = max(allowed, key=lambda word: float(logits[word]))
        if len(words) == MAX_WORDS + 1 and best != END:
            break
        words.append(best)
        if best == END:
            break
    return tuple(words[1:])


def test_the_loss_of_given_captions_by_hand():
    captioner, batch = make_captioner(), batch_of([0, 1, -1])
    objective = make_objective(regularizer_weight=0.7)
    tokens = np.zeros((3, 2, MAX_WORDS + 2), np.int32)
    tokens[0] = [[START, 4, END, 0, 0], [START, 5, 4, 5, 0]]  # One is cut.
    tokens[1] = [[START, 4, 4, 5, END], [START, 5, 5, END, 0]]
    finished = np.array([[True, False], [True, True], [False, False]])
    advantage = np.array([[1.5, -2.0], [0.5, 3.0], [7, 7]], np.float32)
    weights = tiny.float64_weights(captioner)
    loss = nll = 0.0
    for i, k in np.ndindex(2, 2):
        logits, attention = reference.caption_loop(
            tokens[i, k], batch["annotations"][i].astype(np.float64), weights
        )
        log_p = 0.0
        mask = tokens[i, k, 1:] != PADDING
        for t, word in enumerate(tokens[i, k, 1:]):
            choice = [*WORDS, END] if t else [*WORDS]
            each = reference.softmax(logits[t][choice])
            p = dict(zip(choice, each, strict=True))
            if word != PADDING:
                log_p += np.log(p[word])
            elif not finished[i, k]:
                log_p += np.log(1 - p[END])
        penalty = reference.doubly_stochastic(attention, mask, 0.7)
        loss += (-advantage[i, k] * log_p + penalty) / 4
        nll -= log_p
    inputs = {"tokens": tokens, "finished": finished, "advantage": advantage}
    losses = objective.compute_losses(captioner, {**batch, **inputs}, True)
    np.testing.assert_allclose(losses, [loss, nll, 12], rtol=1e-5)


def test_samples_follow_from_seed_and_step():
    captioner, batch = make_captioner(), batch_of([0, 1, 2] * 20)
    objective, samples = make_objective(), []
    for objective.seed, step in ((0, 0), (0, 0), (1, 0), (0, 1)):
        inputs = objective.prepare(captioner, batch, step)
        samples.append(np.asarray(inputs["tokens"]).tolist())
    assert samples[0] == samples[1]
    assert samples[0] != samples[2] and samples[0] != samples[3]


def test_training_raises_the_reward():
    trainer = tiny.make_trainer(make_captioner(0.3), make_objective())
    batch = batch_of([0, 1, 2] * 20)
    rewards = []
    for _ in range(40):
        trainer.reset_metrics()
        logs = trainer.train_on_batch(batch, return_dict=True)
        rewards.append(logs["reward"])
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.5


@pytest.mark.parametrize(
    "wrong", [{"reward_baseline": "none"}, {"reward_samples": 1}]
)
def test_options_out_of_range_are_refused(wrong):
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=f"Received: .*{value}"):
        make_objective(**wrong)


@pytest.mark.parametrize("images", [1, 2])
def test_rewards_that_are_undefined_are_refused(images):
    captions = [[np.array(CAPTIONS[0][0])]] * images
    objective = make_objective(reward_bleu=0.0, reward_meteor=0.0)
    with pytest.raises(UserError, match=f"Received: {images} training images"):
        objective.adapt(captions)
    make_objective().adapt(captions)
