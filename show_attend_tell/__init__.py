"""Show, Attend and Tell: everything from a batch on."""

import sys

import pipelines as pipelines  # First: it quiets TensorFlow.
from show_attend_tell.inference.loading import load

__all__ = ["load"]


def _register_model() -> None:
    """Lets `keras.models.load_model` know `Captioner`.

    Not where Keras is not imported yet: a `.tflite` file needs no TensorFlow.
    """
    if sys.modules.get("keras"):
        from show_attend_tell import model as model


_register_model()
