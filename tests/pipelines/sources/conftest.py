"""Tiny photos for the hand-made data sets."""

import io
import pathlib
from collections.abc import Callable

import pytest
from PIL import Image


def _jpeg(colour=(200, 30, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def write_images() -> Callable[..., None]:
    """Writes the same tiny JPEG under each of the names in a folder."""

    def write(folder: pathlib.Path, *names: str) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_jpeg())

    return write
