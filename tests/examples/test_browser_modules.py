"""The page's modules in Chromium, against TFLite's runtime and the pipeline.

Captions are compared with the native runtime on the same pixels, and pixels
with `pipelines.images.decoding`.
"""

import base64
import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.images.decoding import decode_image, fit_image
from tests.examples.conftest import INSECURE, encoded, pictures
from tests.examples.native_runtime import MODEL, PHOTO, needs_model
from tests.tflite_files import MODEL as MODEL_BYTES
from tests.tflite_files import SETTINGS, malformed_files, model_of, written

pytestmark = needs_model


@pytest.fixture(scope="module")
def run(browser, server, run_script):
    """`run_script` on an empty page of the same policy."""
    browser.get(f"{server.address}/examples/browser/empty.html")
    yield run_script
    browser.get("about:blank")


@pytest.fixture(scope="module")
def captioner(run):
    """`run`, with `captioner` in JavaScript."""
    run(
        "const {Captioner, download} = await load('captioner');"
        "window.captioner = await Captioner.start("
        "  await download('/savedmodels/flickr8k.tflite'));"
    )
    return run


@pytest.mark.parametrize(
    ("method", "signature"),
    [("greedy", "greedy"), ("beam", "beam"), ("stream", "greedy")],
)
def test_captions_equal_those_of_the_native_runtime(
    captioner, native, method, signature
):
    # Eight bits are rounded otherwise where activations differ in the last bit.
    exact = native.settings["precision"] in ("float32", "float16")
    captions = set()
    for pixels in pictures(native.settings["image_size"]):
        caption = captioner(
            "const streamed = [];"
            "const caption = await captioner.caption(bytes(values[0]),"
            "  {method: values[1], onWord: ({token}) => streamed.push(token)});"
            "return {...caption, streamed,"
            "  attention: caption.attention.map((one) => [...one])};",
            pixels.tobytes(),
            method,
        )
        expected = native.caption(pixels, signature)
        for name in ("tokens", "words", "finished"):
            assert caption[name] == expected[name]
        streamed = caption["tokens"] if method == "stream" else []
        assert caption["streamed"] == streamed
        for name in ("logProbability", "attention", "gate"):
            np.testing.assert_allclose(
                caption[name],
                expected[name],
                atol=1e-3 if exact else 0.05,
                err_msg=name,
            )
        captions.add(tuple(caption["words"]))
    assert len(captions) > 1


@pytest.mark.parametrize("resize_mode", ["squash", "crop"])
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (3, 500), (224, 224), (256, 341), (700, 37), (333, 500)],
)
def test_resize_is_exact(run, height, width, resize_mode):
    rng = np.random.default_rng(height)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    rgba = np.dstack([image, np.full((height, width), 255, np.uint8)])
    square = run(
        "const {fitImage} = await load('captioner');"
        "const [pixels, width, height, resizeMode] = values;"
        "const rgba = bytes(pixels);"
        "const line = (y) =>"
        "  rgba.subarray(4 * y * width, 4 * (y + 1) * width);"
        "return base64(fitImage({width, height, line}, 224, resizeMode));",
        *(rgba.tobytes(), width, height, resize_mode),
    )
    expected = fit_image(image, 224, resize_mode)
    np.testing.assert_array_equal(square_of(square), expected)


def square_of(pixels: str) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(pixels), np.uint8)
    return flat.reshape(224, 224, 3).astype(int)


def fitted_by_page(run, file: bytes, resize_mode: str = "squash"):
    """Returns the shape of an image file, and its 224 x 224 pixels."""
    *shape, square = run(
        "const {decodePhoto, fitBitmap} = await load('captioner');"
        "const bitmap = await decodePhoto(new Blob([bytes(values[0])]));"
        "return [bitmap.height, bitmap.width,"
        "  base64(fitBitmap(bitmap, 224, values[1]))];",
        file,
        resize_mode,
    )
    return shape, square_of(square)


def blocks(rows: int, columns: int, side: int) -> np.ndarray:
    few = np.random.default_rng(0).integers(0, 256, (rows, columns, 3))
    return few.astype(np.uint8).repeat(side, 0).repeat(side, 1)


def few_colours() -> np.ndarray:
    """Returns a photo that GIF can hold."""
    return np.asarray(Image.open(PHOTO).quantize(64).convert("RGB"))


