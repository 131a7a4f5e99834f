"""The graph decodes and fits images as the Python path does, and never fails.

The Python path itself is held to independent programs in `test_images.py`.
"""

import pathlib
import struct
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.images.decoding import decode_image, fit_image
from pipelines.images.graph_decoding import decode_squares
from tests.pipelines.images import costly
from tests.pipelines.images.test_decoding import encoded, picture, png

SIZE = 32


@pytest.fixture(scope="module")
def squares():
    """Decodes with either resize_mode; traced once for all tests."""

    def traced(mode):
        return tf.function(
            lambda images: decode_squares(images, SIZE, mode),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    return {mode: traced(mode) for mode in ("crop", "squash")}


def alpha(height=40, width=60):
    """A picture with every degree of transparency."""
    ramp = np.arange(height * width).reshape(height, width, 1) % 256
    return np.dstack([picture(height, width), ramp.astype(np.uint8)])


def animation():
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    options = {"append_images": frames[1:], "comment": b"long " * 100}
    return encoded(frames[0], "GIF", save_all=True, duration=50, **options)


def images():
    """Every kind of image that servers read, by name."""
    rgb = Image.fromarray(picture())
    large = Image.fromarray(picture(250, 333))
    deep = np.arange(2400).reshape(40, 60).astype(np.uint16) * 27
    palette = rgb.quantize(16)
    bits = b"\0\x1b\x2d\0\xb1\x4e"  # Two unfiltered rows of two bytes.
    return {
        "jpeg": encoded(large, "JPEG"),
        "progressive jpeg": encoded(large, "JPEG", progressive=True),
        "low jpeg": encoded(rgb, "JPEG", quality=20),
        "grey jpeg": encoded(rgb.convert("L"), "JPEG"),
        "cmyk jpeg": encoded(rgb.convert("CMYK"), "JPEG"),
        "png": encoded(large),
        "grey png": encoded(rgb.convert("L")),
        "16 bits": encoded(Image.fromarray(deep)),
        "one bit": encoded(rgb.convert("1")),
        "two bits": png(8, 2, 2, 0, bits),
        "palette png": encoded(palette),
        "transparent png": encoded(Image.fromarray(alpha())),
        "grey transparent png": encoded(Image.fromarray(alpha()).convert("LA")),
        "transparent palette png": encoded(palette, transparency=3),
        "gif": encoded(large, "GIF"),
        "transparent gif": encoded(palette, "GIF", transparency=3),
        "animation": animation(),
        "bmp": encoded(large, "BMP"),
        "grey bmp": encoded(rgb.convert("L"), "BMP"),
        "32 bits bmp": encoded(Image.fromarray(alpha()), "BMP"),
        "one pixel": encoded(Image.new("RGB", (1, 1), "red"), "GIF"),
        "a line": encoded(Image.fromarray(picture(1, 300))),
        "a column": encoded(Image.fromarray(picture(300, 1))),
        "a long line": costly.flat_png(900_000, 1),
    }


def undecodable():
    """What servers do not read, by name."""
    rgb = Image.fromarray(picture())
    complete = {
        kind: encoded(rgb, kind) for kind in ("JPEG", "PNG", "GIF", "BMP")
    }
    starts = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"GIF8", b"BM"
    return {
        **{f"half a {k}": d[: len(d) // 2] for k, d in complete.items()},
        **{f"{k}'s header": data[:20] for k, data in complete.items()},
        **{repr(start): start for start in starts},
        "nothing": b"",
        "words": b"no image at all",
        "webp": encoded(rgb, "WEBP"),
        "palette bmp": encoded(rgb.quantize(16), "BMP"),
    }


@pytest.mark.parametrize("resize_mode", ["crop", "squash"])
def test_pixels_are_those_of_the_python_path(squares, resize_mode):
    given = images()
    decoded, valid = squares[resize_mode](tf.constant(list(given.values())))
    for name, data, square, good in zip(
        given, given.values(), decoded.numpy(), valid.numpy(), strict=True
    ):
        assert good, name
        expected = fit_image(decode_image(data), SIZE, resize_mode)
        np.testing.assert_array_equal(square, expected, err_msg=name)


def test_one_undecodable_image_does_not_affect_the_others(squares):
    good, bad = encoded(Image.fromarray(picture())), undecodable()
    mixed = [x for data in bad.values() for x in (data, good)]
    decoded, valid = squares["crop"](tf.constant(mixed))
    np.testing.assert_array_equal(valid, [False, True] * len(bad))
    expected = fit_image(decode_image(good), SIZE, "crop")
    for undecoded, square in zip(decoded[::2], decoded[1::2], strict=True):
        assert not np.any(undecoded)
        np.testing.assert_array_equal(square, expected)


def with_size(kind, width, height):
    """A small image whose header announces another size."""
    data = bytearray(encoded(Image.fromarray(picture()), kind))
    if kind == "PNG":
        data[16:24] = struct.pack(">II", width, height)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    else:
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def test_bombs_are_refused_by_their_header(squares):
    kinds = "JPEG", "PNG", "GIF", "BMP"
    bombs = [with_size(kind, 60000, 60000) for kind in kinds]
    sides = 2**31 - 1, 2**31 - 1
    bombs += [with_size("PNG", *sides), with_size("BMP", 40, -(2**31))]
    bombs += [with_size("BMP", -40, 40), with_size("PNG", 0, 40)]
    # A real one: 7 KB that decode to 56 megapixels.
    bombs.append(encoded(Image.new("1", (8000, 7000))))
    # A frame that is larger than the canvas around it.
    frame = bytearray(encoded(Image.new("P", (60, 40)), "GIF"))
    start = frame.index(b",\0\0\0\0")
    frame[start + 5 : start + 9] = struct.pack("<HH", 60000, 60000)
    bombs.append(bytes(frame))
    started = time.monotonic()
    _, valid = squares["crop"](tf.constant(bombs))
    assert not np.any(valid)
    assert time.monotonic() - started < 2


def test_small_files_that_cost_much_are_refused(squares):
    bombs = costly.refused_files()
    bombs["progressive.jpg"] = costly.rescanned_jpeg(6_000, 5_000, 10)
    # Behind the first segment, garbage as long as no walk goes on.
    jpeg = encoded(Image.fromarray(picture()), "JPEG")
    bombs["garbage.jpg"] = jpeg[:20] + bytes(9000) + jpeg[20:]
    gif = encoded(Image.new("P", (60, 40)), "GIF")
    start = gif.index(b",\0\0\0\0")
    comments = b"\x21\xfe\x01a\0" * 190_000
    bombs["comments.gif"] = gif[:start] + comments + gif[start:]
    bombs["blocks.gif"] = gif[: start + 11] + b"\1\0" * 400_000 + b"\0;"
    start = time.process_time()
    _, valid = squares["crop"](tf.constant(list(bombs.values())))
    assert not np.any(valid)
    assert time.process_time() - start < 5


def test_jpeg_as_cameras_write_them(squares):
    image = Image.fromarray(picture())
    large = Image.new("RGB", (6_000, 4_000), (9, 99, 200))
    plain = encoded(image, "JPEG")
    photos = [
        # With a thumbnail; with a video behind; with fill bytes.
        encoded(image, "JPEG", exif=b"Exif\0\0" + plain),
        plain + b"\xff\xda\0\x0c\xff\xd9" * 999,
        plain[:20] + b"\xff\xff" + plain[20:],
        encoded(large, "JPEG", progressive=True, subsampling=0),
    ]
    decoded, valid = squares["squash"](tf.constant(photos))
    assert np.all(valid)
    for photo, square in zip(photos, decoded.numpy(), strict=True):
        expected = fit_image(decode_image(photo), SIZE, "squash")
        np.testing.assert_array_equal(square, expected)


def test_fifty_megapixels_are_read(squares):
    data = encoded(Image.new("L", (8000, 6250), 77), "JPEG")
    decoded, valid = squares["squash"](tf.constant([data]))
    assert valid[0] and np.all(decoded[0] == 77)


def test_damaged_bytes_never_raise(squares):
    rng = np.random.default_rng(0)
    damaged = []
    for data in images().values():
        copy = bytearray(data)
        for offset in rng.integers(0, len(copy), 8):
            copy[offset] = rng.integers(256)
        damaged.append(bytes(copy))
    good = encoded(Image.fromarray(picture()))
    decoded, valid = squares["crop"](tf.constant([*damaged, good]))
    assert valid[-1]
    expected = fit_image(decode_image(good), SIZE, "crop")
    np.testing.assert_array_equal(decoded[-1], expected)


def test_real_photos_to_the_last_bit(squares, flickr8k_dir):
    folder = pathlib.Path(flickr8k_dir) / "originals"
    photos = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    for resize_mode in ("crop", "squash"):
        decoded, valid = squares[resize_mode](tf.constant(photos))
        assert np.all(valid)
        for photo, square in zip(photos, decoded.numpy(), strict=True):
            expected = fit_image(decode_image(photo), SIZE, resize_mode)
            np.testing.assert_array_equal(square, expected)


def test_an_unknown_resize_mode_is_refused():
    with pytest.raises(ValueError, match="Received: resize_mode='round'"):
        decode_squares(tf.constant([b""]), SIZE, "round")
