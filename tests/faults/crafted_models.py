"""Exported models that are made to do harm: to memory, time and files."""

import io
import json
import os
import pathlib
import struct
import zipfile

import numpy as np

from show_attend_tell.inference.tflite_archive import append_archive
from tests.faults.folders import write_anew

_HUGE = 3 * 2**30


def tail_of(data: bytes) -> int:
    """Returns where the archive at the end of a TFLite file begins."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return min(info.header_offset for info in archive.infolist())


def parts_of(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Returns the model and the other files in a TFLite file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {i.filename: archive.read(i) for i in archive.infolist()}
    parts.pop("sha256.txt", None)
    return data[: tail_of(data)], parts


def resealed(path: pathlib.Path, model: bytes, parts: dict) -> None:
    """Writes a TFLite file with its right digest."""
    write_anew(path, model)
    append_archive(os.fspath(path), parts)


def _archive(model: bytes, entries, compression=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    file.write(model)
    with zipfile.ZipFile(file, "a", compression) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def crafted_tflite(data: bytes) -> dict[str, bytes]:
    """Returns TFLite files whose tails explode or lie, by what they do."""
    model, parts = parts_of(data)
    names = list(parts)
    zeros = bytes(100 * 2**20)
    bomb = _archive(model, [(n, zeros) for n in names], zipfile.ZIP_DEFLATED)
    squeezed = _archive(model, parts.items(), zipfile.ZIP_BZIP2)
    many = _archive(model, [(f"{n}", b"") for n in range(60_000)])
    twice = _archive(model, [*parts.items(), *parts.items()])
    plain = _archive(model, parts.items())
    sizes = bytearray(plain)
    at = plain.rindex(b"PK\1\2")
    struct.pack_into("<LL", sizes, at + 20, 2**32 - 1, 2**32 - 1)
    overlap = bytearray(plain)
    first = plain.index(b"PK\1\2", len(model))
    struct.pack_into("<L", overlap, at + 42, tail_of(plain))
    offset = bytearray(data)
    struct.pack_into("<L", offset, len(data) - 6, 2**32 - 1)
    locked = bytearray(plain)
    struct.pack_into("<H", locked, first + 8, 1)
    return {
        "tail of 100 MB, deflated": bomb,
        "tail compressed by bzip2": squeezed,
        "tail of 60,000 files": many,
        "tail with every file twice": twice,
        "tail without a digest": plain,
        "tail whose sizes lie": bytes(sizes),
        "tail whose files overlap": bytes(overlap),
        "tail whose list lies beyond the end": bytes(offset),
        "tail that is encrypted": bytes(locked),
        "no tail": model,
        "a tail alone": data[tail_of(data) :],
        "two tails": data + data[tail_of(data) :],
        "an archive in the comment": data[:-2] + b"\xff\xff" + data,
    }


# What of the settings of a captioner a stranger may set, and to what.
_SETTINGS = (
    ("max_words", 10**9), ("beam_width", 10**9), ("rows", 10**9),
    ("image_size", 2**31), ("name", "\x1b[2J<script>"), ("versions", []),
    ("length_penalty", float("inf")), ("length_penalty", float("nan")),
    ("context_mode", "none"), ("resize_mode", "none"), ("min_words", -5),
    ("method", "sample"), ("format", 99), ("max_words", 0),
)  # fmt: skip


def strange_settings(content: bytes, rng: np.random.Generator) -> bytes:
    """Sets one of the settings to what no export writes."""
    settings = json.loads(content)
    name, value = _SETTINGS[rng.integers(len(_SETTINGS))]
    target = settings.get("decoding", settings)
    (target if name in target else settings)[name] = value
    return json.dumps(settings).encode()


def write_at_load(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Lets a model write a file when it is loaded."""
    _add_node(
        folder, "WriteFile", [os.fspath(target).encode(), b"written by a model"]
    )


def read_at_load(folder: pathlib.Path) -> None:
    """Lets a model read a file when it is loaded."""
    _add_node(folder, "ReadFile", [b"/etc/passwd"])


def save_at_load(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Lets a model save its weights elsewhere when it is loaded."""
    model = _read(folder)
    meta = model.meta_graphs[0]
    saver = meta.saver_def.save_tensor_name.partition(":")[0]
    (node,) = (n for n in meta.graph_def.node if n.name == saver)
    node.input[0] = _add_text(meta, "elsewhere", os.fspath(target).encode())
    signature = meta.signature_def["__saved_model_init_op"]
    signature.outputs["__saved_model_init_op"].name = saver
    _write(folder, model)


def _read(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    content = (folder / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(content)


def _write(folder, model):
    write_anew(folder / "saved_model.pb", model.SerializeToString())


def _add_text(meta, name: str, text: bytes) -> str:
    node = meta.graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = 7  # DT_STRING
    node.attr["value"].tensor.dtype = 7
    node.attr["value"].tensor.tensor_shape.SetInParent()
    node.attr["value"].tensor.string_val.append(text)
    return name


def _add_node(folder, kind, texts):
    model = _read(folder)
    meta = model.meta_graphs[0]
    inputs = [
        _add_text(meta, f"text_{number}", text)
        for number, text in enumerate(texts)
    ]
    meta.graph_def.node.add(name="malicious", op=kind, input=inputs)
    start = meta.graph_def.node.add(name="at_load", op="NoOp")
    start.input.append("^malicious")
    signature = meta.signature_def["__saved_model_init_op"]
    if signature.outputs:  # What loading runs as well.
        start.input.append(f"^{_name(signature)}")
    signature.outputs["__saved_model_init_op"].name = "at_load"
    _write(folder, model)


def _name(signature) -> str:
    return signature.outputs["__saved_model_init_op"].name.partition(":")[0]


def sparse(path: pathlib.Path) -> None:
    """Makes a file of gigabytes that takes no room on the disk."""
    write_anew(path, path.read_bytes())
    os.truncate(path, _HUGE)


def long_proto(path: pathlib.Path) -> None:
    """Makes a message of fields that the format does not have."""
    write_anew(path, path.read_bytes() + b"\xfa\xff\x01\x00" * 5_000_000)


def deep_settings(path: pathlib.Path) -> None:
    write_anew(path, b'{"decoding":' * 100_000)