def transparent() -> np.ndarray:
    image = np.full((20, 30, 4), (200, 0, 0, 0), np.uint8)
    image[..., 3] = np.linspace(0, 255, 30)
    return image


def oriented(orientation: int) -> bytes:
    smooth = Image.fromarray(blocks(3, 4, 1)).resize((160, 120), 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0, "exif": exif}
    return encoded(np.asarray(smooth), "JPEG", **options)


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [(functools.partial(oriented, n), 3) for n in range(1, 9)]
    + [
        (lambda: encoded(few_colours(), "PNG"), 0),
        (lambda: encoded(few_colours(), "GIF"), 0),
        (lambda: encoded(few_colours(), "BMP"), 0),
        (lambda: encoded(few_colours(), "WEBP", lossless=True), 0),
        (lambda: encoded(transparent(), "PNG"), 2),
        # Read in two bands of at most four megapixels.
        (lambda: encoded(blocks(50, 45, 50), "PNG"), 0),
    ],
)
def test_photos_are_decoded_as_in_python(run, make, tolerance):
    file = make()
    image = decode_image(file)
    for resize_mode in ("squash", "crop"):
        shape, square = fitted_by_page(run, file, resize_mode)
        assert shape == [*image.shape[:2]]
        expected = fit_image(image, 224, resize_mode)
        assert np.abs(square - expected).max() <= tolerance


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return (
        struct.pack(">L4s", len(content), kind)
        + content
        + struct.pack(">L", checksum)
    )


def huge_png(*before: bytes) -> bytes:
    """Returns a PNG of 20000 x 20000 pixels, with chunks before its header."""
    header = chunk(b"IHDR", struct.pack(">2L5B", 20000, 20000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join([*before, header])


# Of formats that Chromium lacks, and of files that lie.
UNREADABLE = {
    b"": "it begins like none of JPEG, PNG, WebP, GIF, BMP, AVIF",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>": "begins like none of",
    b"\0\0\0\x18ftypheic" + bytes(99): "it is HEIC. .*Most Compatible",
    b"\0\0\0\x18ftypmif1\0\0\0\0heic" + bytes(99): "it is HEIC. ",
    b"II*\0\x08\0\0\0" + bytes(99): "it is TIFF. Save it as JPEG",
    b"\xff\xd8\xff" + bytes(99): "it is a damaged JPEG",
    huge_png(): "damaged PNG|400 megapixels",
    huge_png(chunk(b"prVt", bytes(13))): "begins like none of",
    # Complete, of a row of pixels: Chromium takes what there is.
    huge_png()
    + chunk(b"IDAT", zlib.compress(bytes(20001)))
    + chunk(b"IEND", b""): "400 megapixels",
}


@pytest.mark.parametrize("number", range(len(UNREADABLE)))
def test_photos_are_refused_before_they_are_decoded(run, number):
    file, expected = list(UNREADABLE.items())[number]
    message, decoded = run(
        "const {decodePhoto} = await load('captioner');"
        "const decode = window.createImageBitmap;"
        "let decoded = 0;"
        "window.createImageBitmap = () => {"
        "  decoded++; return Promise.reject(new Error()); };"
        "try { await decodePhoto(new File([bytes(values[0])], 'a.jpg')); }"
        "catch (error) { return [`${error.name}: ${error.message}`, decoded]; }"
        "finally { window.createImageBitmap = decode; }",
        file,
    )
    assert re.match(f"CaptionerError: .*(?:{expected})", message), message
    assert decoded == 0


def test_jpeg_photos_are_decoded_nearly_equally(
    captioner, native, flickr8k_dir
):
    """Decoders of JPEG differ by a grey level here and there."""
    photos = sorted(pathlib.Path(flickr8k_dir, "images").glob("*.jpg"))[::350]
    differences, equal = [], 0
    for path in photos:
        file = path.read_bytes()
        square, words = captioner(
            "const {decodePhoto} = await load('captioner');"
            "const bitmap = await decodePhoto(new Blob([bytes(values[0])]));"
            "const pixels = captioner.fit(bitmap), square = base64(pixels);"
            "return [square, (await captioner.caption(pixels)).words];",
            file,
        )
        pixels = native.fit(decode_image(file))
        differences.append(np.abs(square_of(square) - pixels).mean())
        equal += words == native.caption(pixels)["words"]
    assert len(photos) == 20
    assert max(differences) < 1
    assert equal >= 18


# ------------------------------------------------------------ Malformed files


def with_settings(path: pathlib.Path, model: bytes = MODEL_BYTES, **changes):
    """Writes a model whose settings differ, with the right digest."""
    described = json.dumps({**dataclasses.asdict(SETTINGS), **changes})
    return written(path, described, model=model)


def read_by_page(run, content: bytes):
    return run(
        "const {readModelFile} = await load('model_file');"
        "const {settings} = await readModelFile(bytes(values[0]));"
        "return settings.rows;",
        content,
    )


def test_malformed_files_are_refused(run, tmp_path):
    assert read_by_page(run, with_settings(tmp_path / "a").read_bytes()) == 14
    for name, content in malformed_files(tmp_path).items():
        with pytest.raises(RuntimeError, match="CaptionerError") as error:
            read_by_page(run, content)
        assert len(str(error.value)) < 300, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "format is 1"),
        ({"rows": 1e9}, "rows is 1000000000"),
        ({"start": -1}, "start is -1"),
        ({"resize_mode": "<b>"}, 'resize_mode is "<b>"'),
    ],
)
def test_settings_out_of_range_are_refused(run, tmp_path, changes, message):
    content = with_settings(tmp_path / "a", **changes).read_bytes()
    with pytest.raises(RuntimeError, match="CaptionerError") as error:
        read_by_page(run, content)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("described", "words", "message"),
    [
        ("{", "", "captioner.json is not JSON"),
        ("null", "", "captioner.json is not JSON"),
        (" " * 2**17, "", "bytes, more than"),
        ("{}", b"\xff", "vocabulary.txt is not UTF-8"),
        ("{}", "", "its format is undefined"),
    ],
)
def test_malformed_settings_are_refused(
    run, tmp_path, described, words, message
):
    content = written(tmp_path / "a", described, words).read_bytes()
    with pytest.raises(RuntimeError, match="CaptionerError") as error:
        read_by_page(run, content)
    assert message in str(error.value)


