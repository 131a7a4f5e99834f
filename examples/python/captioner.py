"""Captions photos on a device. Copy this file and a model; no more is needed.

    pip install ai-edge-litert numpy pillow
    python captioner.py MODEL.tflite PHOTO...

MODEL.tflite is what `python -m show_attend_tell.export --format=tflite`
writes. TensorFlow, Keras and show_attend_tell are not needed.
"""

import hashlib
import json
import struct
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

MAX_PIXELS = 128_000_000
# Blocks of scripts without spaces: Thai, Lao, Burmese, Khmer, Tai, kana, Han.
UNSPACED = (
    (0x0E01, 0x0E46), (0x0E81, 0x0EC6), (0x0EDC, 0x0EDF),
    (0x1000, 0x103F), (0x104C, 0x108F), (0x109A, 0x109F),
    (0x1780, 0x17DD), (0x1950, 0x19CF), (0x1A20, 0x1A7F),
    (0x1AA0, 0x1AAF), (0x3005, 0x312F), (0x31A0, 0x31FF),
    (0x3400, 0xA4CF), (0xA9E0, 0xA9EF), (0xA9FA, 0xA9FE),
    (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0x16FE0, 0x18DFF),
    (0x1AFF0, 0x1B2FF), (0x20000, 0x3FFFD),
)  # fmt: skip


class Captioner:
    """A model with its vocabulary and settings."""

    def __init__(self, path, threads=1):
        with open(path, "rb") as file:
            content = file.read()
        try:
            settings, words = _read_archive(content)
        except (ValueError, struct.error) as error:
            raise ValueError(f"{path}: {error}. Export it again.") from error
        self.settings = json.loads(settings)
        self.vocabulary = words.decode().split("\n")
        self.grid = self.settings["rows"], self.settings["columns"]
        # Loaded from the bytes that were checked.
        self.interpreter = Interpreter(
            model_content=content, num_threads=threads
        )

    def caption(self, photo, method="greedy"):
        """Captions a photo.

        Args:
            photo: A Pillow image.
            method: "greedy", or "beam", which is slower and mostly better.

        Returns:
            The caption; its log-probability; and the attention, (words,
            rows, columns), which adds up to one for each word.
        """
        run = self.interpreter.get_signature_runner(method)
        outputs = run(image=self.pixels(photo)[None])
        n = outputs["length"][0]
        words = [self.vocabulary[token] for token in outputs["tokens"][0, :n]]
        attention = outputs["attention"][0, :n].reshape(-1, *self.grid)
        log_probability = float(outputs["log_probability"][0])
        return join_words(words), log_probability, attention

    def stream(self, photo):
        """Yields each word with its attention, as soon as it is generated.

        The words are those of "greedy". Of the settings of the export,
        `min_words` above one and `no_repeat_ngram_size` are ignored.
        """
        runner = self.interpreter.get_signature_runner
        encode, start, step = map(runner, ("encode", "start", "step"))
        state = start(**encode(image=self.pixels(photo)[None]))
        token = self.settings["start"]
        for _ in range(self.settings["max_words"]):
            outputs = step(token=np.array([token], np.int32), **state)
            token = int(outputs["log_probabilities"][0].argmax())
            if token == self.settings["end"]:
                return
            yield (
                self.vocabulary[token],
                outputs["attention"].reshape(self.grid),
            )
            state |= {name: outputs[name] for name in ("hidden", "cell")}

    def pixels(self, photo):
        """Returns the square that the encoder takes, uint8 (S, S, 3)."""
        image = _rgb(photo)
        size = height = width = self.settings["image_size"]
        if self.settings["resize_mode"] == "crop":  # The centre, in proportion.
            shorter, target = min(image.shape[:2]), round(size * 256 / 224)
            height, width = (
                (2 * side * target + shorter) // (2 * shorter)
                for side in image.shape[:2]
            )
        # Bilinear between two by two pixels, half-pixel centres, no
        # antialiasing, as in training; Pillow's resize differs.
        top, bottom, vertical = _neighbours(image.shape[0], height, size)
        left, right, horizontal = _neighbours(image.shape[1], width, size)
        above, below = (
            rows[:, left]
            + (rows[:, right] - rows[:, left]) * horizontal[:, None]
            for rows in (image[top].astype("f4"), image[bottom].astype("f4"))
        )
        square = above + (below - above) * vertical[:, None, None]
        return np.rint(square).astype(np.uint8)


def join_words(words):
    """Writes words, with spaces only where their scripts have them."""
    text, close = "", True
    for word in words:
        unspaced = any(a <= ord(word[0]) <= b for a, b in UNSPACED)
        text += word if close or unspaced else f" {word}"
        close = unspaced
    return text


def _read_archive(content):
    """Returns settings and words, from the zip archive behind the model.

    The last file is the SHA-256 of every byte before it. Only the end of the
    archive and the header before each file are believed, as far as they lead
    from one file to the next without a gap.
    """
    if content[-22:-18] != b"PK\5\6":
        raise ValueError("no archive at its end, so it is no captioner")
    (directory,) = struct.unpack_from("<L", content, len(content) - 6)
    (at,) = struct.unpack_from("<L", content, directory + 42)
    files = []
    for name in (b"captioner.json", b"vocabulary.txt", b"sha256.txt"):
        if at == directory:
            raise ValueError("it is of format 1, which has no checksum")
        start, begin = at, at + 30 + len(name)
        kind, flags, method, size = struct.unpack_from(
            "<4s2xHH12xL", content, at
        )
        if (kind, flags, method) != (b"PK\3\4", 0, 0) or (
            content[at + 26 : begin] != struct.pack("<HH", len(name), 0) + name
        ):
            raise ValueError("other files in its archive, or compressed ones")
        files.append(content[begin : begin + size])
        at = begin + size
    digest = hashlib.sha256(memoryview(content)[:start]).hexdigest()
    if at != directory or files.pop() != f"{digest}\n".encode():
        raise ValueError("it was changed or damaged (another SHA-256)")
    return files


def _rgb(photo):
    """Returns an upright photo as uint8 (H, W, 3)."""
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
    return np.asarray(photo.convert("RGB"))


def _neighbours(source, target, size):
    """Returns lower and upper neighbours, and the weights of the latter."""
    pixel = np.arange(size, dtype="f4") + (target - size) // 2
    position = (pixel + np.float32(0.5)) * np.float32(source / target) - 0.5
    floor = np.floor(position)
    lower = np.clip(floor, 0, source - 1).astype(int)
    upper = np.clip(np.ceil(position), 0, source - 1).astype(int)
    return lower, upper, (position - floor).astype("f4")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python captioner.py MODEL.tflite PHOTO...")
    try:
        captioner = Captioner(sys.argv[1])
        method = captioner.settings["method"]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    failed = False
    for name in sys.argv[2:]:
        try:
            with Image.open(name) as photo:
                print(f"{name}: {captioner.caption(photo, method)[0]}")
        except (OSError, ValueError, RuntimeError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = True
    sys.exit(failed)
