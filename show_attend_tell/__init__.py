"""Show, Attend and Tell: everything from a batch on."""

import importlib.abc
import importlib.util
import sys

import pipelines as pipelines  # First: it quiets TensorFlow.
from show_attend_tell.inference.loading import load

__all__ = ["load"]


def _register_model() -> None:
    """Imports `Captioner`, so that `keras.models.load_model` knows it."""
    importlib.import_module("show_attend_tell.model")


class _RegisterAfterKeras(importlib.abc.MetaPathFinder):
    """Registers the model when Keras is imported after this package.

    So it is known whichever is imported first, and a `.tflite` file is
    captioned without Keras.
    """

    def __init__(self):
        self._loaded = set(sys.modules)

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is not None:
            import_keras = spec.loader.exec_module

            def import_and_register(module):
                import_keras(module)
                # A module of this package that needs Keras for its import
                # comes first, and registers what it defines.
                new = set(sys.modules) - self._loaded
                if not any(x.startswith("show_attend_tell.") for x in new):
                    _register_model()

            spec.loader.exec_module = import_and_register
        return spec


if sys.modules.get("keras"):
    _register_model()
else:
    sys.meta_path.insert(0, _RegisterAfterKeras())
