"""What other hosts are held against: TFLite's runtime in Python."""

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


class Native:
    """TFLite's own runtime, and what the model's file says of itself."""

    def __init__(self, path: pathlib.Path):
        litert = pytest.importorskip("ai_edge_litert.interpreter")
        # One that is not kept would take its memory from the runners.
        self.interpreter = litert.Interpreter(str(path), num_threads=1)
        with zipfile.ZipFile(path) as tail:
            self.settings = json.loads(tail.read("captioner.json"))
            text = tail.read("vocabulary.txt").decode()
        self.vocabulary = text.removesuffix("\n").split("\n")

    def caption(self, method: str, pixels: np.ndarray) -> dict:
        run = self.interpreter.get_signature_runner(method)
        found = {k: v[0] for k, v in run(image=pixels[None]).items()}
        length = found["length"]
        return {
            "tokens": found["tokens"][:length].tolist(),
            "attention": found["attention"][:length],
            "gate": found["gate"][:length],
            "logProbability": found["log_probability"],
            "finished": bool(found["finished"]),
        }

    def words(self, method: str, pixels: np.ndarray) -> list[str]:
        tokens = self.caption(method, pixels)["tokens"]
        return [self.vocabulary[token] for token in tokens]

    def fitted(self, image: np.ndarray) -> np.ndarray:
        settings = self.settings
        return fit_image(image, settings["image_size"], settings["resize_mode"])
