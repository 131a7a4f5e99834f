"""The page that captions photos, in headless Chromium.

Its answers are held against TFLite's own runtime on the same pixels, and its
pixels against `pipelines.images.decoding`. It is served by a server on this machine,
which writes down what it is asked for.
"""

import base64
import contextlib
import functools
import http.server
import io
import json
import pathlib
import re
import shutil
import subprocess
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from pipelines.images.decoding import decode_image, fit_image
from tests.chromium import chromium, contrast, luminance, resize, until
from tests.conftest import ROOT
from tests.examples.native import MODEL, PHOTO, Native, needs_model

PAGE = ROOT / "examples" / "browser"
OFFLINE = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED")

pytestmark = needs_model


# ------------------------------------------------------------ What is tested


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> pathlib.Path:
    """The page as its README installs it, with the model above it."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    site = tmp_path_factory.mktemp("site")
    ignore = shutil.ignore_patterns("node_modules", "vendor")
    shutil.copytree(PAGE, site / "browser", ignore=ignore)
    shutil.copy(MODEL, site)
    done = subprocess.run(
        ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"],
        cwd=site / "browser",
        capture_output=True,
        text=True,
    )
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("npm cannot get @litertjs/core: no network")
    assert done.returncode == 0, done.stderr
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    (policy,) = re.findall('<meta http-equiv="Content-Sec[^>]*>', index)
    (site / "browser" / "harness.html").write_text(f"<!doctype html>{policy}")
    return site


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(f"{self.command} {self.path}")


def serve(folder: pathlib.Path) -> http.server.ThreadingHTTPServer:
    handler = functools.partial(_Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked = []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def server(site):
    server = serve(site)
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Another server, which must never hear of anything."""
    server = serve(tmp_path_factory.mktemp("elsewhere"))
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    flags = ("device", "ui")
    flags = [f"--use-fake-{flag}-for-media-stream" for flag in flags]
    with chromium(profile, *flags) as browser:
        browser.set_script_timeout(60)
        yield browser


@pytest.fixture(scope="module")
def native() -> Native:
    return Native(MODEL)


# ------------------------------------------------------- The modules, as such


@pytest.fixture(scope="module")
def modules(browser, server):
    """Runs JavaScript with the page's modules, on a page without its own."""
    browser.get(f"{server.address}/browser/harness.html")
    yield functools.partial(run_script, browser)
    browser.get("about:blank")


def run_script(browser, script: str, *arguments):
    """Runs the body of an asynchronous function; raises what it throws."""
    found = browser.execute_async_script(
        "const [values, done] = arguments;"
        "const bytes = (text) => Uint8Array.from(atob(text),"
        "  (character) => character.charCodeAt(0));"
        "const code = (array) => { let text = ''; for (const byte of array)"
        "  text += String.fromCharCode(byte); return btoa(text); };"
        "const module = (name) => import('/browser/' + name + '.js');"
        f"(async (...values) => {{ {script} }})(...values).then("
        "  (found) => done({found}),"
        "  (error) => done({error: `${error.name}: ${error.message}`}));",
        [
            base64.b64encode(one).decode() if isinstance(one, bytes) else one
            for one in arguments
        ],
    )
    if "error" in found:
        raise RuntimeError(found["error"])
    return found["found"]


@pytest.fixture(scope="module")
def captioner(modules):
    """`captioner` in JavaScript."""
    modules(
        "const {Captioner, download} = await module('captioner');"
        "window.captioner = await Captioner.start("
        "  await download('../flickr8k.tflite'));"
    )
    return modules


def pictures(size: int) -> list[np.ndarray]:
    """Blocks, noise and one colour."""
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (3, 5, 5, 3)).astype(np.uint8)
    drawn = [
        np.asarray(Image.fromarray(one).resize((size, size), kind))
        for one, kind in zip(few, (0, 2, 3), strict=True)
    ]
    noise = rng.integers(0, 256, (size, size, 3)).astype(np.uint8)
    return [*drawn, noise, np.full((size, size, 3), 128, np.uint8)]


