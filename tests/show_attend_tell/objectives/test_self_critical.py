"""Self-critical training against every caption that there is."""

import collections
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.metrics.bleu import bleu_counts, smoothed_bleu
from show_attend_tell.model import Captioner
from show_attend_tell.objectives.self_critical import SelfCritical
from tests import reference
from tests.show_attend_tell.layers.checks import named_weights, random_array

L, D, V = 3, 2, 6
WORDS, MAX_WORDS = (4, 5), 3  # And the end: 22 captions, 8 of them cut.
BLEU_WEIGHT, METEOR_WEIGHT = 2.0, 3.0
# Of three images; unknown words too, which are never said.
CAPTIONS = [
    [[START, 4, 5, END], [START, 5, 3, 4, END]],
    [[START, 5, 5, END]],
    [[START, 4, 4, 5, 5, END], [START, 3, END]],
]


def made(scale=1.0, seed=3, **arguments):
    captioner = Captioner(
        **{
            "vocabulary_size": V,
            "embedding_size": 2,
            "units": 2,
            "attention_units": 2,
            "initial_units": 0,
            "dropout": 0.5,
            "regularizer_weight": 0.0,
            **arguments,
        },
        name="captioner",
    )
    captioner.decoder.jit_compile = False
    captioner.build({"annotations": (None, L, D), "tokens": (None, None, None)})
    for number, weight in enumerate(captioner.trainable_weights):
        weight.assign(
            random_array(*weight.shape, seed=seed + number, scale=scale)
        )
    optimizer = keras.optimizers.Adam(0.05)
    captioner.compile(optimizer=optimizer, jit_compile=False)
    return captioner


def objective_of(captioner, **arguments):
    return SelfCritical(
        captioner,
        [[np.array(c) for c in each] for each in CAPTIONS],
        **{
            "max_words": MAX_WORDS,
            "samples": 3,
            "bleu_weight": BLEU_WEIGHT,
            "meteor_weight": METEOR_WEIGHT,
            **arguments,
        },
    )


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
        said = text(caption) if number == example else ""
        scorer += (said, [text(c[1:]) for c in captions])
    cider = scorer.compute_score()[1][example]
    counts = bleu_counts([caption], [[c[1:] for c in CAPTIONS[example]]])
    bleu = smoothed_bleu(counts)[0]
    meteor = max(meteor_of(caption, c[1:]) for c in CAPTIONS[example])
    return cider + BLEU_WEIGHT * bleu + METEOR_WEIGHT * meteor


def meteor_of(caption, reference):
    """Counts plainly what `exact_meteor` describes."""

    def matches(n):
        said, written = (
            collections.Counter(zip(*(x[i:] for i in range(n)), strict=False))
            for x in (caption, reference)
        )
        return (said & written).total()

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

    def onwards(said, hidden, cell):
        before = w["embedding/embeddings"][said[-1] if said else START]
        step = reference.decoder_step(
            before, hidden, cell, annotations, cell_weights
        )
        logits = reference.deep_output(
            before, step.hidden, step.context, reference.below(w, "output")
        )
        # Neither padding, nor start, nor unknown; no end before a word.
        choice = [*WORDS, END] if said else [*WORDS]
        each = reference.softmax(logits[choice] / temperature)
        p = dict(zip(choice, each, strict=True))
        total = 0.0
        if said:
            total += p[END] * reward_of((*said, END), example)
        if len(said) == MAX_WORDS:
            return total + (1 - p[END]) * reward_of(said, example)
        for word in WORDS:
            total += p[word] * onwards((*said, word), step.hidden, step.cell)
        return total

    state = reference.initial_state(
        annotations, reference.below(w, "initial_state")
    )
    return onwards((), *state)


@pytest.mark.proof
@pytest.mark.parametrize(
    "arguments",
    [
        {"baseline": "others"},
        {"baseline": "greedy", "samples": 2, "temperature": 0.7},
    ],
    ids=lambda arguments: arguments["baseline"],
)
def test_the_mean_gradient_is_that_of_the_expected_reward(arguments):
    # All words, also the unknown one, are likely at every step.
    captioner = made(seed=58)
    objective = objective_of(captioner, **arguments)
    batch = batch_of([0] * 500)
    trained = captioner.trainable_variables

    @tf.function
    def gradients():
        said = objective.said(batch)
        with tf.GradientTape() as tape:
            loss, _, _ = objective.losses_of(said, training=True)
        return [
            tf.convert_to_tensor(g) for g in tape.gradient(loss, trained)
        ], tf.reduce_mean(tf.cast(said["finished"], tf.float32))

    found, finished = [], []
    for step in range(60):
        captioner.optimizer.iterations.assign(step)
        each, ended = gradients()
        found.append(each)
        finished.append(float(ended))
    assert 0.2 < np.mean(finished) < 0.8  # Both kinds matter.
    names = {w.path: name for name, w in named_weights(captioner).items()}
    order = [names[w.path] for w in captioner.trainable_weights]
    weights = {
        name: np.asarray(weight, np.float64)
        for name, weight in named_weights(captioner).items()
    }
    annotations = batch["annotations"][0].astype(np.float64)
    exact = reference.numeric_gradient(
        lambda changed: (
            -expected_reward(
                annotations,
                {**weights, **changed},
                0,
                arguments.get("temperature", 1.0),
            )
        ),
        {name: weights[name] for name in order},
    )
    checked = 0
    for index, name in enumerate(order):
        each = np.stack([np.asarray(g[index], np.float64) for g in found])
        error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
        away = np.abs(each.mean(axis=0) - exact[name])
        assert np.all(away <= 4 * error + 1e-5), name
        checked += np.count_nonzero(np.abs(exact[name]) > 4 * error)
    assert checked > 30  # Far enough from zero to tell.


