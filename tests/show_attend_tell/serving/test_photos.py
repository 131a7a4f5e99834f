"""What is sent for which photo; Pillow's own functions say what is right."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.errors import UserError
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


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_what_servers_take_stays_as_it_is(kind, tmp_path):
    data = encoded(picture(), kind)
    path = tmp_path / "photo"
    path.write_bytes(data)
    assert servable_image(str(path)) == data
    assert servable_image(path) == data
    assert servable_image(data) == data


def test_upright_and_oddly_turned_photos_stay_as_they_are():
    for orientation in (1, 9):
        data = encoded(picture(), "JPEG", exif=turned(orientation))
        assert servable_image(data) == data
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0no exif at all")
    assert servable_image(data) == data


def test_a_jpeg_with_further_pictures_stays_as_it_is():
    second = picture(30, 20)
    data = encoded(picture(), "MPO", save_all=True, append_images=[second])
    assert servable_image(data) == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_photos_are_turned_upright(kind, orientation):
    data = encoded(picture(), kind, exif=turned(orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    sent = servable_image(data)
    np.testing.assert_array_equal(pixels(sent), np.asarray(upright))
    assert Image.open(io.BytesIO(sent)).getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize(
    "kind, settings",
    [("WEBP", {"lossless": True}), ("TIFF", {}), ("PPM", {})]
    + [("JPEG2000", {"irreversible": False})],
)
def test_other_forms_become_png_without_loss(kind, settings):
    sent = servable_image(encoded(picture(), kind, **settings))
    assert sent.startswith(b"\x89PNG")
    np.testing.assert_array_equal(pixels(sent), np.asarray(picture()))


def test_uncommon_bmp_becomes_png():
    palette = picture().quantize(16)
    sent = servable_image(encoded(palette, "BMP"))
    assert sent.startswith(b"\x89PNG")
    np.testing.assert_array_equal(
        pixels(sent), np.asarray(palette.convert("RGB"))
    )


def test_pillow_images_and_arrays_are_sent_without_loss():
    for photo in (picture(), np.asarray(picture())):
        np.testing.assert_array_equal(
            pixels(servable_image(photo)), np.asarray(picture())
        )


def test_the_limit_of_pixels_is_the_servers():
    from pipelines.images import graph_decoding as graph_images

    assert photos.MAX_PIXELS == graph_images.MAX_PIXELS


def test_what_has_too_many_pixels_is_halved(monkeypatch):
    monkeypatch.setattr(photos, "MAX_PIXELS", 60 * 40 - 1)
    # Too large for PNG as well.
    monkeypatch.setattr(photos, "MAX_BYTES", 5000)
    sent = Image.open(io.BytesIO(servable_image(encoded(picture(), "PNG"))))
    assert (sent.format, sent.size) == ("JPEG", (30, 20))


def test_what_is_too_large_becomes_smaller(monkeypatch):
    data = encoded(picture(200, 100), "BMP")
    monkeypatch.setattr(photos, "MAX_BYTES", len(data) - 1)
    sent = servable_image(data)
    assert len(sent) < len(data)
    assert Image.open(io.BytesIO(sent)).size == (200, 100)
    monkeypatch.setattr(photos, "MAX_BYTES", 4000)
    assert len(servable_image(data)) <= 4000


def test_what_is_no_image_is_named(tmp_path):
    path = tmp_path / "words.jpg"
    path.write_text("no image")
    with pytest.raises(UserError, match="words.jpg"):
        servable_image(path)
    whole = encoded(picture(), "TIFF")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="words.jpg"):
        servable_image(path)
    with pytest.raises(UserError, match="missing.jpg"):
        servable_image(tmp_path / "missing.jpg")
    with pytest.raises(UserError):
        servable_image(b"")


def test_a_bomb_is_refused_before_it_is_decoded():
    # A header of 20,000 x 20,000, and nothing behind it.
    data = bytearray(encoded(picture(), "PNG"))
    data[16:24] = (20_000).to_bytes(4, "big") * 2
    with pytest.raises(UserError):
        servable_image(bytes(data))