@pytest.mark.parametrize(
    ("method", "signature"),
    [("greedy", "greedy"), ("beam", "beam"), ("stream", "greedy")],
)
def test_captions_are_those_of_the_native_runtime(
    captioner, native, method, signature
):
    # Eight bits are rounded otherwise where activations differ in the last bit.
    exact = native.settings["precision"] in ("float32", "float16")
    tolerance = 1e-3 if exact else 0.05
    said = []
    for pixels in pictures(native.settings["image_size"]):
        found = captioner(
            "const told = [];"
            "const found = await captioner.caption(bytes(values[0]),"
            "  {method: values[1], onWord: ({token}) => told.push(token)});"
            "return {...found, told,"
            "  attention: found.attention.map((one) => [...one])};",
            pixels.tobytes(),
            method,
        )
        expected = native.caption(signature, pixels)
        assert found["tokens"] == expected["tokens"]
        assert found["finished"] == expected["finished"]
        assert found["told"] == (found["tokens"] if method == "stream" else [])
        for name in ("logProbability", "attention", "gate"):
            np.testing.assert_allclose(
                found[name], expected[name], atol=tolerance, err_msg=name
            )
        words = [native.vocabulary[token] for token in found["tokens"]]
        assert found["words"] == words
        said.append(tuple(words))
    assert len(set(said)) > 1


@pytest.mark.parametrize("resize_mode", ["squash", "crop"])
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (3, 500), (224, 224), (256, 341), (700, 37), (333, 500)],
)
def test_pixels_are_resized_to_the_last_bit(
    modules, height, width, resize_mode
):
    rng = np.random.default_rng(height)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    lines = np.dstack([image, np.full((height, width), 255, np.uint8)])
    found = modules(
        "const {fitImage} = await module('captioner');"
        "const [pixels, width, height, resize_mode] = values;"
        "const lines = bytes(pixels);"
        "const line = (y) =>"
        "  lines.subarray(4 * y * width, 4 * (y + 1) * width);"
        "return code(fitImage({width, height, line}, 224, resize_mode));",
        lines.tobytes(),
        width,
        height,
        resize_mode,
    )
    expected = fit_image(image, 224, resize_mode)
    np.testing.assert_array_equal(unpacked(found, 224), expected)


def unpacked(pixels: str, size: int) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(pixels), np.uint8)
    return flat.reshape(size, size, 3)


def seen_by_page(run, file: bytes, resize_mode: str = "squash"):
    """What the page makes of an image file: its shape, and 224 x 224."""
    found = run(
        "const {decodePhoto, fitBitmap} = await module('captioner');"
        "const bitmap = await decodePhoto(new Blob([bytes(values[0])]));"
        "return [bitmap.height, bitmap.width,"
        "  code(fitBitmap(bitmap, 224, values[1]))];",
        file,
        resize_mode,
    )
    return found[:2], unpacked(found[2], 224).astype(int)


