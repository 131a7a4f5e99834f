"""Batches: annotations and captions, side by side.

The order of an epoch is computed from the seed and the number of the epoch
alone, so that a run that was stopped goes on with the very batch it would
have seen. Nothing is shuffled in a buffer; records are read where they lie.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.images.augmentation import Augmentation
from pipelines.vocabulary import PADDING

BATCHINGS = ("image", "length")


@dataclasses.dataclass(frozen=True)
class CaptionedAnnotation:
    """An image by its place in the cache, and its captions as numbers.

    Attributes:
        position: Where the cache keeps its annotations.
        captions: Each from start to end token, int32 `(words + 2,)`.
        mirrors: Whether they are as true of the image's mirror image.
    """

    position: int
    captions: tuple[np.ndarray, ...]
    mirrors: bool = False


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """All batches of all epochs, by number.

    Every batch of one caption length has one shape, so that a compiled
    training step is compiled once a length. Places that stay empty hold
    captions of padding alone, which count nothing.

    With batching by `"image"` a batch holds images with all their captions:
    annotations are read and projected once for all of them. With batching
    by `"length"` it holds single captions of one length, as in the paper.

    Attributes:
        cache: Where annotations are read.
        examples: The training images.
        batch_size: Captions in a batch, at most.
        batching: `"image"` or `"length"`.
        length_step: Lengths are rounded up to a multiple of this.
        max_words: Longer captions are cut here, and then have no end token.
        seed: Of the order.
        augmentation: What is done to the images, where the cache holds
            pixels.
    """

    cache: AnnotationCache
    examples: Sequence[CaptionedAnnotation]
    batch_size: int = 64
    batching: str = "image"
    length_step: int = 4
    max_words: int = 50
    seed: int = 0
    augmentation: Augmentation | None = None

    def __post_init__(self):
        if self.batching not in BATCHINGS:
            raise ValueError(
                f"`batching` must be one of {BATCHINGS}. "
                f"Received: batching={self.batching!r}"
            )
        for name in ("batch_size", "length_step", "max_words"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be positive. "
                    f"Received: {name}={getattr(self, name)}"
                )

    def captions_per_image(self) -> int:
        """K: captions that share one row of annotations."""
        if self.batching == "length":
            return 1
        return max(len(example.captions) for example in self.examples)

    def images_per_batch(self) -> int:
        """N: rows of annotations in a batch."""
        return max(1, round(self.batch_size / self.captions_per_image()))

    def steps(self) -> int:
        """Batches in an epoch; the same in every epoch."""
        return len(self.plan(0))

    def plan(self, epoch: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """Returns the batches of an epoch.

        Each is the padded number of steps T, and pairs of an example's
        number and a caption's (-1: all captions of the image).
        """
        lengths, rows = self._rows()
        rng = np.random.default_rng([self.seed, epoch])
        size = self.images_per_batch()
        batches = []
        for length in np.unique(lengths):
            chosen = rng.permutation(np.flatnonzero(lengths == length))
            for start in range(0, len(chosen), size):
                batch = [rows[i] for i in chosen[start : start + size]]
                batches.append((int(length), batch))
        return [batches[i] for i in rng.permutation(len(batches))]

    def _rows(self):
        if self.batching == "image":
            rows = [(i, -1) for i in range(len(self.examples))]
            longest = [
                max(len(caption) for caption in example.captions)
                for example in self.examples
            ]
        else:
            rows = [
                (i, k)
                for i, example in enumerate(self.examples)
                for k in range(len(example.captions))
            ]
            longest = [len(self.examples[i].captions[k]) for i, k in rows]
        # One step predicts one word: a caption of n tokens takes n - 1.
        steps = np.minimum(np.array(longest) - 1, self.max_words + 1)
        step = self.length_step
        return (steps + step - 1) // step * step, rows

    def arrays(self, steps: int, rows) -> tuple[np.ndarray, np.ndarray]:
        """Returns positions `(N,)` and tokens `(N, K, T + 1)` of a batch."""
        n, k = self.images_per_batch(), self.captions_per_image()
        tokens = np.full((n, k, steps + 1), PADDING, np.int32)
        # Empty rows read the first image again: cheap, and never counted.
        positions = np.full(n, self.examples[rows[0][0]].position, np.int64)
        for row, (i, which) in enumerate(rows):
            example = self.examples[i]
            positions[row] = example.position
            captions = example.captions
            captions = captions if which < 0 else (captions[which],)
            for column, caption in enumerate(captions):
                if len(caption) > self.max_words + 2:
                    caption = caption[: self.max_words + 1]
                tokens[row, column, : len(caption)] = caption
        return positions, tokens

    def _mirrors(self, rows) -> np.ndarray:
        mirrors = np.zeros(self.images_per_batch(), bool)
        mirrors[: len(rows)] = [self.examples[i].mirrors for i, _ in rows]
        return mirrors

    def _augmented(self, pixels, mirrors, step):
        shape = (-1, *self.cache.metadata.grid, 3)
        images = self.augmentation(tf.reshape(pixels, shape), mirrors, step)
        return tf.reshape(images, tf.shape(pixels))

    def epoch(self, epoch: int, start: int = 0) -> tf.data.Dataset:
        """Returns the batches of an epoch from number `start` on.

        Elements are `{"annotations": (N, L, D) float32, "tokens":
        (N, K, T + 1) int32, "examples": (N,) int32}`, the last with the
        number of each row's example, -1 for an empty one.
        """
        plan = self.plan(epoch)
        n, k = self.images_per_batch(), self.captions_per_image()

        def read(number):
            steps, rows = plan[number]
            positions, tokens = self.arrays(steps, rows)
            examples = np.full(n, -1, np.int32)
            examples[: len(rows)] = [example for example, _ in rows]
            records = np.array(self.cache.records(positions), object)
            return records, tokens, examples

        def load(number):
            kinds = (tf.string, tf.int32, tf.int32)
            records, tokens, examples = tf.numpy_function(
                read, [number], kinds, stateful=False
            )
            records.set_shape((n,))
            tokens.set_shape((n, k, None))
            examples.set_shape((n,))
            annotations = self.cache.decode(records)
            if self.augmentation:
                (mirrors,) = tf.numpy_function(
                    lambda number: [self._mirrors(plan[number][1])],
                    [number],
                    (tf.bool,),
                    stateful=False,
                )
                mirrors.set_shape((n,))
                step = epoch * len(plan) + number
                annotations = self._augmented(annotations, mirrors, step)
            return {
                "annotations": annotations,
                "tokens": tokens,
                "examples": examples,
            }

        numbers = tf.data.Dataset.range(start, len(plan))
        return numbers.map(load, num_parallel_calls=2).prefetch(4)


def evaluation_batches(
    cache: AnnotationCache, positions: Sequence[int], batch_size: int = 64
) -> tf.data.Dataset:
    """Returns annotations in the order given, each image once.

    Elements are float32 `(batch_size, L, D)`; the last one is filled up with
    repetitions of its last image, to keep one shape.
    """
    positions = np.asarray(positions, np.int64)
    missing = -len(positions) % batch_size
    padded = np.concatenate([positions, np.repeat(positions[-1:], missing)])

    def read(batch):
        return np.array(cache.records(batch), object)

    def load(batch):
        records = tf.numpy_function(read, [batch], tf.string, stateful=False)
        records.set_shape((batch_size,))
        return cache.decode(records)

    batches = tf.data.Dataset.from_tensor_slices(padded.reshape(-1, batch_size))
    return batches.map(load, num_parallel_calls=2).prefetch(2)
