"""The page's modules in Chromium, against TFLite's runtime and the pipeline.

Captions are compared with the native runtime on the same pixels, and pixels
with `pipelines.images.decoding`.
"""

import base64
import functools
import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from pipelines.images.decoding import decode_image, fit_image
from tests.examples.conftest import encoded, pictures
from tests.examples.native_runtime import MODEL, PHOTO, needs_model

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


def with_tail(
    model: bytes = b"\0\0\0\0TFL3\0", *, compression=0, settings=(), **files
) -> bytes:
    """Returns a model with an archive, in which settings or files differ."""
    with zipfile.ZipFile(MODEL) as archive:
        values = json.loads(archive.read("captioner.json"))
        words = archive.read("vocabulary.txt")
    parts = {
        "captioner.json": json.dumps({**values, **dict(settings)}),
        "vocabulary.txt": words,
        **{f"{name}.json": text for name, text in files.items()},
    }
    file = io.BytesIO(model)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", compression) as archive:
        for name, text in parts.items():
            if text is not None:
                archive.writestr(name, text)
    return file.getvalue()


def without_tail() -> bytes:
    with zipfile.ZipFile(MODEL) as archive:
        begin = min(entry.header_offset for entry in archive.infolist())
    return MODEL.read_bytes()[:begin]


def flipped(file: bytes, position: int) -> bytes:
    """Changes a byte, counted from the end where negative."""
    changed = bytearray(file)
    changed[position] ^= 0xFF
    return bytes(changed)


MALFORMED = {
    "no model": (lambda: b"GIF89a, or so it says", "no .tflite file"),
    "nothing": (lambda: b"", "no .tflite file"),
    "no tail": (lambda: b"\0\0\0\0TFL3" + bytes(99), "no vocabulary at its"),
    "cut": (lambda: with_tail()[:-9], "no vocabulary at its end"),
    "directory": (lambda: flipped(with_tail(), -7), "cannot be read"),
    "size": (lambda: flipped(with_tail(), -9), "cannot be read"),
    "checksum": (lambda: flipped(with_tail(), 200), "another checksum"),
    "compressed": (lambda: with_tail(compression=8), "is compressed"),
    "large": (lambda: with_tail(captioner=" " * 2**21), "bytes, more than"),
    "incomplete": (lambda: with_tail(captioner=None), "captioner.json is not"),
    "no json": (lambda: with_tail(captioner="{"), "is not JSON"),
    "null": (lambda: with_tail(captioner="null"), "is not JSON"),
    "format": (lambda: with_tail(settings={"format": 2}), "format is 2"),
    "rows": (lambda: with_tail(settings={"rows": 1e9}), "rows is 1000000000"),
    "start": (lambda: with_tail(settings={"start": -1}), "start is -1"),
    "resize_mode": (
        lambda: with_tail(settings={"resize_mode": "<b>"}),
        'resize_mode is "<b>"',
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused(run, name):
    make, message = MALFORMED[name]
    with pytest.raises(RuntimeError, match="CaptionerError") as error:
        run(
            "const {readModelFile} = await load('model_file');"
            "return readModelFile(bytes(values[0]));",
            make(),
        )
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
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
    run, site, model, settings, message
):
    content = without_tail() if settings else b"\0\0\0\0TFL3\0"
    path = site / f"{model}.tflite"
    path.write_bytes(with_tail(content, settings=settings))
    with pytest.raises(RuntimeError, match="CaptionerError") as error:
        run(
            "const {Captioner, download} = await load('captioner');"
            "await Captioner.start(await download('/' + values[0]));",
            path.name,
        )
    assert message in str(error.value)