def encoded(image: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("resize_mode", ["squash", "crop"])
def test_a_large_photo_is_read_in_bands(modules, resize_mode):
    # Three bands of four megapixels each.
    few = np.random.default_rng(0).integers(0, 256, (60, 50, 3))
    image = few.astype(np.uint8).repeat(60, 0).repeat(60, 1)
    shape, found = seen_by_page(modules, encoded(image, "PNG"), resize_mode)
    assert shape == [3600, 3000]
    np.testing.assert_array_equal(found, fit_image(image, 224, resize_mode))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(modules, orientation):
    few = np.random.default_rng(1).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(few).resize((160, 120), 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encoded(smooth, "JPEG", quality=95, subsampling=0, exif=exif)
    shape, found = seen_by_page(modules, file)
    expected = fit_image(decode_image(file), 224, "squash")
    assert shape == ([120, 160] if orientation < 5 else [160, 120])
    assert np.abs(found - expected).max() <= 3


def test_transparency_is_laid_on_white(modules):
    image = np.zeros((20, 30, 4), np.uint8)
    image[..., 0] = 200
    image[..., 3] = np.linspace(0, 255, 30).astype(np.uint8)
    file = encoded(image, "PNG")
    _, found = seen_by_page(modules, file)
    expected = fit_image(decode_image(file), 224, "squash")
    assert np.abs(found - expected).max() <= 2
    assert (found[:, 0] == 255).all()


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "BMP", "PNG"])
def test_lossless_files_are_read_alike(modules, kind):
    # Few colours, which GIF has room for.
    few = Image.open(PHOTO).convert("RGB").quantize(64).convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    file = encoded(np.asarray(few), kind, **options)
    _, found = seen_by_page(modules, file)
    expected = fit_image(decode_image(file), 224, "squash")
    np.testing.assert_array_equal(found, expected)


def test_jpeg_photos_are_read_nearly_alike(captioner, native, flickr8k_dir):
    """Decoders of JPEG differ by a grey level here and there."""
    photos = sorted(pathlib.Path(flickr8k_dir, "images").glob("*.jpg"))[::350]
    means, same = [], 0
    for path in photos:
        file = path.read_bytes()
        _, found = seen_by_page(captioner, file)
        image = decode_image(file)
        means.append(np.abs(found - fit_image(image, 224, "squash")).mean())
        words = captioner(
            "const {decodePhoto} = await module('captioner');"
            "const bitmap = await decodePhoto(new Blob([bytes(values[0])]));"
            "return (await captioner.caption(captioner.fit(bitmap))).words;",
            file,
        )
        same += words == native.words("beam", native.fitted(image))
    assert len(photos) == 20
    assert max(means) < 1
    assert same >= 18


# -------------------------------------------------------------- Hostile files


def with_tail(model: bytes = b"\0\0\0\0TFL3\0", *, packed=0, **files) -> bytes:
    """A model whose tail says what is asked for."""
    with zipfile.ZipFile(MODEL) as tail:
        settings = json.loads(tail.read("captioner.json"))
        words = tail.read("vocabulary.txt")
    settings = {**settings, **files.pop("settings", {})}
    parts = {
        "captioner.json": json.dumps(settings),
        "vocabulary.txt": words,
        **{f"{name}.json": text for name, text in files.items()},
    }
    file = io.BytesIO(model)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", packed) as tail:
        for name, text in parts.items():
            if text is not None:
                tail.writestr(name, text)
    return file.getvalue()


def bare() -> bytes:
    """The model without its tail."""
    with zipfile.ZipFile(MODEL) as tail:
        begin = min(entry.header_offset for entry in tail.infolist())
    return MODEL.read_bytes()[:begin]


def flipped(file: bytes, place: int) -> bytes:
    """With one byte changed, counted from the end where negative."""
    changed = bytearray(file)
    changed[place] ^= 0xFF
    return bytes(changed)


