"""Images of every kind, and the one resize."""

import io
import os
import struct
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFile

from pipelines.errors import UserError
from pipelines.images.decoding import (
    MAX_BYTES,
    decode_image,
    fit_image,
    load_image,
    read_image_file,
    resized_shape,
)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(height=40, width=60, seed=0):
    """A smooth picture, so that JPEG keeps it."""
    phase = np.random.default_rng(seed).uniform(0, 3, 3)
    y, x = np.mgrid[0:height, 0:width][..., None]
    waves = np.sin(x / 9 + phase) + np.cos(y / 7 + phase)
    return (127 + 60 * waves).astype(np.uint8)


def png(width, height, depth, colour, rows, extra=b""):
    """A PNG written by hand; `rows` are unfiltered bytes."""

    def chunk(kind, data):
        body, size = kind + data, struct.pack(">I", len(data))
        return size + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG", "GIF"])
def test_formats_keep_the_picture(kind):
    grey = np.broadcast_to(picture()[..., :1], (40, 60, 3))
    for pixels in (picture(), grey, np.full((1, 1, 3), 255, np.uint8)):
        data = encoded(Image.fromarray(pixels), kind, lossless=True)
        decoded = decode_image(data)
        assert decoded.shape == pixels.shape and decoded.dtype == np.uint8
        error = np.abs(decoded.astype(int) - pixels)
        assert error.mean() < 8
        if kind not in ("JPEG", "GIF"):
            assert error.max() == 0
    # Of one channel.
    data = encoded(Image.fromarray(grey[..., 0]), kind, lossless=True)
    decoded = decode_image(data)
    assert decoded.shape == (40, 60, 3)
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])


def test_mpo_is_a_jpeg():
    first, second = Image.fromarray(picture()), Image.new("RGB", (60, 40))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    expected = decode_image(encoded(first, "JPEG"))
    np.testing.assert_array_equal(decode_image(data), expected)


def test_one_bit_is_black_and_white():
    data = png(8, 1, 1, 0, b"\x00\xa5")
    expected = [255, 0, 255, 0, 0, 255, 0, 255]
    np.testing.assert_array_equal(decode_image(data)[0, :, 1], expected)


def test_sixteen_bits_become_the_higher_eight():
    values = [0, 255, 256, 0x7FFF, 0x8000, 0xFFFF]
    rows = b"\x00" + struct.pack(">6H", *values)
    grey = png(6, 1, 16, 0, rows)
    expected = [0, 0, 1, 127, 128, 255]
    for channel in range(3):
        decoded = decode_image(grey)[0, :, channel]
        np.testing.assert_array_equal(decoded, expected)
    rgb = png(2, 1, 16, 2, rows)
    np.testing.assert_array_equal(
        decode_image(rgb)[0], [[0, 0, 1], [127, 128, 255]]
    )
    # TensorFlow, which decodes on servers, says the same.
    for data in (grey, rgb):
        np.testing.assert_array_equal(
            decode_image(data), tf.io.decode_png(data, channels=3)
        )


def test_transparency_is_laid_on_white():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = 0, 255, 51  # 51 / 255 = one fifth
    expected = [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
    for kind in ("PNG", "WEBP"):
        data = encoded(Image.fromarray(pixels), kind, lossless=True)
        np.testing.assert_array_equal(decode_image(data)[0], expected)
    grey = Image.fromarray(pixels[..., [0, 3]], "LA")
    np.testing.assert_array_equal(
        decode_image(encoded(grey))[0, :, 0], [255, 200, 244]
    )


def test_transparent_colours():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        decoded = decode_image(encoded(image, kind, transparency=0))
        expected = [[255, 255, 255], [200, 100, 50]]
        np.testing.assert_array_equal(decoded[0], expected)
    # Without a palette.
    chunk = b"tRNS" + struct.pack(">3H", 1, 2, 3)
    extra = struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = png(2, 1, 8, 2, bytes([0, 1, 2, 3, 4, 5, 6]), extra)
    np.testing.assert_array_equal(
        decode_image(data)[0], [[255, 255, 255], [4, 5, 6]]
    )


def test_cmyk():
    inks = np.zeros((8, 16, 4), np.uint8)
    inks[:, 8:] = 255, 0, 0, 0  # cyan alone
    data = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)
    decoded = decode_image(data)
    np.testing.assert_allclose(decoded[:, 2], 255, atol=4)
    np.testing.assert_allclose(decoded[:, 13], [[0, 255, 255]] * 8, atol=4)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (9, 7), c) for c in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"append_images": frames[1:], "lossless": True}
        data = encoded(frames[0], kind, save_all=True, **options)
        decoded = decode_image(data)
        np.testing.assert_array_equal(decoded, np.full((7, 9, 3), [255, 0, 0]))


