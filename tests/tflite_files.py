"""Files of captioners for devices, right ones and malformed ones."""

import io
import json
import struct
import warnings
import zipfile

from pipelines.vocabulary import Vocabulary
from show_attend_tell.inference.tflite_archive import append_archive
from show_attend_tell.inference.tflite_file import TFLiteSettings, append_tail

MODEL = b"\x1c\0\0\0TFL3 and so on"
VOCABULARY = Vocabulary(["a", "café", "犬"])
SETTINGS = TFLiteSettings(
    name="any", precision="float16", image_size=224, resize_mode="crop",
    rows=14, columns=14, max_words=30, method="beam", beam_width=3,
    length_penalty=0.7, min_words=1, no_repeat_ngram_size=0,
    allow_unknown=False, context_mode="expected", encoder="vgg16",
    encoder_layer="block5_conv3", encoder_digest="0" * 64,
    vocabulary_digest=VOCABULARY.digest, versions={},
)  # fmt: skip


def written(path, described, words=VOCABULARY.text, model=MODEL):
    """Writes any text as settings and words, with their right digest."""
    path.write_bytes(model)
    words = words if isinstance(words, bytes) else words.encode()
    parts = {"captioner.json": described.encode(), "vocabulary.txt": words}
    append_archive(path, parts)
    return path


def model_of(path) -> bytes:
    """Returns the bytes before the archive."""
    with zipfile.ZipFile(path) as archive:
        begin = archive.infolist()[0].header_offset
    return path.read_bytes()[:begin]


def malformed_files(folder) -> dict[str, bytes]:
    """Returns files that no host may take, by what was done to them."""
    path = folder / "right.tflite"
    path.write_bytes(MODEL)
    append_tail(path, SETTINGS, VOCABULARY)
    right = path.read_bytes()
    begin = len(MODEL)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    crop = parts["captioner.json"]
    words = parts["vocabulary.txt"]
    return {
        "nothing": b"",
        "no archive": MODEL,
        "format 1": zipped(dict(list(parts.items())[:2])),
        "cut": right[:-1],
        "more behind it": right + b"\0",
        "more before it": MODEL + b"\0" + right[begin:],
        "another model": b"\x1c\0\0\0TFL3 And so on" + right[begin:],
        # Rewritten as an archiver does, with right checks of zip's.
        "settings": zipped(
            parts | {"captioner.json": crop.replace(b"crop", b"squash")}
        ),
        "words": zipped(
            parts | {"vocabulary.txt": words.replace(b"a\n", b"o\n")}
        ),
        "digest": zipped(parts | {"sha256.txt": b"0" * 64 + b"\n"}),
        "file missing": zipped({"sha256.txt": parts["sha256.txt"]}),
        "file twice": twice(right),
        "other file": zipped(parts | {"other.txt": b""}),
        "other order": zipped(dict(reversed(parts.items()))),
        "many files": zipped(dict.fromkeys(map(str, range(20_000)), b"")),
        "bomb": zipped(parts | {"captioner.json": bytes(2**26)}, packing=8),
        "large": zipped(parts | {"captioner.json": bytes(2**24)}),
        "comment": zipped(parts, comment=b"x" * 99),
        "encrypted": changed(right, begin + 6, "<H", 1),
        "size of a file": changed(right, begin + 22, "<L", 2**32 - 1),
        "size of a name": changed(right, begin + 26, "<H", 2**16 - 1),
        "first file elsewhere": changed(
            right, right.index(b"PK\1\2") + 42, "<L", 2**32 - 1
        ),
        "overlapping": changed(
            right, right.index(b"PK\1\2") + 42, "<L", begin + 44
        ),
        "list elsewhere": changed(right, len(right) - 6, "<L", 2**32 - 1),
        "list at itself": changed(right, len(right) - 6, "<L", len(right) - 22),
        "zip64": changed(right, len(right) - 22, "<4s", b"PK\6\6"),
    }


def zipped(parts: dict[str, bytes], packing=0, comment=b"") -> bytes:
    """Returns the model with an archive that another program wrote."""
    file = io.BytesIO(MODEL)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", packing) as archive:
        archive.comment = comment
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content, packing)
    return file.getvalue()


def twice(right: bytes) -> bytes:
    """Returns a file with another `captioner.json` behind those of it."""
    file = io.BytesIO(right)
    described = json.dumps({"format": 2})
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as archive:
        warnings.simplefilter("ignore")  # It says that the name is twice.
        archive.writestr(zipfile.ZipInfo("captioner.json"), described)
    return file.getvalue()


def changed(right: bytes, at: int, kind: str, value) -> bytes:
    content = bytearray(right)
    struct.pack_into(kind, content, at, value)
    return bytes(content)
