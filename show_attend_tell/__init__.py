"""Show, Attend and Tell: everything from a batch on."""

import importlib.abc
import importlib.util
import sys

import pipelines as pipelines  # First: it quiets TensorFlow.
from show_attend_tell.inference.loading import load

__all__ = ["load"]


class _RegisterAfterKeras(importlib.abc.MetaPathFinder):
    """Imports the model as soon as Keras has been imported.

    So `keras.models.load_model` knows `Captioner` and its layers, whichever is
    imported first, and a `.tflite` file is captioned without Keras.
    """

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is not None:
            import_keras = spec.loader.exec_module

            def import_and_register(module):
                import_keras(module)
                importlib.import_module("show_attend_tell.model")

            spec.loader.exec_module = import_and_register
        return spec


if sys.modules.get("keras"):
    importlib.import_module("show_attend_tell.model")
else:
    sys.meta_path.insert(0, _RegisterAfterKeras())