HOSTILE = {
    "no model": (lambda: b"GIF89a, or so it says", "no .tflite file"),
    "nothing": (lambda: b"", "no .tflite file"),
    "no tail": (lambda: b"\0\0\0\0TFL3" + bytes(99), "no words at its end"),
    "cut": (lambda: with_tail()[:-9], "no words at its end"),
    "directory": (lambda: flipped(with_tail(), -7), "cannot be read"),
    "size": (lambda: flipped(with_tail(), -9), "cannot be read"),
    "checksum": (lambda: flipped(with_tail(), 200), "not what was put there"),
    "compressed": (lambda: with_tail(packed=8), "is compressed"),
    "large": (lambda: with_tail(captioner=" " * 2**21), "bytes, more than"),
    "incomplete": (lambda: with_tail(captioner=None), "captioner.json is not"),
    "no json": (lambda: with_tail(captioner="{"), "is not JSON"),
    "null": (lambda: with_tail(captioner="null"), "is not JSON"),
    "format": (lambda: with_tail(settings={"format": 2}), "format is 2"),
    "rows": (lambda: with_tail(settings={"rows": 1e9}), "rows is 1000000000"),
    "start": (lambda: with_tail(settings={"start": -1}), "start is -1"),
    "resize_mode": (
        lambda: with_tail(settings={"resize_mode": "<b>"}), 'resize_mode is "<b>"'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(modules, name):
    make, message = HOSTILE[name]
    with pytest.raises(RuntimeError, match="CaptionerError") as error:
        modules(
            "const {readModelFile} = await module('model_file');"
            "return readModelFile(bytes(values[0]));",
            make(),
        )
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_tail(), "cannot load this model"),
        (
            lambda: with_tail(bare(), settings={"max_words": 7}),
            "do not fit each other: `tokens` of `greedy` should be int32 (1,7)",
        ),
    ],
)
def test_a_model_that_is_not_what_it_says_is_refused(
    modules, site, make, message
):
    # Each under a name of its own, which no browser has in its cache.
    name = f"wrong{len(list(site.iterdir()))}.tflite"
    (site / name).write_bytes(make())
    with pytest.raises(RuntimeError, match="CaptionerError") as error:
        modules(
            "const {Captioner, download} = await module('captioner');"
            "await Captioner.start(await download('/' + values[0]));",
            name,
        )
    assert message in str(error.value)


# ------------------------------------------------------------------- The page


@pytest.fixture(scope="module")
def opened(browser, server):
    """The page, ready for a photo. It keeps still, which is faster."""
    resize(browser, 1280, prefers_reduced_motion="reduce")
    open_page(browser, server)
    return browser


def open_page(browser, server, query: str = "") -> None:
    browser.get(f"{server.address}/browser/{query}")
    find = browser.find_element
    until(
        browser,
        lambda: find("id", "choose").is_enabled() or find("id", "error").text,
        60,
    )


@pytest.fixture
def page(opened):
    """The page with its photo described; in the end it has not complained."""
    opened.get_log("browser")
    resize(opened, 1280, prefers_reduced_motion="reduce")
    opened.find_element("css selector", "[value=beam]").click()
    choose(opened, PHOTO)
    yield opened
    severe = [e for e in opened.get_log("browser") if e["level"] == "SEVERE"]
    assert severe == []


def choose(page, path: pathlib.Path) -> None:
    with told(page):
        page.find_element("id", "file").send_keys(str(path))


@contextlib.contextmanager
def told(page):
    """Waits for the whole caption that something brings, or a complaint."""
    page.execute_script(
        "for (const id of ['facts', 'error'])"
        "  document.getElementById(id).textContent = '';"
    )
    yield
    until(page, lambda: text_of(page, "facts") or text_of(page, "error"), 30)


def text_of(page, id_: str) -> str:
    return page.execute_script(
        "return document.getElementById(arguments[0]).textContent", id_
    )


def words_of(page) -> list:
    return page.find_elements("css selector", ".word")


def said(page) -> list[str]:
    return [word.text for word in words_of(page)]


def photo() -> np.ndarray:
    return decode_image(PHOTO.read_bytes())


def press(page, element, key: str) -> None:
    from selenium.webdriver import Keys

    element.send_keys(getattr(Keys, key))


def lit(page) -> bool:
    canvas = page.find_element("id", "lit")
    return "on" in canvas.get_attribute("class").split()


def test_a_photo_gets_its_caption(page, native):
    expected = native.words("beam", native.fitted(photo()))
    assert said(page) == expected
    caption = f"Caption: {' '.join(expected)}"
    assert text_of(page, "announce") == caption
    words = page.find_element("id", "words")
    assert words.get_attribute("aria-label") == caption
    canvas = page.find_element("id", "photo")
    assert canvas.accessible_name == f"Your photo. {caption}"
    assert "Log-probability" in text_of(page, "facts")


