"""A SavedModel in TensorFlow's C++ session, as a server runs it."""

import contextlib
import logging
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipelines.errors import UserError

FILE_NAME = "saved_model.pb"


class SavedModelSession:
    """Loads a SavedModel in graph mode and answers requests.

    `tf.saved_model.load` would run functions eagerly, and load files that
    no server can. This one can be called by several threads at once.

        with SavedModelSession("savedmodels/scenes/1") as session:
            answer = session("serving_default", images=[photo])

    Args:
        path: The folder of a version.

    Raises:
        UserError: It holds no SavedModel, or a damaged one.
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
            **inputs: What it takes, arrays or lists, by name.

        Returns:
            What it gives, by name; strings are `bytes` in arrays of objects.
        """
        asked = self.signatures[signature]
        fed = {
            asked.inputs[name].name: np.asarray(
                value,
                tf.as_dtype(asked.inputs[name].dtype).as_numpy_dtype,
            )
            for name, value in inputs.items()
        }
        wanted = {name: info.name for name, info in asked.outputs.items()}
        return self._session.run(wanted, fed)

    def shape(self, signature: str, output: str) -> tuple[int | None, ...]:
        """Returns the shape that a signature says an output has."""
        info = self.signatures[signature].outputs[output]
        return tuple(tf.TensorShape(info.tensor_shape).as_list())

    def close(self) -> None:
        """Gives back what the model takes in memory."""
        self._session.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps TensorFlow from telling what a user cannot act on."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