def test_advantages_are_rewards_less_the_baseline():
    captioner = made()
    batch = batch_of([2, -1, 0, 1])
    rewards = {}
    for baseline in ("others", "greedy"):
        objective = objective_of(captioner, baseline=baseline, seed=4)
        said = objective.said(batch)
        tokens = np.asarray(said["tokens"])
        for row in (0, 2, 3):
            assert (tokens[row, :, 0] == START).all()
            captions = [
                tuple(int(t) for t in c if t != PADDING)
                for c in tokens[row, :, 1:]
            ]
            ends = [caption[-1] == END for caption in captions]
            np.testing.assert_array_equal(said["finished"][row], ends)
            rewards[row] = [
                reward_of(c, batch["examples"][row]) for c in captions
            ]
            for k in range(3):
                other = np.delete(rewards[row], k).mean()
                if baseline == "greedy":
                    other = reward_of(
                        greedy(captioner, batch["annotations"][row]),
                        batch["examples"][row],
                    )
                np.testing.assert_allclose(
                    said["advantage"][row, k],
                    rewards[row][k] - other,
                    atol=1e-5,
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
    said = [START]
    while len(said) < MAX_WORDS + 2:
        logits = captioner(
            {
                "annotations": annotations[None],
                "tokens": np.array([[[*said, PADDING]]]),
            }
        )["logits"][0, 0, -1]
        allowed = [*WORDS, END] if len(said) > 1 else [*WORDS]
        best = max(allowed, key=lambda word: float(logits[word]))
        if len(said) == MAX_WORDS + 1 and best != END:
            break
        said.append(best)
        if best == END:
            break
    return tuple(said[1:])


def test_the_loss_of_given_captions_by_hand():
    captioner = made(regularizer_weight=0.7)
    objective = objective_of(captioner)
    batch = batch_of([0, 1, -1])
    tokens = np.zeros((3, 2, MAX_WORDS + 2), np.int32)
    tokens[0] = [[START, 4, END, 0, 0], [START, 5, 4, 5, 0]]  # One is cut.
    tokens[1] = [[START, 4, 4, 5, END], [START, 5, 5, END, 0]]
    finished = np.array([[True, False], [True, True], [False, False]])
    advantage = np.array([[1.5, -2.0], [0.5, 3.0], [7, 7]], np.float32)
    weights = {
        name: np.asarray(weight, np.float64)
        for name, weight in named_weights(captioner).items()
    }
    loss = nll = 0.0
    for i, k in np.ndindex(2, 2):
        logits, attention = reference.caption_loop(
            tokens[i, k], batch["annotations"][i].astype(np.float64), weights
        )
        log_p = 0.0
        mask = tokens[i, k, 1:] != PADDING
        for t, word in enumerate(tokens[i, k, 1:]):
            choice = [*WORDS, END] if t else [*WORDS]
            p = dict(
                zip(choice, reference.softmax(logits[t][choice]), strict=True)
            )
            if word != PADDING:
                log_p += np.log(p[word])
            elif not finished[i, k]:
                log_p += np.log(1 - p[END])
        penalty = reference.doubly_stochastic(attention, mask, 0.7)
        loss += (-advantage[i, k] * log_p + penalty) / 4
        nll -= log_p
    found = objective.losses_of(
        {
            **batch,
            "tokens": tokens,
            "finished": finished,
            "advantage": advantage,
        },
        training=True,
    )
    np.testing.assert_allclose(found, [loss, nll, 12], rtol=1e-5)


def test_chance_follows_from_seed_and_step():
    captioner = made()
    objective = objective_of(captioner)
    batch = batch_of([0, 1, 2] * 20)

    def tokens(seed, step):
        objective.seed = seed
        captioner.optimizer.iterations.assign(step)
        return np.asarray(objective.said(batch)["tokens"])

    first = tokens(0, 0)
    np.testing.assert_array_equal(tokens(0, 0), first)
    assert (tokens(1, 0) != first).any() and (tokens(0, 1) != first).any()


@pytest.mark.parametrize(
    "attention", ["soft", pytest.param("hard", marks=pytest.mark.proof)]
)
def test_training_raises_the_reward(attention):
    captioner = made(0.3, attention=attention)
    captioner.objective = objective_of(captioner)
    batch = batch_of([0, 1, 2] * 20)
    rewards = []
    for _ in range(40):
        captioner.reset_metrics()
        logs = captioner.train_on_batch(batch, return_dict=True)
        rewards.append(logs["reward"])
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.5


def test_a_file_does_not_hold_the_objective(tmp_path):
    captioner = made()
    captioner.objective = objective_of(captioner)
    captioner.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.objective is None
    assert len(again.metrics) == 2 and len(captioner.metrics) == 3


@pytest.mark.parametrize("wrong", [{"baseline": "none"}, {"samples": 1}])
def test_settings_out_of_range_are_refused(wrong):
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=f"Received: .*{value}"):
        objective_of(made(), **wrong)