def test_word_by_word_is_another_search(page, native):
    for value, method in [("stream", "greedy"), ("beam", "beam")]:
        with told(page):
            page.find_element("css selector", f"[value={value}]").click()
        assert said(page) == native.words(method, native.fitted(photo()))


NAMES = [
    ["upper left", "top", "upper right"],
    ["left", "centre", "right"],
    ["lower left", "bottom", "lower right"],
]


def test_words_tell_where_the_model_looked(page, native):
    found = native.caption("beam", native.fitted(photo()))
    rows, columns = native.settings["rows"], native.settings["columns"]
    assert native.settings["resize_mode"] == "squash"
    for word, attention, gate in zip(
        words_of(page), found["attention"], found["gate"], strict=True
    ):
        shares = np.zeros((3, 3))
        for row in range(rows):
            for column in range(columns):
                # A cell belongs where its centre lies.
                ninth = (
                    int(3 * (row + 0.5) / rows),
                    int(3 * (column + 0.5) / columns),
                )
                shares[ninth] += attention[row * columns + column]
        row, column = np.unravel_index(shares.argmax(), (3, 3))
        place = f"at the {NAMES[row][column]}"
        if shares.max() < 0.3 * shares.sum():
            place = f"all over, most {place}"
        assert word.accessible_name == (
            f"{word.text}: the model looked {place}, gate {gate:.2f}"
        )


def test_a_click_lights_where_the_model_looked(page, native):
    attention = native.caption("beam", native.fitted(photo()))["attention"]
    sharpest = int(attention.max(axis=1).argmax())
    assert not lit(page)
    word = words_of(page)[sharpest]
    word.click()
    assert lit(page)
    assert word.get_attribute("aria-pressed") == "true"
    assert text_of(page, "told").startswith(f"“{word.text}”: looked")
    plain, bright = (pixels_of(page, name) for name in ("photo", "lit"))
    assert plain.shape == bright.shape
    # How much of its brightness each cell has kept.
    rows, columns = native.settings["rows"], native.settings["columns"]
    y = np.arange(plain.shape[0]) * rows // plain.shape[0]
    x = np.arange(plain.shape[1]) * columns // plain.shape[1]
    cell = y[:, None] * columns + x
    kept = [bright[cell == n].sum() / plain[cell == n].sum()
            for n in range(rows * columns)]  # fmt: skip
    ranked = np.asarray(kept)[attention[sharpest].argsort()]
    assert ranked[-5:].min() > 1.2 * np.median(ranked)
    word.click()
    assert not lit(page)


def pixels_of(page, id_: str) -> np.ndarray:
    address = page.execute_script(
        "return document.getElementById(arguments[0]).toDataURL()", id_
    )
    png = base64.b64decode(address.partition(",")[2])
    return decode_image(png).astype(int)


def test_hovering_shows_for_as_long(page):
    from selenium.webdriver import ActionChains

    mouse = ActionChains(page, duration=0)
    mouse.move_to_element(words_of(page)[0]).perform()
    until(page, lambda: lit(page))
    mouse.move_to_element(page.find_element("tag name", "h1")).perform()
    until(page, lambda: not lit(page))


def test_the_keyboard_does_all(page):
    first, second, *_, last = words_of(page)
    assert first.get_attribute("tabindex") == "0"
    assert second.get_attribute("tabindex") == "-1"
    press(page, first, "ARROW_RIGHT")
    assert page.switch_to.active_element == second
    assert lit(page)
    assert text_of(page, "told").startswith(f"“{second.text}”")
    press(page, second, "END")
    assert page.switch_to.active_element == last
    press(page, last, "HOME")
    assert page.switch_to.active_element == first
    press(page, first, "ENTER")
    assert first.get_attribute("aria-pressed") == "true"
    press(page, first, "ESCAPE")
    assert not lit(page)
    press(page, first, "TAB")
    assert page.switch_to.active_element.get_attribute("id") == "play"


