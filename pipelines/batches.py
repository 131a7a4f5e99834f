"""Batches of annotations and captions.

The order of an epoch follows from the seed and the number of the epoch, so
that a run that was stopped continues with the very batch it would have had.
Nothing is shuffled in a buffer; records are read by their positions.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines.boxes.coverage import coverage
from pipelines.boxes.photo_boxes import Phrase
from pipelines.cache.extraction import AnnotationCache
from pipelines.images.augmentation import ENTIRE_IMAGE, Augmentation, seen_boxes
from pipelines.vocabulary import PADDING


@dataclasses.dataclass(frozen=True)
class CaptionedAnnotation:
    """An image by its position in the cache, and its captions as tokens.

    Each caption is from start to end token, int32 `(words + 2,)`; `mirrors` is
    whether they also hold for the mirrored image; `phrases` are those of each
    caption that have boxes, if any is to be compared with them.
    """

    position: int
    captions: tuple[np.ndarray, ...]
    mirrors: bool = False
    phrases: tuple[tuple[Phrase, ...], ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """All batches of all epochs, by number.

    Every batch of one caption length has one shape, so that a training step
    is compiled once for each length. Empty rows are padding and not counted.

    With batching by `"image"` a batch holds images with all their captions:
    annotations are read and projected once for all of them. With batching
    by `"length"` it holds single captions of one length, as in the paper.

    Attributes:
        cache: The annotations.
        examples: The training images.
        batch_size: Captions in a batch, at most.
        batching: `"image"` or `"length"`.
        length_step: Lengths are rounded up to a multiple of this.
        max_words: Longer captions are cut here, and then have no end token.
        seed: Seed of the order.
        augmentation: The augmentation of the images, where the cache holds
            pixels.
        grid: Rows and columns of the attention, where it is to be compared
            with boxes.
    """

    cache: AnnotationCache
    examples: Sequence[CaptionedAnnotation]
    batch_size: int = 64
    batching: str = "image"
    length_step: int = 4
    max_words: int = 50
    seed: int = 0
    augmentation: Augmentation | None = None
    grid: tuple[int, int] | None = None

    def __post_init__(self):
        if self.batching not in ("image", "length"):
            raise ValueError(
                "`batching` must be 'image' or 'length'. "
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

        Each is the padded number of steps T, and pairs of the numbers of an
        example and of its caption (-1: all captions of the image).
        """
        lengths, rows = self._rows()
        rng = np.random.default_rng([self.seed, epoch])
        size = self.images_per_batch()
        batches = []
        for length in np.unique(lengths):
            order = rng.permutation(np.flatnonzero(lengths == length))
            for start in range(0, len(order), size):
                batch = [rows[i] for i in order[start : start + size]]
                batches.append((int(length), batch))
        return [batches[i] for i in rng.permutation(len(batches))]

    def _rows(self):
        """Returns the padded number of steps of each row, and the rows."""
        captions = [example.captions for example in self.examples]
        if self.batching == "image":
            rows = [(i, -1) for i in range(len(captions))]
            longest = [max(map(len, each)) for each in captions]
        else:
            rows = [
                (i, k) for i, c in enumerate(captions) for k in range(len(c))
            ]
            longest = [len(captions[i][k]) for i, k in rows]
        # One step predicts one word: a caption of n tokens takes n - 1.
        steps = np.minimum(np.array(longest) - 1, self.max_words + 1)
        return -(-steps // self.length_step) * self.length_step, rows

    def arrays(self, steps: int, rows) -> tuple[np.ndarray, np.ndarray]:
        """Returns positions `(N,)` and tokens `(N, K, T + 1)` of a batch."""
        n, k = self.images_per_batch(), self.captions_per_image()
        tokens = np.full((n, k, steps + 1), PADDING, np.int32)
        # Empty rows read the first image again: cheap, and never counted.
        positions = np.full(n, self.examples[rows[0][0]].position, np.int64)
        for row, (i, which) in enumerate(rows):
            captions = self.examples[i].captions
            positions[row] = self.examples[i].position
            captions = captions if which < 0 else (captions[which],)
            for column, caption in enumerate(captions):
                if len(caption) > self.max_words + 2:
                    caption = caption[: self.max_words + 1]
                tokens[row, column, : len(caption)] = caption
        return positions, tokens

    def epoch(self, epoch: int, start: int = 0) -> tf.data.Dataset:
        """Returns the batches of an epoch from number `start` on.

        Elements are `{"annotations": (N, L, D) float32, "tokens":
        (N, K, T + 1) int32, "examples": (N,) int32}`, the last with the
        number of each row's example, -1 for an empty one. With a `grid` also
        `"coverage": (N, K, T, L) float32`, the share of each location that
        the boxes of each word cover.
        """
        plan = self.plan(epoch)
        n, k = self.images_per_batch(), self.captions_per_image()

        def read(number):
            steps, rows = plan[number]
            positions, tokens = self.arrays(steps, rows)
            examples = np.full(n, -1, np.int32)
            examples[: len(rows)] = [example for example, _ in rows]
            mirrors = np.zeros(n, bool)
            mirrors[: len(rows)] = [self.examples[i].mirrors for i, _ in rows]
            records = np.array(self.cache.records(positions), object)
            return records, tokens, examples, mirrors

        def load(number):
            kinds = (tf.string, tf.int32, tf.int32, tf.bool)
            records, tokens, examples, mirrors = tf.numpy_function(
                read, [number], kinds, stateful=False
            )
            for array in (records, examples, mirrors):
                array.set_shape((n,))
            tokens.set_shape((n, k, None))
            annotations = self.cache.decode(records)
            step = epoch * len(plan) + number
            if self.augmentation:
                annotations = self._augmented(annotations, mirrors, step)
            batch = {
                "annotations": annotations,
                "tokens": tokens,
                "examples": examples,
            }
            if self.grid:
                windows = np.repeat(ENTIRE_IMAGE[None], n, axis=0)
                if self.augmentation:
                    windows = self.augmentation.windows(mirrors, step)
                batch["coverage"] = self._coverage(plan, number, windows)
            return batch

        numbers = tf.data.Dataset.range(start, len(plan))
        return numbers.map(load, num_parallel_calls=2).prefetch(4)

    def _coverage(self, plan, number, windows):
        covered = tf.numpy_function(
            lambda number, windows: self.coverage(*plan[number], windows),
            [number, windows],
            tf.float32,
            stateful=False,
        )
        n, k = self.images_per_batch(), self.captions_per_image()
        return tf.ensure_shape(covered, (n, k, None, math.prod(self.grid)))

    def coverage(self, steps: int, rows, windows) -> np.ndarray:
        """Returns what the boxes of words cover, `(N, K, T, L)` float32.

        Args:
            steps: T.
            rows: As `plan` gives them.
            windows: What is seen of each image, see `Augmentation.windows`.
        """
        n, k = self.images_per_batch(), self.captions_per_image()
        locations = math.prod(self.grid)
        covered = np.zeros((n, k, steps, locations), np.float32)
        for row, (i, which) in enumerate(rows):
            phrases = self.examples[i].phrases
            phrases = phrases if which < 0 else (phrases[which],)
            for column, caption in enumerate(phrases):
                for phrase in caption:
                    stop = min(phrase.stop, self.max_words)
                    boxes = seen_boxes(phrase.boxes, windows[row])
                    share = coverage(boxes, self.grid).ravel()
                    # The step that predicts a word has its position.
                    covered[row, column, phrase.start : stop] = share
        return covered

    def _augmented(self, pixels, mirrors, step):
        shape = (-1, *self.cache.metadata.grid, 3)
        images = self.augmentation(tf.reshape(pixels, shape), mirrors, step)
        return tf.reshape(images, tf.shape(pixels))


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
