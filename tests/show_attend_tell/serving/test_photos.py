"""Photos are encoded without loss; Pillow's own functions are the oracle."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.errors import UserError
from pipelines.images import graph_decoding
from show_attend_tell.serving import photos
from show_attend_tell.serving.photos import servable_image

ORIENTATION = 0x0112


def picture(width=60, height=40) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def encoded(image, kind, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def exif(orientation: int) -> Image.Exif:
    values = Image.Exif()
    values[ORIENTATION] = orientation
    return values


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_servable_files_are_unchanged(kind, tmp_path):
    data = encoded(picture(), kind)
    path = tmp_path / "photo"
    path.write_bytes(data)
    assert servable_image(str(path)) == data
    assert servable_image(path) == data
    assert servable_image(data) == data


@pytest.mark.parametrize(
    "kind, settings",
    [
        ("JPEG", {"exif": exif(1)}),
        ("JPEG", {"exif": exif(9)}),
        ("JPEG", {"exif": b"Exif\0\0no exif at all"}),
        ("MPO", {"save_all": True, "append_images": [picture(30, 20)]}),
    ],
)
def test_unusual_jpeg_files_are_unchanged(kind, settings):
    data = encoded(picture(), kind, **settings)
    assert servable_image(data) == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_photos_are_turned_upright(kind, orientation):
    data = encoded(picture(), kind, exif=exif(orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    sent = servable_image(data)
    np.testing.assert_array_equal(pixels(sent), np.asarray(upright))
    assert Image.open(io.BytesIO(sent)).getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize(
    "photo",
    [
        encoded(picture(), "WEBP", lossless=True),
        encoded(picture(), "TIFF"),
        encoded(picture(), "PPM"),
        encoded(picture(), "JPEG2000", irreversible=False),
        picture(),
        np.asarray(picture()),
    ],
    ids=["webp", "tiff", "ppm", "jpeg2000", "pillow", "array"],
)
def test_other_photos_become_png_without_loss(photo):
    sent = servable_image(photo)
    assert sent.startswith(b"\x89PNG")
    np.testing.assert_array_equal(pixels(sent), np.asarray(picture()))


def test_bmp_with_a_palette_becomes_png():
    palette = picture().quantize(16)
    sent = servable_image(encoded(palette, "BMP"))
    assert sent.startswith(b"\x89PNG")
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(pixels(sent), expected)


def test_photos_with_too_many_pixels_are_halved(monkeypatch):
    assert photos.MAX_PIXELS == graph_decoding.MAX_PIXELS
    monkeypatch.setattr(photos, "MAX_PIXELS", 60 * 40 - 1)
    # Too large for PNG as well.
    monkeypatch.setattr(photos, "MAX_BYTES", 5000)
    sent = Image.open(io.BytesIO(servable_image(encoded(picture(), "PNG"))))
    assert (sent.format, sent.size) == ("JPEG", (30, 20))


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        ("TIFF", (70_000, 100), (35_000, 50)),
        ("PNG", (300, 200_000), (75, 50_000)),
    ],
)
def test_sides_that_no_jpeg_has_are_halved(kind, size, expected):
    data = encoded(Image.new("RGB", size), kind)
    sent = Image.open(io.BytesIO(servable_image(data)))
    assert (sent.format, sent.size) == ("JPEG", expected)


def test_what_costs_servers_too_much_is_sent_otherwise():
    image = Image.new("RGB", (6_000, 5_000), (9, 99, 200))
    data = encoded(image, "JPEG", progressive=True, subsampling=0)
    sent = servable_image(data)
    assert sent != data
    assert Image.open(io.BytesIO(sent)).size == image.size
    assert "progressive" not in Image.open(io.BytesIO(sent)).info


def test_photos_with_too_many_bytes_become_smaller(monkeypatch):
    data = encoded(picture(200, 100), "BMP")
    monkeypatch.setattr(photos, "MAX_BYTES", len(data) - 1)
    sent = servable_image(data)
    assert len(sent) < len(data)
    assert Image.open(io.BytesIO(sent)).size == (200, 100)
    monkeypatch.setattr(photos, "MAX_BYTES", 4000)
    assert len(servable_image(data)) <= 4000


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "words.jpg"
    complete = encoded(picture(), "TIFF")
    for content in (b"no image", complete[: len(complete) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="words.jpg"):
            servable_image(path)
    with pytest.raises(UserError, match="missing.jpg"):
        servable_image(tmp_path / "missing.jpg")
    with pytest.raises(UserError):
        servable_image(b"")


def test_decompression_bomb_is_refused_before_it_is_decoded():
    # A header of 20,000 x 20,000, and nothing behind it.
    data = bytearray(encoded(picture(), "PNG"))
    data[16:24] = (20_000).to_bytes(4, "big") * 2
    with pytest.raises(UserError):
        servable_image(bytes(data))