def test_captions_play_as_they_come(page):
    resize(page, 1280, prefers_reduced_motion="no-preference")
    # Ten times as fast as for people.
    page.execute_script(
        "window.wait = setTimeout;"
        "window.setTimeout = (action, learning_rate_multiplier, ...more) =>"
        "  wait(action, learning_rate_multiplier / 10, ...more);"
        "window.seen = [];"
        "new MutationObserver(() => {"
        "  const words = [...document.querySelectorAll('.word')];"
        "  const at = words.findIndex((word) => word.matches('.lit'));"
        "  const hidden = words.filter((word) => word.matches('.later'));"
        "  if (at >= 0) seen.push([at, hidden.length]);"
        "}).observe(document.getElementById('words'),"
        "  {subtree: true, attributeFilter: ['class']});"
    )
    choose(page, PHOTO)
    words = [word.get_attribute("textContent") for word in words_of(page)]
    play = page.find_element("id", "play")
    until(page, lambda: play.text == "Play", 30)
    seen = page.execute_script("return seen")
    # Each word in its turn; those after it are not yet to be seen.
    assert list(dict(seen).items()) == [
        (n, len(words) - 1 - n) for n in range(len(words))
    ]
    assert not lit(page)
    page.execute_script("window.setTimeout = window.wait")
    play.click()
    assert play.text == "Stop"
    play.click()
    assert play.text == "Play"
    assert said(page) == words


def test_still_pages_do_not_play(page):
    assert page.find_element("id", "play").text == "Play"
    assert page.execute_script(
        "return getComputedStyle(document.getElementById('lit'))"
        ".transitionDuration"
    ) == "0s"  # fmt: skip


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(page, native, way):
    image = pictures(64)[0]
    file = encoded(image, "PNG")
    with told(page):
        page.execute_script(
            "const bytes = Uint8Array.from(atob(arguments[0]),"
            "  (character) => character.charCodeAt(0));"
            "const data = new DataTransfer();"
            "data.items.add("
            "  new File([bytes], 'photo.png', {type: 'image/png'}));"
            "document.body.dispatchEvent(arguments[1] === 'drop'"
            "  ? new DragEvent('drop',"
            "      {dataTransfer: data, bubbles: true, cancelable: true})"
            "  : new ClipboardEvent('paste',"
            "      {clipboardData: data, bubbles: true}));",
            base64.b64encode(file).decode(),
            way,
        )
    assert said(page) == native.words("beam", native.fitted(image))


def test_the_camera_is_let_go(page):
    page.find_element("id", "open-camera").click()
    shoot = page.find_element("id", "shoot")
    until(page, shoot.is_displayed)
    assert page.switch_to.active_element == shoot
    page.execute_script(
        "window.track = document.getElementById('camera').srcObject"
        ".getVideoTracks()[0]"
    )
    state = "return window.track.readyState"
    assert page.execute_script(state) == "live"
    with told(page):
        shoot.click()
    assert page.execute_script(state) == "ended"
    assert not page.find_element("id", "camera").is_displayed()
    # Chromium's own picture is green.
    assert pixels_of(page, "photo").mean(axis=(0, 1)).argmax() == 1
    assert said(page)
    page.find_element("id", "open-camera").click()
    until(page, shoot.is_displayed)
    page.execute_script(
        "window.track = document.getElementById('camera').srcObject"
        ".getVideoTracks()[0]"
    )
    with told(page):
        press(page, shoot, "ESCAPE")
    assert page.execute_script(state) == "ended"
    opener = page.find_element("id", "open-camera")
    assert page.switch_to.active_element == opener


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotAllowedError", "The camera was not allowed."),
        ("NotFoundError", "There is no camera here."),
    ],
)
def test_a_camera_that_fails_is_told(page, name, message):
    page.execute_script(
        "navigator.mediaDevices.getUserMedia = () =>"
        "  Promise.reject(new DOMException('no', arguments[0]));",
        name,
    )
    page.find_element("id", "open-camera").click()
    until(page, lambda: message in page.find_element("id", "error").text)
    page.execute_script("delete navigator.mediaDevices.getUserMedia")


