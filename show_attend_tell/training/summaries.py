"""Writes scalars and pictures for TensorBoard."""

import io

import tensorflow as tf
from PIL import Image


class Summaries:
    """An event file that `tensorboard --logdir=DIRECTORY` shows.

    TensorFlow writes it, so TensorBoard need not be installed for training.
    """

    def __init__(self, directory: str):
        self._writer = tf.summary.create_file_writer(directory)

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Adds one point to each curve."""
        for name, value in values.items():
            self._write(name, tf.constant(value, tf.float32), step, "scalars")

    def picture(self, name: str, image: Image.Image, step: int) -> None:
        """Adds a picture."""
        file = io.BytesIO()
        image.save(file, "PNG")
        parts = [str(image.width), str(image.height), file.getvalue()]
        self._write(name, tf.constant(parts, tf.string), step, "images")

    def _write(self, name, tensor, step, plugin):
        metadata = tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = plugin
        with self._writer.as_default():
            tf.summary.write(name, tensor, step=step, metadata=metadata)
        self._writer.flush()
