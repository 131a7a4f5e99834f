"""Augments images at random, for an encoder that learns.

All randomness follows from a seed and the number of the batch. It is of an
image, so that all captions of the image share what came of it.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines.sources.scenes.grammar import Box

# The part of the image's area that a crop keeps at least, and how much its
# sides may be out of proportion.
_AREA = 0.7
_PROPORTION = 1.1
# Brightness, contrast and saturation change by at most this part.
_COLOUR = 0.2
# What is seen of an image that stays as it is: left, top, right, bottom.
ENTIRE_IMAGE = np.array([0.0, 0.0, 1.0, 1.0], np.float32)
# How much red, green and blue weigh in a grey.
_GREY = (0.299, 0.587, 0.114)

_SIDES = re.compile(r"\b(left|right)")


def can_mirror(captions: Sequence[str]) -> bool:
    """Whether captions are as true of the image's mirror image.

    Not if a word, or a part of one after a hyphen, begins with left or right.
    """
    return not any(_SIDES.search(caption.lower()) for caption in captions)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Crops, mirrors and colours images, mildly.

    `crop` takes 70 to 100 % of the area, resized bilinearly; `flip` mirrors
    half of the images that may be; `colour` changes brightness, contrast and
    saturation, each by up to 20 %.
    """

    crop: bool = False
    flip: bool = False
    colour: bool = False
    seed: int = 0

    def __call__(self, images, mirrors, step):
        """Augments float32 `(N, rows, columns, 3)`, 0 to 255.

        Of these, `mirrors` `(N,)` may be mirrored. All randomness follows from
        the seed and `step`, the number of the batch.
        """
        noise = self._noise(mirrors, step)
        if self.crop:
            images = _crop(images, _crops(noise))
        if self.flip:
            chosen = _mirrored(mirrors, noise)
            images = tf.where(
                chosen[:, None, None, None], images[:, :, ::-1], images
            )
        if self.colour:
            images = _colour(images, 1 + _COLOUR * (2 * noise[5:] - 1))
        return images

    def windows(self, mirrors, step):
        """Returns what a call takes of each image, `(N, 4)` float32.

        Left, top, right and bottom as fractions; left is right of right where
        the image is mirrored.
        """
        noise = self._noise(mirrors, step)
        crops = _crops(noise) if self.crop else tf.zeros((0, 4))
        n = tf.shape(mirrors)[0]
        windows = tf.tile(tf.constant(ENTIRE_IMAGE[None]), (n, 1))
        if self.crop:
            windows = tf.gather(crops, (1, 0, 3, 2), axis=1)
        if self.flip:
            mirrored = tf.gather(windows, (2, 1, 0, 3), axis=1)
            chosen = _mirrored(mirrors, noise)[:, None]
            windows = tf.where(chosen, mirrored, windows)
        return windows

    def _noise(self, mirrors, step):
        """Returns eight numbers for each image, whatever is changed."""
        seed = tf.stack([self.seed, tf.cast(step, tf.int32)])
        return tf.random.stateless_uniform((8, tf.shape(mirrors)[0]), seed)


def seen_boxes(boxes: Sequence[Box], window: Sequence[float]) -> list[Box]:
    """Maps boxes of an image to what `Augmentation.windows` gives of it."""
    left, top, right, bottom = window
    seen = []
    for box in boxes:
        x = sorted((edge - left) / (right - left) for edge in box[0::2])
        y = [(edge - top) / (bottom - top) for edge in box[1::2]]
        seen.append((x[0], y[0], x[1], y[1]))
    return seen


def _mirrored(mirrors, noise):
    """Returns which images are mirrored, `(N,)` bool."""
    return mirrors & (noise[4] < 0.5)


def _crops(noise):
    """Returns top, left, bottom and right of each crop, `(N, 4)`."""
    side = tf.sqrt(_AREA + (1 - _AREA) * noise[0])
    odd = tf.exp(np.log(_PROPORTION) / 2 * (2 * noise[1] - 1))
    height = tf.minimum(side * odd, 1.0)
    width = tf.minimum(side / odd, 1.0)
    top, left = (1 - height) * noise[2], (1 - width) * noise[3]
    boxes = tf.stack([top, left, top + height, left + width], axis=1)
    # Beyond the last pixel, if only by rounding, it would be black.
    return tf.minimum(boxes, 1 - 1e-6)


def _crop(images, boxes):
    """Cuts boxes out."""
    rows, columns = images.shape[1:3]
    numbers = tf.range(tf.shape(images)[0])
    return tf.image.crop_and_resize(images, boxes, numbers, (rows, columns))


def _colour(images, factors):
    """Changes brightness, contrast and saturation by factors `(3, N)`."""
    brightness, contrast, saturation = tf.unstack(
        factors[:, :, None, None, None]
    )
    images = images * brightness
    grey = tf.reduce_sum(images * _GREY, axis=-1, keepdims=True)
    mean = tf.reduce_mean(grey, axis=(1, 2), keepdims=True)
    images = mean + contrast * (grey + saturation * (images - grey) - mean)
    return tf.clip_by_value(images, 0.0, 255.0)