def test_what_is_no_photo_is_told(page, tmp_path):
    wrong = tmp_path / "letter.jpg"
    wrong.write_text("Dear reader")
    page.find_element("id", "file").send_keys(str(wrong))
    error = page.find_element("id", "error")
    until(page, lambda: error.text)
    assert error.text.startswith("This browser cannot read “letter.jpg”")
    assert error.aria_role == "alert"
    assert not page.find_element("id", "play").is_enabled()
    choose(page, PHOTO)
    assert said(page)


def test_voices_of_others_are_not_offered(page):
    speak = page.find_element("id", "speak")
    for local in (True, False):
        page.execute_script(
            "speechSynthesis.getVoices = () =>"
            "  [{localService: arguments[0], lang: 'en-GB'}];"
            "speechSynthesis.dispatchEvent(new Event('voiceschanged'));".replace(
                "arguments[0]", json.dumps(local)
            )
        )
        assert speak.is_displayed() is local
    page.execute_script("delete speechSynthesis.getVoices")


# ------------------------------------------------------- What leaves the page


def test_nothing_leaves_the_page(page, server, elsewhere):
    asked = len(server.asked)
    choose(page, PHOTO)
    assert server.asked[asked:] == []
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert fetched
    assert {name[: len(server.address)] for name in fetched} == {server.address}
    found = run_script(
        page,
        "const own = location.href, other = values[0] + '/photo';"
        "const tried = {};"
        "const refused = (promise) => promise.then(() => 'open', () => 'shut');"
        "for (const [name, url] of [['own', own], ['other', other]]) {"
        "  tried[`fetch ${name}`] = await refused("
        "    fetch(url, {method: 'POST', mode: 'no-cors', body: 'photo'}));"
        "  tried[`image ${name}`] = await refused(new Promise((yes, no) => {"
        "    Object.assign(new Image(), {onload: yes, onerror: no, src: url});"
        "  }));"
        "  navigator.sendBeacon(url, 'photo');"
        "  tried[`socket ${name}`] = await refused(new Promise((yes, no) => {"
        "    const socket = new WebSocket(url.replace('http', 'ws'));"
        "    Object.assign(socket, {onopen: yes, onerror: no});"
        "  }));"
        "  const source = `fetch(${JSON.stringify(url)}, {mode: 'no-cors'})"
        "    .then(() => postMessage('open'), () => postMessage('shut'))`;"
        "  tried[`worker ${name}`] = await new Promise((tell) => {"
        "    const worker = new Worker(URL.createObjectURL("
        "      new Blob([source])));"
        "    worker.onmessage = ({data}) => tell(data);"
        "  });"
        "}"
        "tried['script other'] = await refused(import(other));"
        "return tried;",
        elsewhere.address,
    )
    assert len(found) == 9
    assert set(found.values()) == {"shut"}
    assert server.asked[asked:] == []
    assert elsewhere.asked == []
    # The browser says of each attempt that the policy forbids it.
    refused = [entry["message"] for entry in page.get_log("browser")]
    assert any("Content Security Policy" in message for message in refused)


def test_the_files_name_no_other_server():
    for path in PAGE.glob("*.*"):
        if path.suffix in {".html", ".js", ".css"}:
            text = path.read_text(encoding="utf-8")
            assert not re.findall(r"(?:https?:)?//\w+\.\w+", text), path


# ------------------------------------------------------------------ For whom


