"""Writes functions of Keras models as the signatures of a SavedModel."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from show_attend_tell.inference.saved_model_session import quiet

Signature = tuple[Callable, Sequence[tf.TensorSpec]]


def write_archive(path: str, signatures: dict[str, Signature]) -> None:
    """Writes functions, each with its input specifications, into a folder.

    They share their weights. What `tf.saved_model.save` writes of a Keras
    model, servers cannot load.
    """
    archive = keras.export.ExportArchive()
    with quiet():
        for name, (function, specifications) in signatures.items():
            archive.add_endpoint(name, function, list(specifications))
        archive.write_out(path, verbose=False)
