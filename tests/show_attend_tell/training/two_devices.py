"""Runs on two logical CPU devices, which a process has from its start.

    python -m tests.show_attend_tell.training.two_devices compare PART...
    python -m tests.show_attend_tell.training.two_devices train --workdir=...

The first prints, as JSON, how far training on both is from training on one,
for each of `PARTS` that is named; the second is the command of that name.
"""

import contextlib
import json
import runpy
import sys

import keras
import numpy as np
import tensorflow as tf

from pipelines.vocabulary import END, START
from show_attend_tell.model import Captioner
from show_attend_tell.objectives.hard_attention import HardAttention
from show_attend_tell.objectives.self_critical import SelfCritical

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
        for place in np.argwhere(np.array(lengths)):
            n, k = place
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


def built(learns=False, **arguments) -> Captioner:
    keras.utils.set_random_seed(1)
    if learns:
        arguments |= {
            "encoder": encoder(),
            "encoder_learning_rate_multiplier": 0.3,
        }
    captioner = Captioner(
        V,
        embedding_size=4,
        units=3,
        attention_units=2,
        initial_units=4,
        **arguments,
        name="captioner",
    )
    captioner.decoder.jit_compile = False
    captioner.build({"annotations": (None, L, D), "tokens": (None, None, None)})
    captioner.compile(
        keras.optimizers.Adam(0.05, global_clipnorm=0.5), jit_compile=False
    )
    return captioner


def trained(scope, self_critical=False, **arguments):
    """Returns the model after three steps, its means, and how it began."""
    with scope:
        model = built(**arguments)
        if self_critical:
            captions = [  # Of each image other words, or all score nothing.
                [np.array([START, *words, END]) for words in ([n, 7], [n])]
                for n in range(3, 3 + N)
            ]
            model.objective = SelfCritical(model, captions, 4, 3)
    start = numbers(model)[:1]
    means = model.fit(dataset(), steps_per_epoch=STEPS, verbose=0).history
    return model, means, start


def numbers(model: Captioner) -> list[np.ndarray]:
    own = model.trainable_variables
    if model.average:
        own = own + model.average.averages
    own = own + model.optimizer.variables
    return [keras.ops.convert_to_numpy(variable) for variable in own]


def largest_difference(left, right) -> float:
    pairs = zip(left, right, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def difference(one, two) -> dict[str, float]:
    (one, one_means, start), (two, two_means, _) = one, two
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


def dropout(strategy) -> dict[str, float]:
    """How far logits are from each other that only chance makes differ."""
    with strategy.scope():
        model = built(dropout=0.5)
    batch = batches()[0]

    @tf.function
    def run():
        return strategy.run(lambda: model(batch, training=True)["logits"])

    def logits(step):
        model.set_random_state(7, step)
        return [x.numpy() for x in strategy.experimental_local_results(run())]

    first, again, later = logits(0), logits(0), logits(1)
    return {
        "again": largest_difference(first, again),
        "later": largest_difference(first, later),
        "other_device": largest_difference(first[:1], first[1:]),
    }


def likelihood(strategy) -> dict[str, float]:
    arguments = {
        "dropout": 0.0,
        "regularizer_weight": 1.0,
        "label_smoothing": 0.1,
        "ema": 0.9,
        "learns": True,
    }
    return difference(
        trained(contextlib.nullcontext(), **arguments),
        trained(strategy.scope(), **arguments),
    )


def self_critical(strategy) -> dict[str, float]:
    return difference(
        trained(contextlib.nullcontext(), self_critical=True),
        trained(strategy.scope(), self_critical=True),
    )


def hard(strategy, scale: str = "caption") -> dict[str, float]:
    """The loss of positions in three batches, and the moving baseline."""
    rng = np.random.default_rng(2)
    shape, half = (N, K, 6, L), N // 2
    results = []
    with strategy.scope():
        two = HardAttention(0.5, 1.0, 0.1, 0.9, scale, 1, 0.0)
    one = HardAttention(0.5, 1.0, 0.1, 0.9, scale, 1, 0.0)

    def shared(nll, outputs, mask):
        def own():
            number = tf.distribute.get_replica_context()
            first = half * number.replica_id_in_sync_group
            rows = tf.nest.map_structure(
                lambda x: x[first : first + half], (nll, outputs, mask)
            )
            return two.loss(*rows)

        return strategy.reduce("SUM", strategy.run(own), axis=None)

    shared = tf.function(shared)
    for drawn in ((1, 1, 1, 1), (1, 0, 0, 0), (0, 1, 1, 1)):
        mask = np.ones(shape[:3], bool)
        mask[3], mask[0, 1, 3:] = False, False
        context_weights = np.eye(L, dtype="f")[rng.integers(0, L, shape[:3])]
        batch = (
            rng.uniform(1, 9, (N, K)).astype("f"),
            {
                "attention": rng.dirichlet(np.ones(L), shape[:3]).astype("f"),
                "context_weights": context_weights,
                "sampled": np.repeat(np.float32(drawn)[:, None], K, axis=1),
            },
            mask,
        )
        batch = tf.nest.map_structure(tf.constant, batch)
        results.append((float(one.loss(*batch)), float(shared(*batch))))
    averages = [keras.ops.convert_to_numpy(x.average) for x in (one, two)]
    return {
        "loss": max(abs(a - b) / abs(a) for a, b in results),
        "baseline": largest_difference(*[[x] for x in averages]),
        "moved": float(averages[0][0]),
    }


def released(strategy) -> dict[str, float]:
    return hard(strategy, "released")


PARTS = {
    part.__name__: part
    for part in (likelihood, self_critical, hard, released, dropout)
}


def compare(names) -> dict[str, dict[str, float]]:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return {name: PARTS[name](strategy) for name in names}


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    del sys.argv[0]
    if sys.argv[0] == "compare":
        print(json.dumps(compare(sys.argv[1:])))
    else:
        runpy.run_module(f"show_attend_tell.{sys.argv[0]}", run_name="__main__")
