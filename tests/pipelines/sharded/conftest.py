"""Photos with unusual names, and unreadable ones."""

import io
import os

import pytest
from PIL import Image

from pipelines.sources.scenes import load_scenes

# A newline, a line end of Unicode's, wildcards, a second JSON object, ...
UNUSUAL_NAMES = (
    "line\nend.png",
    "line\u2028end.png",
    "*[a]?.png",
    '"}{"id": "x.png',
    "café 犬.png",
    "--output=x.png",
    " .png",
)
BAD = ("truncated.png", "words.png", "empty.png", "pipe.png", "bomb.png")


@pytest.fixture
def photos(tmp_path):
    """12 scenes, some with unusual names, and 6 files that are none."""
    return write_photos(tmp_path / "photos")


def write_photos(folder):
    """Writes that folder, and returns its path."""
    folder.mkdir()
    names = (*UNUSUAL_NAMES, *(f"scene{n}.png" for n in range(5)))
    scenes = [image.read() for image in load_scenes(0, 0, 12, 0).images]
    for name, data in zip(names, scenes, strict=True):
        (folder / name).write_bytes(data)
    (folder / "truncated.png").write_bytes(scenes[0][:1000])
    (folder / "words.png").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")  # Whoever opens it waits for ever.
    (folder / "bomb.png").write_bytes(_bomb())
    (folder / os.fsdecode(b"\xff.png")).write_bytes(scenes[0])
    return folder


def _bomb() -> bytes:
    """A small BMP whose header announces 60,000 x 60,000 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "BMP")
    data, side = file.getvalue(), (60_000).to_bytes(4, "little")
    return data[:18] + side + side + data[26:]


def files_of(folder) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