def test_everything_has_a_name(page):
    found = page.find_elements(
        "css selector", "button, input:not([type=file]), canvas:not"
        "([aria-hidden]), progress, section, [role=group], fieldset",
    )  # fmt: skip
    assert len(found) > 12
    shown = [one for one in found if one.is_displayed()]
    assert [one.get_attribute("outerHTML") for one in shown
            if not one.accessible_name] == []  # fmt: skip
    assert page.execute_script(
        "const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);"
        "return [document.documentElement.lang, document.title,"
        "  document.querySelectorAll('h1').length,"
        "  document.querySelectorAll('main').length,"
        "  ids.length - new Set(ids).size]"
    ) == ["en", "What is in this photo?", 1, 1, 0]


def test_focus_is_seen(page):
    press(page, page.find_element("tag name", "body"), "TAB")
    order = []
    for _ in range(8):
        active = page.switch_to.active_element
        order.append(active.get_attribute("id") or active.tag_name)
        width = page.execute_script(
            "const seen = arguments[0].matches('input')"
            "  ? arguments[0].nextElementSibling : arguments[0];"
            "const style = getComputedStyle(seen);"
            "return style.outlineStyle === 'none'"
            "  ? 0 : parseFloat(style.outlineWidth)",
            active,
        )
        if order[-1] != "body":
            assert width >= 2, order[-1]
        press(page, active, "TAB")
    assert {"choose", "open-camera", "button", "play", "input"} <= {*order}


def test_it_fits_a_phone(page):
    resize(page, 360, 740, prefers_reduced_motion="reduce")
    page.execute_script(
        "window.shift = 0; new PerformanceObserver((list) => {"
        "  for (const entry of list.getEntries()) window.shift += entry.value;"
        "}).observe({type: 'layout-shift'});"
    )
    choose(page, PHOTO)
    for word in words_of(page)[:3]:
        word.click()
    width = page.execute_script("return document.documentElement.scrollWidth")
    assert width == 360
    targets = page.find_elements("css selector", "button, fieldset label")
    heights = {t.rect["height"] for t in targets if t.is_displayed()}
    assert min(heights) >= 40
    assert page.execute_script("return shift") < 0.02


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_by_day_and_night(page, tmp_path, scheme):
    resize(page, 1280, prefers_color_scheme=scheme,
           prefers_reduced_motion="reduce")  # fmt: skip
    words_of(page)[0].click()
    page.execute_script(
        "document.getElementById('message').hidden = false;"
        "document.getElementById('error').textContent = 'wrong';"
    )
    pairs = page.execute_script(
        "const paint = (start, property) => {"
        "  for (let e = start; e; e = e.parentElement) {"
        "    const colour = getComputedStyle(e)[property];"
        "    if (!colour.endsWith(', 0)')) return colour;"
        "  }"
        "};"
        "return [...document.querySelectorAll('h1, p, .word, .button, legend,"
        " fieldset span, strong')].filter((e) => e.textContent).map((e) =>"
        " [paint(e, 'backgroundColor'), getComputedStyle(e).color,"
        "  e.tagName + '.' + e.className + '#' + e.id])"
    )
    assert len(pairs) > 20
    faint = {
        (name, contrast(ground, ink))
        for ground, ink, name in pairs
        if contrast(ground, ink) < 4.5
    }
    assert not faint
    ground = luminance(pairs[0][0])
    assert ground > 0.8 if scheme == "light" else ground < 0.05


# -------------------------------------------------------------- Without model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("missing.tflite", "is not there (404). Put a captioner's .tflite"),
        ("//127.0.0.1:9/model.tflite", "cannot be reached, or is elsewhere"),
        ("index.html", "This is no .tflite file."),
    ],
)
def test_a_missing_model_is_told(browser, server, model, message):
    open_page(browser, server, f"?model={model}")
    assert message in browser.find_element("id", "error").text
    assert not browser.find_element("id", "choose").is_enabled()
