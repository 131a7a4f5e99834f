"""Runs a SavedModel in TensorFlow's C++ session, as a server does."""

import contextlib
import logging
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipelines.errors import UserError
from show_attend_tell.inference.saved_model_operations import (
    FILE_NAME,
    refused_operations,
)

# The signatures of an exported captioner, see `saved_model_signatures`.
BEST_CAPTION = "serving_default"  # Of requests that name none.
ALL_CAPTIONS = "n_best"
FROM_ANNOTATIONS, ENCODE = "from_annotations", "encode"
# Their outputs that belong to an image, not to each of its captions.
IMAGE_OUTPUTS = {"resize_mode", "valid"}


class SavedModelSession:
    """Loads a SavedModel in graph mode and answers requests.

    `tf.saved_model.load` would run functions eagerly, and load files that
    no server can. This one can be called by several threads at once.

        with SavedModelSession("savedmodels/scenes/1") as session:
            answer = session("serving_default", images=[photo])

    Args:
        path: The folder of a version.

    Raises:
        UserError: It holds no SavedModel, a damaged one, or one that does
            more than a captioner.
    """

    def __init__(self, path: str):
        self.path = os.fspath(path)
        if not os.path.isfile(os.path.join(self.path, FILE_NAME)):
            raise UserError(
                f"Expected the folder of an exported version, with "
                f"{FILE_NAME}. Received: {self.path!r}. Export one: python "
                "-m show_attend_tell.export --workdir=RUN "
                "--output=savedmodels/NAME"
            )
        refused = refused_operations(self.path)
        if refused:
            raise UserError(
                f"Expected a model with operations of a captioner alone. "
                f"Received: {self.path}, which has {', '.join(refused)[:200]} "
                "and is not loaded. Export it again."
            )
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            with quiet():
                loaded = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], self.path
                )
        except Exception as error:  # Many kinds, at damaged files.
            self._session.close()
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise UserError(
                f"The model {self.path} cannot be loaded: {reason} Export it "
                "again."
            ) from error
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if signature.outputs and not name.startswith("__")
        }
        """`SignatureDef` protos by name."""

    def __call__(self, signature: str, **inputs) -> dict[str, np.ndarray]:
        """Answers a request.

        Args:
            signature: The name of one of `signatures`.
            **inputs: Its inputs, arrays or lists, by name.

        Returns:
            Its outputs by name; strings are `bytes` in arrays of objects.
        """
        definition = self.signatures[signature]
        feeds = {}
        for name, value in inputs.items():
            info = definition.inputs[name]
            dtype = tf.as_dtype(info.dtype).as_numpy_dtype
            feeds[info.name] = np.asarray(value, dtype)
        fetches = {name: i.name for name, i in definition.outputs.items()}
        return self._session.run(fetches, feeds)

    def shape(self, signature: str, output: str) -> tuple[int | None, ...]:
        """Returns the shape that a signature declares for an output."""
        info = self.signatures[signature].outputs[output]
        return tuple(tf.TensorShape(info.tensor_shape).as_list())

    def close(self) -> None:
        """Frees the memory of the model."""
        self._session.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings of TensorFlow that a user cannot act on."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
