"""Captions photos.

    python -m show_attend_tell.caption PHOTO...

uses the captioner that comes with the project; --workdir=runs/scenes uses one
that was trained, --model=savedmodels/scenes/1 or --model=FILE.tflite one that
was exported. The project's and other .tflite files need no TensorFlow.

Arguments are photos or folders of them; a line is printed for each photo.
--attention=DIR draws the attention of each word. --output=FILE.csv or
FILE.json (COCO's format, the best caption of each photo) writes a file.
--num_captions=3 adds the next best, each with its log-probability.
"""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from pipelines.captions import summarize_skipped
from pipelines.commands import run
from pipelines.errors import UserError
from pipelines.files import write_atomically
from pipelines.images.decoding import load_image
from pipelines.images.photo_folders import photos_in
from show_attend_tell.configs.flags import define_decoding_flags
from show_attend_tell.inference.attention_figure import save_picture
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.loading import load

_WORKDIR = flags.DEFINE_string("workdir", None, "folder that train wrote")
_MODEL = flags.DEFINE_string(
    "model", None, "instead, a version or a file that export wrote"
)
_ATTENTION = flags.DEFINE_string(
    "attention", None, "draw the attention of each word into this folder"
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "write captions to this .csv or .json (COCO's format)"
)
_WEIGHTS = flags.DEFINE_string(
    "encoder_weights", None, "where the encoder's weights are now"
)
_ENSEMBLE = flags.DEFINE_list(
    "ensemble", [], "workdirs or .keras files of models that join in"
)
_BATCH = flags.DEFINE_integer(
    "batch_size", 8, "photos at a time", lower_bound=1
)
_DECODING = define_decoding_flags()


def main(arguments: Sequence[str]) -> None:
    """Captions every photo that can be read, and reports the others."""
    if not arguments:
        raise UserError("Expected photos or folders of photos. Received: none")
    if _OUTPUT.value and not _OUTPUT.value.endswith((".csv", ".json")):
        raise UserError(
            "Expected --output to end in .csv or .json. "
            f"Received: {_OUTPUT.value!r}"
        )
    paths, left_out = [], []
    for given in arguments:
        photos, others = photos_in(given)
        paths += photos
        left_out += others
    if left_out:
        print(summarize_skipped(left_out), file=sys.stderr)
    captioner = _captioner()
    readable: list[str] = []
    rows: list[tuple] = []
    batch_size = min(_BATCH.value, len(paths))
    captions = captioner.stream(
        _images(paths, readable), batch_size, **_DECODING()
    )
    for done, caption in enumerate(captions, 1):
        path = readable[done - 1]
        if _ATTENTION.value and caption.words:
            save_picture(caption.draw(), _picture_path(path))
        if _OUTPUT.value:
            rows.extend(_rows(path, caption))
            _show_progress(done, len(paths))
        else:
            print(caption.format(path), flush=True)
    if _OUTPUT.value:
        write_atomically(_OUTPUT.value, _format_file(rows).encode())
    failed = len(paths) - len(readable)
    if failed:
        print(f"{failed} of {len(paths)} not captioned", file=sys.stderr)
        sys.exit(1)


def _captioner() -> PhotoCaptioner:
    if _MODEL.value is not None and _WORKDIR.value is not None:
        raise UserError(
            "Expected --workdir=RUN or --model=VERSION, not both. Received: "
            f"workdir={_WORKDIR.value!r}, model={_MODEL.value!r}"
        )
    path = _MODEL.value or _WORKDIR.value
    return load(path, _WEIGHTS.value, _ENSEMBLE.value)


def _show_progress(done: int, count: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == count else ""
        print(f"\r{done}/{count} photos", end=end, file=sys.stderr, flush=True)


def _images(paths: Sequence[str], readable: list[str]) -> Iterator[np.ndarray]:
    """Yields the images that can be read and collects their paths."""
    for path in paths:
        try:
            image = load_image(path)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        else:
            readable.append(path)
            yield image


_picture_names: set[str] = set()


def _picture_path(path: str) -> str:
    """Returns a different path for the picture of each photo."""
    stem = os.path.splitext(os.path.basename(path))[0]
    name, number = stem, 1
    while name in _picture_names:
        number += 1
        name = f"{stem}-{number}"
    _picture_names.add(name)
    return os.path.join(_ATTENTION.value, f"{name}.png")


def _rows(path: str, caption: Caption) -> Iterator[tuple]:
    for rank, one in enumerate((caption, *caption.alternatives), 1):
        numbers = f"{one.log_probability:.6f}", f"{one.score:.6f}"
        yield path, rank, one.text, *numbers


def _format_file(rows: Sequence[tuple]) -> str:
    if _OUTPUT.value.endswith(".json"):
        entries = [  # Of the best captions.
            {"image_id": os.path.basename(path), "caption": text}
            for path, rank, text, *_ in rows
            if rank == 1
        ]
        return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["file", "rank", "caption", "log_probability", "score"])
    writer.writerows(rows)
    return file.getvalue()


if __name__ == "__main__":
    run(main)
