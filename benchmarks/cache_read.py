"""Measures how fast a cache is read, as training reads it.

    python -m benchmarks.cache_read --annotations=DIR

Batches of random positions go through `tf.data`: records are read in a
`tf.numpy_function` and decoded by the graph, by one or more calls at once.
Training by single captions reads one image a caption: reading is fast enough
if its images a second exceed the captions a second that training prints
(`--captions_per_second`, to compare with).
"""

import os
import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.errors import UserError

_ANNOTATIONS = flags.DEFINE_string(
    "annotations", None, "Folder of the cache.", required=True
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Images a batch.", lower_bound=1
)
_PARALLEL_CALLS = flags.DEFINE_multi_integer(
    "parallel_calls", [1, 2, 4], "Batches that are decoded at once."
)
_SECONDS = flags.DEFINE_float(
    "seconds", 5.0, "How long each row is measured.", lower_bound=0.1
)
_CAPTIONS_PER_SECOND = flags.DEFINE_float(
    "captions_per_second", None, "What the model takes, to compare with."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the random positions.")


def positions(images: int, batch_size: int, seed: int) -> tf.data.Dataset:
    """Endless batches of positions, a new random order every epoch."""

    def permutation(epoch):
        generator = np.random.default_rng([seed, int(epoch)])
        return generator.permutation(images).astype(np.int64)

    def shuffled(epoch):
        order = tf.numpy_function(permutation, [epoch], tf.int64)
        order = tf.ensure_shape(order, [None])
        return tf.data.Dataset.from_tensor_slices(order)

    epochs = tf.data.Dataset.counter()
    batches = epochs.flat_map(shuffled).batch(batch_size, drop_remainder=True)
    # Made ahead, so that the order itself is not what is measured.
    return batches.prefetch(64)


def images_per_second(batches: tf.data.Dataset, batch_size: int) -> float:
    """Images a second that come out of endless batches."""
    iterator = iter(batches)
    for _ in range(3):
        next(iterator)
    count = 0
    start = time.perf_counter()
    while time.perf_counter() - start < _SECONDS.value:
        next(iterator)
        count += batch_size
    return count / (time.perf_counter() - start)


def measure(cache: AnnotationCache) -> float:
    """Prints the table; returns the most images a second."""
    batch_size = min(_BATCH_SIZE.value, len(cache))

    def read(batch):
        return np.array(cache.records(batch), object)

    def records(batch):
        records = tf.numpy_function(read, [batch], tf.string, stateful=False)
        return tf.ensure_shape(records, [None])

    def annotations(batch):
        return cache.decode(records(batch))

    sample = cache.records(range(min(1000, len(cache))))
    packed = np.mean([len(record) for record in sample])
    floats = 4 * cache.metadata.locations * cache.metadata.depth
    print(
        f"{cache.directory}: {len(cache)} images, "
        f"{cache.metadata.encoder}/{cache.metadata.layer}, "
        f"{cache.metadata.precision}, {packed / 1024:.1f} KiB an image "
        f"({floats / 1024:.0f} KiB as float32), batches of {batch_size}, "
        f"{os.cpu_count()} cores\n"
    )
    print("step            calls  images/s  ms/batch  MB/s disk  MB/s float32")
    fastest = 0.0
    for name, load in (("read", records), ("read + decode", annotations)):
        for calls in _PARALLEL_CALLS.value:
            batches = positions(len(cache), batch_size, _SEED.value)
            batches = batches.map(load, num_parallel_calls=calls).prefetch(2)
            speed = images_per_second(batches, batch_size)
            row = (
                f"{name:14s} {calls:6d} {speed:9.0f} "
                f"{1000 * batch_size / speed:9.1f} "
                f"{speed * packed / 1e6:10.1f}"
            )
            if load is annotations:
                fastest = max(fastest, speed)
                row += f" {speed * floats / 1e6:13.0f}"
            print(row)
    return fastest


def main(_) -> None:
    """Measures the cache and compares it with the model."""
    try:
        cache = AnnotationCache.open(_ANNOTATIONS.value)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    fastest = measure(cache)
    wanted = _CAPTIONS_PER_SECOND.value
    print(f"\nReading gives up to {fastest:.0f} images a second.")
    if wanted:
        print(
            f"The model takes {wanted:.0f} captions a second: reading "
            f"is {fastest / wanted:.1f} times as fast. On the same cores it "
            "takes its part of their time."
        )


if __name__ == "__main__":
    app.run(main)
