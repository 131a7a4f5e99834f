"""Captions photos on a device. Copy this file beside the model; no more.

    pip install ai-edge-litert numpy pillow
    python captioner.py MODEL.tflite PHOTO...

MODEL.tflite is what `python -m show_attend_tell.export --format=tflite`
writes. TensorFlow, Keras and show_attend_tell are not needed.
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

MAX_PIXELS = 128_000_000


class Captioner:
    """A model, its words, and what it wants of photos."""

    def __init__(self, path, threads=1):
        with zipfile.ZipFile(path) as tail:  # It lies behind the model.
            self.settings = json.loads(tail.read("captioner.json"))
            self.words = tail.read("vocabulary.txt").decode().split("\n")
        self.interpreter = Interpreter(path, num_threads=threads)

    def caption(self, photo, method="greedy"):
        """Returns the caption of a photo, and where the model looked.

        Args:
            photo: A Pillow image.
            method: "greedy", or "beam", which is slower and mostly better.

        Returns:
            The caption; its log-probability; and the attention, (words,
            rows, columns), which adds up to one for each word.
        """
        run = self.interpreter.get_signature_runner(method)
        said = run(image=self.pixels(photo)[None])
        n = said["length"][0]
        words = [self.words[token] for token in said["tokens"][0, :n]]
        grid = self.settings["rows"], self.settings["columns"]
        attention = said["attention"][0, :n].reshape(-1, *grid)
        return " ".join(words), float(said["log_probability"][0]), attention

    def stream(self, photo):
        """Yields each word, as soon as it is known, with its attention.

        The words are those of "greedy". Of the settings that an export can
        choose, `min_words` above one and `no_repeat_ngram_size` are not obeyed.
        """
        runner = self.interpreter.get_signature_runner
        encode, start, step = map(runner, ("encode", "start", "step"))
        grid = self.settings["rows"], self.settings["columns"]
        state = start(**encode(image=self.pixels(photo)[None]))
        known = {name: state[name] for name in ("scaled", "keys")}
        token = self.settings["start"]
        for _ in range(self.settings["max_words"]):
            carried = {name: state[name] for name in ("hidden", "cell")}
            state = step(token=np.array([token], np.int32), **carried, **known)
            token = int(state["log_probabilities"][0].argmax())
            if token == self.settings["end"]:
                return
            yield self.words[token], state["attention"].reshape(grid)

    def pixels(self, photo):
        """Returns the square that the model sees, uint8 (S, S, 3)."""
        if photo.width * photo.height > MAX_PIXELS:
            raise ValueError(f"{photo.size} are too many pixels")
        photo = ImageOps.exif_transpose(photo)
        if photo.mode.startswith("I"):  # Sixteen bits; keep the higher eight.
            grey = np.clip(np.asarray(photo) >> 8, 0, 255).astype(np.uint8)
            photo = Image.fromarray(grey)
        if photo.has_transparency_data:
            photo = photo.convert("RGBA")
            white = Image.new("RGBA", photo.size, "white")
            photo = Image.alpha_composite(white, photo)
        image = np.asarray(photo.convert("RGB"))
        size = self.settings["image_size"]
        height = width = size
        if self.settings["resize_mode"] == "crop":  # The centre, in proportion.
            shorter, target = min(image.shape[:2]), round(size * 256 / 224)
            height, width = (
                (2 * side * target + shorter) // (2 * shorter)
                for side in image.shape[:2]
            )
        # Bilinear between two by two pixels, half-pixel centres, no
        # antialiasing, as in training; a resize by Pillow is another.
        top, bottom, down = _neighbours(image.shape[0], height, size)
        left, right, across = _neighbours(image.shape[1], width, size)
        across = across[:, None]
        above, below = (
            rows[:, left] + (rows[:, right] - rows[:, left]) * across
            for rows in (image[top].astype("f4"), image[bottom].astype("f4"))
        )
        square = above + (below - above) * down[:, None, None]
        return np.rint(square).astype(np.uint8)


def _neighbours(source, target, size):
    """Returns for the central pixels both neighbours, and how far between."""
    pixel = np.arange(size, dtype="f4") + (target - size) // 2
    place = (pixel + np.float32(0.5)) * np.float32(source / target) - 0.5
    lower = np.floor(place)
    between = (place - lower).astype("f4")
    first = np.clip(lower, 0, source - 1).astype(int)
    return first, np.clip(np.ceil(place), 0, source - 1).astype(int), between


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python captioner.py MODEL.tflite PHOTO...")
    captioner = Captioner(sys.argv[1])
    for name in sys.argv[2:]:
        with Image.open(name) as photo:
            text = captioner.caption(photo, captioner.settings["method"])[0]
        print(f"{name}: {text}")