def test_tiff():
    rgb = Image.fromarray(picture())
    for mode in ("RGB", "L", "1", "P", "CMYK", "RGBA"):
        image = rgb.convert(mode)
        expected = np.asarray(image.convert("RGB"))
        for compression in (None, "tiff_lzw"):
            data = encoded(image, "TIFF", compression=compression)
            np.testing.assert_array_equal(decode_image(data), expected)
    # The first of several pages.
    pages = {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}
    pixels = decode_image(encoded(rgb, "TIFF", **pages))
    np.testing.assert_array_equal(pixels, picture())
    deep = Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], np.uint16))
    grey = decode_image(encoded(deep, "TIFF"))[0, :, 0]
    np.testing.assert_array_equal(grey, [0, 0x12, 0xFF])


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_tiff_of_other_numbers(kind):
    data = encoded(Image.fromarray(np.zeros((2, 2), kind)), "TIFF")
    with pytest.raises(UserError, match="8 or 16 bits.*scan.tif"):
        decode_image(data, "scan.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_upright(orientation):
    # How a camera that was turned has stored the picture.
    stored = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: np.rot90(x[:, ::-1], -1),
        8: lambda x: np.rot90(x, -1),
    }
    pixels = picture()
    image = Image.fromarray(np.ascontiguousarray(stored[orientation](pixels)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "WEBP", "TIFF"):
        data = encoded(image, kind, exif=exif, lossless=True)
        loaded = load_image(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(loaded, pixels)
        np.testing.assert_array_equal(decode_image(data), pixels)


def test_broken_exif_is_ignored():
    unknown = Image.Exif()
    unknown[0x0112] = 77
    image = Image.fromarray(picture())
    plain = decode_image(encoded(image, "JPEG"))
    broken = b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\xff" * 99
    for exif in (*broken, unknown):
        decoded = decode_image(encoded(image, "JPEG", exif=exif))
        np.testing.assert_array_equal(decoded, plain)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(kind, part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(UserError, match="holiday.jpg is truncated"):
        decode_image(data[: int(part * len(data))], "holiday.jpg")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_damaged_bytes_give_pixels_or_a_clear_error():
    generator = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        good = encoded(Image.fromarray(picture()), kind)
        for _ in range(60):
            bad = bytearray(good)
            for offset in generator.integers(0, len(bad), 4):
                bad[offset] = generator.integers(256)
            try:
                assert decode_image(bytes(bad)).dtype == np.uint8
            except UserError:
                continue


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>404</html>",
        b"BMI and other measures",
        b"\0" * 100,
        b"R",
    ],
)
def test_what_is_no_image(data):
    with pytest.raises(UserError, match="(?s)JPEG, PNG.*page.html"):
        decode_image(data, "page.html")
    with pytest.raises(UserError, match="nothing.png, which is empty"):
        decode_image(b"", "nothing.png")


def test_a_decompression_bomb_is_refused_by_its_header():
    tracemalloc.start()
    for width, height in ((50_000, 50_000), (16_000, 8_001), (2**31 - 1, 1)):
        data = png(width, height, 8, 2, b"\0")
        with pytest.raises(UserError, match="128 megapixels.*bomb.png"):
            decode_image(data, "bomb.png")
    gif = b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0)
    with pytest.raises(UserError, match="128 megapixels"):
        decode_image(gif + frame + b"\x02\x02\x44\x01\x00;")
    webp = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4
    webp += (49_999).to_bytes(3, "little") * 2
    riff = b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp
    with pytest.raises(UserError, match="128 megapixels"):
        decode_image(riff)
    bmp = encoded(Image.new("RGB", (1, 1)), "BMP")
    bmp = bmp[:18] + struct.pack("<ii", 50_000, 50_000) + bmp[26:]
    with pytest.raises(UserError, match="128 megapixels"):
        decode_image(bmp)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_pillows_limit_is_restored(recwarn):
    limit = Image.MAX_IMAGE_PIXELS
    row = b"\0" + bytes(12_000 // 8)
    data = png(12_000, 8_000, 1, 0, row * 8_000)  # 96 megapixels
    assert decode_image(data).shape == (8_000, 12_000, 3)
    assert Image.MAX_IMAGE_PIXELS == limit
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_hundred_and_eight_megapixels(kind):
    image = Image.new("L", (12_000, 9_000), 99)
    data = encoded(image, kind, compress_level=1)
    del image
    tracemalloc.start()
    decoded = fit_image(decode_image(data), 224, "crop")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(decoded, np.full((224, 224, 3), 99))
    # NumPy holds the RGB array (324 MB) and little more.
    assert peak < 400e6


def test_files(tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(encoded(Image.new("RGB", (2, 2))))
    assert read_image_file(good) == good.read_bytes()
    with pytest.raises(UserError, match="no-such.*No such file"):
        read_image_file(tmp_path / "no-such.png")
    with pytest.raises(UserError, match="[Ii]s a directory"):
        read_image_file(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UserError, match="empty.jpg, which is empty"):
        read_image_file(tmp_path / "empty.jpg")
    with pytest.raises(UserError, match="null"):
        read_image_file("a\0b")


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "huge.bmp"
    with open(path, "wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(UserError, match="huge.bmp"):
        read_image_file(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    errors = []

    def read():
        try:
            read_image_file(path)
        except UserError as error:
            errors.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert "not a regular file" in str(errors[0])


def tensorflow_fit(image, size, resize_mode):
    """The same in TensorFlow, before rounding."""
    height, width = image.shape[:2]
    if resize_mode == "squash":
        return tf.image.resize(image, (size, size)).numpy()
    target = round(size * 256 / 224)
    shorter = min(height, width)
    # Halves are rounded up.
    height = int(np.floor(height * target / shorter + 0.5))
    width = int(np.floor(width * target / shorter + 0.5))
    resized = tf.image.resize(image, (height, width)).numpy()
    top, left = (height - size) // 2, (width - size) // 2
    return resized[top : top + size, left : left + size]


@pytest.mark.parametrize("resize_mode", ["crop", "squash"])
@pytest.mark.parametrize(
    "shape",
    [(375, 500), (500, 333), (224, 224), (256, 256)]
    + [(1, 1), (3, 2), (17, 1000), (613, 611)],
)
@pytest.mark.parametrize("size", [224, 112])
def test_fit_is_tensorflows_resize(shape, size, resize_mode):
    generator = np.random.default_rng(shape)
    image = generator.integers(0, 256, (*shape, 3), np.uint8)
    decoded = fit_image(image, size, resize_mode)
    expected = tensorflow_fit(image, size, resize_mode)
    assert decoded.dtype == np.uint8 and decoded.shape == (size, size, 3)
    # Rounded, and to within 1e-3 before that.
    assert np.abs(decoded - expected).max() <= 0.5 + 1e-3
    clear = np.abs(expected - np.floor(expected) - 0.5) > 1e-3
    np.testing.assert_array_equal(
        decoded[clear], np.rint(expected)[clear].astype(np.uint8)
    )


def test_fit_of_a_view():
    image = picture(50, 70)
    turned = np.rot90(image)
    np.testing.assert_array_equal(
        fit_image(turned, 32, "crop"), fit_image(turned.copy(), 32, "crop")
    )


def test_fit_by_hand():
    # Two pixels to four: centres at -1/4, 1/4, 3/4 and 5/4 of a pixel.
    image = np.array([[[0] * 3, [200] * 3]], np.uint8)
    fitted = fit_image(image, 4, "squash")[..., 0]
    np.testing.assert_array_equal(fitted, [[0, 50, 150, 200]] * 4)
    # Four to two: 0.5 and 2.5, rounded to even.
    image = np.array([[[0] * 3, [1] * 3, [2] * 3, [3] * 3]], np.uint8)
    fitted = fit_image(image, 2, "squash")[0, :, 0]
    np.testing.assert_array_equal(fitted, [0, 2])


def test_crop_is_the_papers():
    assert resized_shape((375, 500), 224, "crop") == (256, 341)
    assert resized_shape((500, 333), 224, "crop") == (384, 256)
    assert resized_shape((2, 3), 224, "crop") == (256, 384)
    # 5 * 256 / 2 = 640 exactly; 1001 * 128 / 1000 = 128.128.
    assert resized_shape((2, 5), 224, "crop") == (256, 640)
    assert resized_shape((1000, 1001), 112, "crop") == (128, 128)


@pytest.mark.parametrize(
    ("image", "size", "resize_mode", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), 2, "crop", "dtype=float32"),
        (np.zeros((4, 4), np.uint8), 2, "crop", r"shape=\(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), 2, "pad", "resize_mode='pad'"),
        (np.zeros((4, 4, 3), np.uint8), 0, "crop", "size=0"),
        (np.zeros((0, 4, 3), np.uint8), 2, "crop", r"shape=\(0, 4, 3\)"),
    ],
)
def test_fit_refuses(image, size, resize_mode, message):
    with pytest.raises(ValueError, match=message):
        fit_image(image, size, resize_mode)


def test_real_photos(flickr8k_dir):
    folder = os.path.join(flickr8k_dir, "images")
    for name in sorted(os.listdir(folder))[:8]:
        data = read_image_file(os.path.join(folder, name))
        decoded = decode_image(data, name).astype(int)
        expected = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
        assert np.abs(decoded - expected).mean() < 1
