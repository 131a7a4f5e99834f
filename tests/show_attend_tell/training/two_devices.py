"""Runs on two logical CPU devices, which a process has from its start.

    python -m tests.show_attend_tell.training.two_devices compare
    python -m tests.show_attend_tell.training.two_devices train --workdir=...

The first prints, as JSON, how far training on both is from training on one;
the second is the command of that name.
"""

import contextlib
import json
import runpy
import sys

import keras
import numpy as np
import tensorflow as tf

from pipelines.vocabulary import END, START
from show_attend_tell.objectives import HardAttention, Likelihood, SelfCritical
from show_attend_tell.training.train_step import CaptionerTrainer
from tests.show_attend_tell import tiny

N, K, L, D, V, STEPS = 4, 2, 5, 3, 8, 3
# Words of each caption, by batch, image and caption. Captions of padding
# count nothing: the shares of the two devices are of 4 and 1, 2 and 0, ...
LENGTHS = (
    ((3, 5), (2, 4), (0, 0), (5, 0)),
    ((4, 2), (0, 0), (0, 0), (0, 0)),
    ((1, 3), (4, 0), (5, 5), (2, 1)),
)


def batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = []
    for lengths in LENGTHS:
        tokens = np.zeros((N, K, 8), np.int32)
        for n, k in np.argwhere(np.array(lengths)):
            words = rng.integers(END + 1, V, lengths[n][k])
            tokens[n, k, : len(words) + 2] = [START, *words, END]
        examples = np.where(np.any(tokens, axis=(1, 2)), np.arange(N), -1)
        made.append(
            {
                "annotations": rng.normal(size=(N, L, D)).astype(np.float32),
                "tokens": tokens,
                "examples": examples.astype(np.int32),
            }
        )
    return made


def dataset() -> tf.data.Dataset:
    """Batches that come from Python, as those of training do."""
    made = batches()
    names, kinds = ("annotations", "tokens", "examples"), "fii"
    shapes = ((N, L, D), (N, K, None), (N,))

    def load(number):
        values = tf.numpy_function(
            lambda i: [made[i][name] for name in names],
            [number],
            [np.dtype(kind) for kind in kinds],
            stateful=False,
        )
        for value, shape in zip(values, shapes, strict=True):
            value.set_shape(shape)
        return dict(zip(names, values, strict=True))

    return tf.data.Dataset.range(STEPS).map(load)


def encoder() -> keras.Model:
    """One that learns, more slowly than the rest."""
    pixels = keras.Input((L, D))
    features = keras.layers.Dense(D, activation="relu")(pixels)
    return keras.Model(pixels, keras.layers.Reshape((L, 1, D))(features))


def make_captioner(finetune=False, dropout=0.0):
    keras.utils.set_random_seed(1)
    return tiny.make_captioner(
        1,
        vocabulary_size=V,
        shapes={"annotations": (None, L, D), "tokens": (None, None, None)},
        encoder=encoder() if finetune else None,
        dropout=dropout,
    )


def trained(scope, make_objective, ema=False, **options):
    """Returns the trainer after three steps, its means, and how it began."""
    with scope:
        trainer = CaptionerTrainer(
            make_captioner(**options),
            make_objective(),
            encoder_learning_rate_multiplier=0.3,
        )
        optimizer = keras.optimizers.Adam(
            0.025, global_clipnorm=0.5, use_ema=ema, ema_momentum=0.9
        )
        trainer.compile(optimizer, jit_compile=False)
    captions = [  # Of each image other words, or all score nothing.
        [np.array([START, *words, END]) for words in ([n, 7], [n])]
        for n in range(3, 3 + N)
    ]
    trainer.objective.adapt(captions)
    start = numbers(trainer)[:1]
    means = trainer.fit(dataset(), steps_per_epoch=STEPS, verbose=0).history
    return trainer, means, start


def numbers(trainer) -> list[np.ndarray]:
    return [
        keras.ops.convert_to_numpy(variable)
        for variable in [
            *trainer.trainable_variables,
            *trainer.optimizer.variables,
        ]
    ]


