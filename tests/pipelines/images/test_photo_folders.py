"""Photos are found by their content, and nothing is left out in silence."""

import os

import pytest
from PIL import Image

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.images.decoding import decode_image, read_image_file
from pipelines.images.photo_folders import (
    HIDDEN,
    LINKED,
    NO_PHOTO,
    photos_in,
)
from tests.pipelines.images.test_decoding import encoded

RED = Image.new("RGB", (4, 4), "red")


def test_every_format_is_read_whatever_its_name(tmp_path):
    kinds = "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"
    for kind in (*kinds, "PPM"):
        (tmp_path / kind.lower()).write_bytes(encoded(RED, kind))
    photos, left_out = photos_in(str(tmp_path))
    assert len(photos) == 9 and not left_out
    for photo in photos:
        red, *others = decode_image(read_image_file(photo)).mean((0, 1))
        assert red > 240 and max(others) < 15


def test_endings_count_whatever_the_content(tmp_path):
    # What is damaged, empty or HEIC is an error when it is read.
    names = "a.JFIF", "b.avif", "c.heic", "d.jpg", "e.tif", "f.tiff"
    for name in names:
        (tmp_path / name).touch()
    photos, left_out = photos_in(str(tmp_path))
    assert [os.path.basename(photo) for photo in photos] == list(names)
    assert not left_out


def test_what_is_left_out_is_named(tmp_path):
    folder, inner = str(tmp_path), tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "photo.png").write_bytes(encoded(RED))
    (tmp_path / "link.png").symlink_to(inner / "photo.png")
    (tmp_path / "._photo.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "captions.csv").write_text("BMX")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    photos, left_out = photos_in(folder)
    assert photos == [
        os.path.join(folder, "a", "b", "photo.png"),
        os.path.join(folder, "link.png"),
    ]
    expected = {
        "._photo.jpg": HIDDEN,
        ".thumbnails": HIDDEN,
        "captions.csv": NO_PHOTO,
        "loop": LINKED,
        "pipe": "not a regular file",
    }
    assert left_out == tuple(
        Skipped(os.path.join(folder, name), reason)
        for name, reason in expected.items()
    )


def test_files_and_folders_without_photos(tmp_path):
    assert photos_in("no such.jpg") == (["no such.jpg"], ())
    (tmp_path / ".hidden.jpg").touch()
    with pytest.raises(UserError, match="JPEG, PNG.*none, and 1 other"):
        photos_in(str(tmp_path))


def test_heic_gets_advice():
    for brands in (b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"):
        data = b"\0\0\0\x18ftyp" + brands
        with pytest.raises(UserError, match="x.heic, which is HEIC.*as JPEG"):
            decode_image(data, "x.heic")