def test_other_files_are_no_models(run):
    for content in (b"GIF89a, or so it says", b"", b"\0\0\0\0TFL"):
        with pytest.raises(RuntimeError, match="This is no .tflite file"):
            read_by_page(run, content)


def test_pages_that_are_not_secure_check_models_too(
    browser, server, run_script, native
):
    address = server.address.replace("127.0.0.1", INSECURE)
    browser.get(f"{address}/examples/browser/empty.html")
    secure, words = run_script(
        "const {Captioner, download} = await load('captioner');"
        "const captioner = await Captioner.start("
        "  await download('/savedmodels/flickr8k.tflite'));"
        "const {words} = await captioner.caption("
        "  new Uint8Array(224 * 224 * 3), {method: 'greedy'});"
        "captioner.close();"
        "return [isSecureContext || Boolean(crypto.subtle), words];"
    )
    browser.get(f"{server.address}/examples/browser/empty.html")
    assert secure is False
    black = np.zeros((224, 224, 3), np.uint8)
    assert words == native.caption(black, "greedy")["words"]


@pytest.mark.parametrize("length", [0, 3, 55, 56, 63, 64, 65, 1000])
def test_digests_are_those_of_sha_256(run, length):
    content = np.random.default_rng(length).bytes(length)
    expected = hashlib.sha256(content).digest()
    computed, browsers = run(
        "const {computed, sha256} = await load('sha256');"
        "const content = bytes(values[0]);"
        "return [base64(computed(content)), await sha256(content)];",
        content,
    )
    assert base64.b64decode(computed) == expected
    assert browsers == expected.hex()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("damaged", {}, "cannot load this model"),
        (
            "mismatched",
            {"max_words": 7},
            "do not fit each other: `tokens` of `greedy` should be int32 (1,7)",
        ),
    ],
)
def test_models_unlike_their_settings_are_refused(
    run, site, tmp_path, name, changes, message
):
    model = model_of(MODEL) if changes else MODEL_BYTES
    with_settings(site / f"{name}.tflite", model, image_size=224, **changes)
    with pytest.raises(RuntimeError, match="CaptionerError") as error:
        run(
            "const {Captioner, download} = await load('captioner');"
            "await Captioner.start(await download('/' + values[0]));",
            f"{name}.tflite",
        )
    assert message in str(error.value)
