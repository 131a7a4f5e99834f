"""Runs on two logical CPU devices, which a process has from its start.

    python -m tests.show_attend_tell.two_devices compare
    python -m tests.show_attend_tell.two_devices train --workdir=...

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
from show_attend_tell.hard_attention import HardAttention
from show_attend_tell.layers import recurrence
from show_attend_tell.model import Captioner
from show_attend_tell.self_critical import SelfCritical

N, K, L, D, V, STEPS = 4, 2, 5, 3, 8, 3
# Words of each caption, by batch, image and caption. Captions of padding
# count nothing: the shares of the two devices are of 4 and 1, 2 and 0, ...
LENGTHS = (
    ((3, 5), (2, 4), (0, 0), (5, 0)),
    ((4, 2), (0, 0), (0, 0), (0, 0)),
    ((1, 3), (4, 0), (5, 5), (2, 1)),
)
EVERYTHING = {
    "dropout": 0.0,
    "regularizer_weight": 1.0,
    "label_smoothing": 0.1,
    "ema": 0.9,
}


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


def built(**arguments) -> Captioner:
    keras.utils.set_random_seed(1)
    captioner = Captioner(
        V,
        embedding_size=4,
        units=3,
        attention_units=2,
        initial_units=4,
        **arguments,
        name="captioner",
    )
    captioner.decoder.unroll = recurrence.unroll
    captioner.build(
        {"annotations": (None, L, D), "tokens": (None, None, None)}
    )
    captioner.compile(
        keras.optimizers.Adam(0.05, global_clipnorm=0.5), jit_compile=False
    )
    return captioner


def trained(scope, self_critical=False, **arguments):
    """Returns the model after three steps, and its means of them."""
    with scope:
        model = built(**arguments)
        if self_critical:
            captions = [
                [np.array([START, *words, END]) for words in ([4, 5], [6, 4])]
                for _ in range(N)
            ]
            model.objective = SelfCritical(model, captions, 4, 3)
    model.seed_dropout(7, 0)
    means = model.fit(dataset(), steps_per_epoch=STEPS, verbose=0).history
    return model, means


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
    (one, one_means), (two, two_means) = one, two
    means = ([np.array(m[name]) for name in sorted(m)]
             for m in (one_means, two_means))
    return {
        "weights": largest_difference(numbers(one), numbers(two)),
        "means": largest_difference(*means),
        "moved": largest_difference(
            numbers(one)[:1], numbers(built())[:1]
        ),
        "steps": two.steps_taken(),
    }


def dropout(strategy) -> dict[str, bool]:
    """Whether chance comes again, and is not the same on both devices."""
    runs = [trained(strategy.scope(), dropout=0.5)[0] for _ in range(2)]
    model, first = runs[0], batches()[0]

    @tf.function
    def loss():
        return strategy.run(lambda: model(first, training=True)["logits"])

    left, right = strategy.experimental_local_results(loss())
    return {
        "comes_again": largest_difference(*map(numbers, runs)) == 0,
        "differs": bool(np.abs(left - right).max() > 1e-3),
    }


def hard(strategy, scale: str) -> dict[str, float]:
    """The loss of places in three batches, and the moving baseline."""
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
        looking = np.eye(L, dtype="f")[rng.integers(0, L, shape[:3])]
        batch = (
            rng.uniform(1, 9, (N, K)).astype("f"),
            {
                "attention": rng.dirichlet(np.ones(L), shape[:3]).astype("f"),
                "looking": looking,
                "drawn": np.repeat(np.float32(drawn)[:, None], K, axis=1),
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


def compare() -> dict:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {
        f"hard_{scale}": hard(strategy, scale)
        for scale in ("caption", "released")
    }
    for name, arguments in {
        "likelihood": EVERYTHING,
        "self_critical": {"dropout": 0.5, "self_critical": True},
    }.items():
        one = trained(contextlib.nullcontext(), **arguments)
        two = trained(strategy.scope(), **arguments)
        found[name] = difference(one, two)
    return {**found, "dropout": dropout(strategy)}


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    del sys.argv[0]
    if sys.argv[0] == "compare":
        print(json.dumps(compare()))
    else:
        runpy.run_module(
            f"show_attend_tell.{sys.argv[0]}", run_name="__main__"
        )
