r"""Measures how near extraction comes to the speed of a large convolution.

    python -m benchmarks.extraction --photos=FOLDER \
        [--encoder=vgg16 --encoder_weights=none]

Measures in turns, in multiply-adds a second: one large convolution, like those
in which VGG spends most of its time; the encoder on pixels in memory; and the
extraction, from files to the cache on disk. Weights do not matter.
"""

import os
import statistics
import tempfile

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.multiply_adds import multiply_adds
from benchmarks.timing import timed_in_turns
from pipelines.cache.extraction import extract_annotations
from pipelines.captions import CaptionedImage
from pipelines.commands import run
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.images.decoding import fit_image, load_image
from pipelines.images.photo_folders import photos_in

_PHOTOS = flags.DEFINE_string(
    "photos", None, "Folder of photos.", required=True
)
_ENCODER = flags.DEFINE_string("encoder", "vgg16", "Name of the encoder.")
_LAYER = flags.DEFINE_string("encoder_layer", None, "Its layer.")
_WEIGHTS = flags.DEFINE_string("encoder_weights", "none", "Its weights.")
_IMAGES = flags.DEFINE_integer(
    "images", 64, "Photos of one turn.", lower_bound=16
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each.", lower_bound=1)

_RESIZE_MODE = "squash"
_BATCH_SIZE = 16
_SIDE, _CHANNELS, _KERNEL = 56, 256, 3
_PEAK = "one large convolution"


def _large_convolution():
    """Returns a convolution, and its multiply-adds."""
    images = tf.random.normal((_BATCH_SIZE, _SIDE, _SIDE, _CHANNELS))
    kernel = tf.random.normal((_KERNEL, _KERNEL, _CHANNELS, _CHANNELS))
    cost = _BATCH_SIZE * (_SIDE * _KERNEL * _CHANNELS) ** 2
    return lambda: tf.nn.conv2d(images, kernel, 1, "SAME"), cost


def _encoding(encoder, images):
    """Returns the encoder on all photos, a batch at a time."""
    side = encoder.image_size
    pixels = np.stack(
        [fit_image(load_image(i.path), side, _RESIZE_MODE) for i in images]
    )

    def encode():
        for first in range(0, len(pixels), _BATCH_SIZE):
            encoder.model.predict_on_batch(pixels[first : first + _BATCH_SIZE])

    return encode


def _extraction(encoder, images):
    """Returns the extraction of all photos into a new folder."""

    def extract():
        with tempfile.TemporaryDirectory() as folder:
            settings = {"batch_size": _BATCH_SIZE, "verbose": False}
            extract_annotations(
                images, encoder, _RESIZE_MODE, folder, **settings
            )

    return extract


def main(_) -> None:
    """Prints the table."""
    paths = photos_in(_PHOTOS.value)[0][: _IMAGES.value]
    images = [CaptionedImage(path, "train", (), path) for path in paths]
    if len(images) < _BATCH_SIZE:
        raise UserError(
            f"Expected {_BATCH_SIZE} or more photos in "
            f"--photos={_PHOTOS.value}. Received: {len(images)}"
        )
    encoder = build_encoder(_ENCODER.value, _LAYER.value, _WEIGHTS.value)
    cost = len(images) * multiply_adds(encoder.model)
    rows = {
        _PEAK: _large_convolution(),
        "encoder": (_encoding(encoder, images), cost),
        "extraction": (_extraction(encoder, images), cost),
    }
    calls = {name: call for name, (call, _) in rows.items()}
    times = timed_in_turns(calls, _ROUNDS.value)
    print(
        f"{encoder.name} at {encoder.layer}, {len(images)} photos, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
        "G multiply-adds/s         most  median   images/s   of the first"
    )
    peak = rows[_PEAK][1] / min(times[_PEAK])[0]
    for name, (_, cost) in rows.items():
        walls = [wall for wall, _ in times[name]]
        best, usual = min(walls), statistics.median(walls)
        speed = "" if name == _PEAK else f"{len(images) / best:.2f}"
        print(
            f"{name:22s} {cost / best / 1e9:8.1f} {cost / usual / 1e9:7.1f} "
            f"{speed:>10s} {cost / best / peak:13.0%}"
        )


if __name__ == "__main__":
    run(main)