def largest_difference(left, right) -> float:
    pairs = zip(left, right, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def difference(strategy, *arguments, **options) -> dict[str, float]:
    one, one_means, start = trained(
        contextlib.nullcontext(), *arguments, **options
    )
    two, two_means, _ = trained(strategy.scope(), *arguments, **options)
    names = sorted(one_means)
    return {
        "weights": largest_difference(numbers(one), numbers(two)),
        "means": largest_difference(
            *[[np.array(m[x]) for x in names] for m in (one_means, two_means)]
        ),
        "moved": largest_difference(numbers(one)[:1], start),
        "steps": two.steps_taken(),
        "reward": two_means.get("reward", [0.0])[0],
    }


def likelihood(strategy) -> dict[str, float]:
    return difference(
        strategy,
        lambda: Likelihood(1.0, label_smoothing=0.1),
        ema=True,
        finetune=True,
    )


def self_critical(strategy) -> dict[str, float]:
    return difference(
        strategy,
        lambda: SelfCritical(max_words=4, reward_samples=3),
        dropout=0.5,
    )


def dropout(strategy) -> dict[str, float]:
    """How far logits are from each other that only randomness makes differ."""
    with strategy.scope():
        trainer = CaptionerTrainer(make_captioner(dropout=0.5), Likelihood())
    batch = batches()[0]

    @tf.function
    def run():
        return strategy.run(lambda: trainer(batch, training=True)["logits"])

    def logits(step):
        trainer.set_random_state(7, step)
        return [x.numpy() for x in strategy.experimental_local_results(run())]

    first, again, later = logits(0), logits(0), logits(1)
    return {
        "again": largest_difference(first, again),
        "later": largest_difference(first, later),
        "other_device": largest_difference(first[:1], first[1:]),
    }


def hard_attention(strategy, scale: str = "caption") -> dict[str, float]:
    """The loss of locations in three batches, and the moving baseline."""
    rng = np.random.default_rng(2)
    shape, half = (N, K, 6, L), N // 2
    options = {
        "reinforce_weight": 1.0,
        "entropy_weight": 0.1,
        "reinforce_scale": scale,
    }
    with strategy.scope():
        two = HardAttention(**options)
    one, results = HardAttention(**options), []

    def shared(*arguments):
        def of_replica():
            context = tf.distribute.get_replica_context()
            first = half * context.replica_id_in_sync_group
            rows = tf.nest.map_structure(
                lambda x: x[first : first + half], arguments
            )
            return two.sampling_loss(*rows)

        return strategy.reduce("SUM", strategy.run(of_replica), axis=None)

    shared = tf.function(shared)
    for sampled in ((1, 1, 1, 1), (1, 0, 0, 0), (0, 1, 1, 1)):
        mask = np.ones(shape[:3], bool)
        mask[3], mask[0, 1, 3:] = False, False
        locations = np.eye(L, dtype="f")[rng.integers(0, L, shape[:3])]
        arguments = (
            rng.uniform(1, 9, (N, K)).astype("f"),
            {
                "attention": rng.dirichlet(np.ones(L), shape[:3]).astype("f"),
                "context_weights": locations,
            },
            np.repeat(np.float32(sampled)[:, None], K, axis=1),
            mask,
        )
        arguments = tf.nest.map_structure(tf.constant, arguments)
        results.append(
            (float(one.sampling_loss(*arguments)), float(shared(*arguments)))
        )
    averages = [keras.ops.convert_to_numpy(x.average) for x in (one, two)]
    return {
        "loss": max(abs(a - b) / abs(a) for a, b in results),
        "baseline": largest_difference(*[[x] for x in averages]),
        "moved": float(averages[0][0]),
    }


def released(strategy) -> dict[str, float]:
    return hard_attention(strategy, "released")


def compare() -> dict[str, dict[str, float]]:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    parts = (likelihood, self_critical, hard_attention, released, dropout)
    return {part.__name__: part(strategy) for part in parts}


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    del sys.argv[0]
    if sys.argv[0] == "compare":
        print(json.dumps(compare()))
    else:
        runpy.run_module(f"show_attend_tell.{sys.argv[0]}", run_name="__main__")
