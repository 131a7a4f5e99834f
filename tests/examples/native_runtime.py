"""The oracle of other hosts: TFLite's runtime in Python."""

import json
import pathlib
import zipfile

import numpy as np
import pytest

from pipelines.images.decoding import fit_image
from tests.conftest import ROOT

MODEL = ROOT / "savedmodels" / "flickr8k.tflite"
PHOTO = ROOT / "docs" / "photo.png"

needs_model = pytest.mark.skipif(
    not MODEL.exists(), reason=f"{MODEL.relative_to(ROOT)} is not here"
)


class NativeRuntime:
    """TFLite's interpreter, with the settings in the model's file."""

    def __init__(self, path: pathlib.Path = MODEL):
        litert = pytest.importorskip("ai_edge_litert.interpreter")
        # Runners do not keep their interpreter alive.
        self._interpreter = litert.Interpreter(str(path), num_threads=1)
        with zipfile.ZipFile(path) as archive:
            self.settings = json.loads(archive.read("captioner.json"))
            text = archive.read("vocabulary.txt").decode()
        self._vocabulary = text.removesuffix("\n").split("\n")
        self.grid = self.settings["rows"], self.settings["columns"]

    def fit(self, image: np.ndarray) -> np.ndarray:
        settings = self.settings
        return fit_image(image, settings["image_size"], settings["resize_mode"])

    def caption(self, pixels: np.ndarray, method: str = "beam") -> dict:
        run = self._interpreter.get_signature_runner(method)
        outputs = {k: v[0] for k, v in run(image=pixels[None]).items()}
        length = outputs["length"]
        tokens = outputs["tokens"][:length].tolist()
        return {
            "tokens": tokens,
            "words": [self._vocabulary[token] for token in tokens],
            "attention": outputs["attention"][:length],
            "gate": outputs["gate"][:length],
            "logProbability": outputs["log_probability"],
            "finished": bool(outputs["finished"]),
        }
