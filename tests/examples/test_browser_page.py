"""The page that captions photos, in headless Chromium.

Its captions are compared with TFLite's runtime in Python, and its server
records the requests.
"""

import base64
import contextlib
import pathlib
import re

import numpy as np
import pytest

from pipelines.images.decoding import decode_image
from show_attend_tell.inference.caption_phrases import ground_phrases
from tests.chromium import assert_legible, resize, until
from tests.examples.conftest import PAGE, encoded, pictures
from tests.examples.native_runtime import PHOTO, needs_model

pytestmark = needs_model

REGIONS = [
    ["upper left", "top", "upper right"],
    ["left", "centre", "right"],
    ["lower left", "bottom", "lower right"],
]


@pytest.fixture(scope="module")
def opened(browser, server):
    """The page, ready for a photo."""
    open_page(browser, server)
    return browser


def open_page(browser, server, query: str = "") -> None:
    browser.get(f"{server.address}/examples/browser/{query}")
    ready = element(browser, "choose").is_enabled
    until(browser, lambda: ready() or text_of(browser, "error"), 60)


@pytest.fixture(scope="module")
def expected(native):
    """The native runtime's caption of the photo."""
    return native.caption(native.fit(decode_image(PHOTO.read_bytes())))


@pytest.fixture
def page(opened, expected):
    """The page with the photo's caption; afterwards its console is checked."""
    opened.get_log("browser")
    resize(opened, 1280, prefers_reduced_motion="reduce")
    if words_of(opened) != expected["words"]:
        opened.find_element("css selector", "[value=beam]").click()
        choose(opened, PHOTO)
    press(opened, buttons_of(opened)[0], "ESCAPE")
    yield opened
    severe = [e for e in opened.get_log("browser") if e["level"] == "SEVERE"]
    assert severe == []


def choose(page, path: pathlib.Path) -> None:
    with captioning(page):
        element(page, "file").send_keys(str(path))


@contextlib.contextmanager
def captioning(page):
    """Waits for the caption, or the error, that the body causes."""
    page.execute_script(
        "for (const id of ['facts', 'error'])"
        "  document.getElementById(id).textContent = '';"
    )
    yield
    until(page, lambda: text_of(page, "facts") or text_of(page, "error"), 30)


def element(page, id_: str):
    return page.find_element("id", id_)


def text_of(page, id_: str) -> str:
    return element(page, id_).get_property("textContent")


def buttons_of(page) -> list:
    return page.find_elements("css selector", ".word")


def words_of(page) -> list[str]:
    return page.execute_script(
        "return [...document.querySelectorAll('#words:not([hidden]) .word')]"
        "  .map((word) => word.textContent)"
    )


def press(page, element, key: str) -> None:
    from selenium.webdriver import Keys

    element.send_keys(getattr(Keys, key))


def overlay_on(page) -> bool:
    return "on" in element(page, "overlay").get_attribute("class").split()


def pixels_of(page, id_: str) -> np.ndarray:
    address = page.execute_script(
        "return document.getElementById(arguments[0]).toDataURL()", id_
    )
    png = base64.b64decode(address.partition(",")[2])
    return decode_image(png).astype(int)


# ------------------------------------------------------ Captions and attention


def test_photo_is_captioned(page, native, expected):
    # Motion is reduced: nothing plays, nothing fades.
    assert element(page, "play").text == "Play"
    overlay = element(page, "overlay")
    assert overlay.value_of_css_property("transition-duration") == "0s"
    caption = f"Caption: {' '.join(expected['words'])}"
    assert [one.text for one in buttons_of(page)] == expected["words"]
    assert text_of(page, "announcement") == caption
    assert element(page, "words").get_attribute("aria-label") == caption
    photo = element(page, "photo")
    assert photo.accessible_name == f"Your photo. {caption}"
    assert "Log-probability" in text_of(page, "facts")
    assert native.settings["resize_mode"] == "squash"
    for button, word, attention, gate in zip(
        buttons_of(page),
        *(expected[name] for name in ("words", "attention", "gate")),
        strict=True,
    ):
        region = region_of(attention.reshape(native.grid))
        assert button.accessible_name == (
            f"{word}: the model looked {region}, gate {gate:.2f}"
        )


def region_of(attention: np.ndarray) -> str:
    """Names the ninth of the photo that has most attention."""
    shares = np.zeros((3, 3))
    for cell, weight in np.ndenumerate(attention):
        # A cell belongs where its centre lies.
        thirds = 3 * (np.array(cell) + 0.5) / attention.shape
        shares[tuple(thirds.astype(int))] += weight
    row, column = np.unravel_index(shares.argmax(), (3, 3))
    region = f"at the {REGIONS[row][column]}"
    clear = shares.max() >= 0.3 * shares.sum()
    return region if clear else f"all over, most {region}"


def test_search_is_chosen(page, native):
    photo = native.fit(decode_image(PHOTO.read_bytes()))
    for value, method in [("stream", "greedy"), ("beam", "beam")]:
        with captioning(page):
            page.find_element("css selector", f"[value={value}]").click()
        assert words_of(page) == native.caption(photo, method)["words"]


def test_mouse_shows_the_attention_of_a_word(page, native, expected):
    from selenium.webdriver import ActionChains

    attention = expected["attention"]
    sharpest = int(attention.max(axis=1).argmax())
    assert not overlay_on(page)
    button = buttons_of(page)[sharpest]
    button.click()
    assert overlay_on(page)
    assert button.get_attribute("aria-pressed") == "true"
    assert text_of(page, "description").startswith(f"“{button.text}”: looked")
    plain, overlay = (pixels_of(page, name) for name in ("photo", "overlay"))
    assert plain.shape == overlay.shape
    # How much of its brightness each cell has kept.
    rows, columns = native.grid
    y = np.arange(plain.shape[0]) * rows // plain.shape[0]
    x = np.arange(plain.shape[1]) * columns // plain.shape[1]
    cells = y[:, None] * columns + x
    kept = [
        overlay[cells == n].sum() / plain[cells == n].sum()
        for n in range(rows * columns)
    ]
    ranked = np.asarray(kept)[attention[sharpest].argsort()]
    assert ranked[-5:].min() > 1.2 * np.median(ranked)
    button.click()
    assert not overlay_on(page)
    mouse = ActionChains(page, duration=0)
    mouse.move_to_element(buttons_of(page)[0]).perform()
    until(page, lambda: overlay_on(page))
    mouse.move_to_element(page.find_element("tag name", "h1")).perform()
    until(page, lambda: not overlay_on(page))


def test_a_phrase_shows_its_box(page, native, expected):
    from selenium.webdriver import ActionChains

    attention = [one.reshape(native.grid) for one in expected["attention"]]
    phrases = ground_phrases(expected["words"], attention)
    buttons = page.find_elements("css selector", ".phrase")
    assert phrases and [one.text for one in buttons] == [
        phrase.text for phrase in phrases
    ]
    buttons[-1].click()
    assert overlay_on(page)
    assert text_of(page, "description").startswith(f"“{buttons[-1].text}”: ")
    overlay = page.execute_script(
        "const {width, height} = document.getElementById('overlay');"
        "const pen = document.getElementById('overlay').getContext('2d');"
        "return [width, height,"
        "  [...pen.getImageData(0, 0, width, height).data]];"
    )
    width, height, pixels = overlay
    pixels = np.reshape(pixels, (height, width, 4))
    assert np.mean(pixels[..., 3] == 0) > 0.5  # Elsewhere the photo is seen.
    y, x = np.nonzero((pixels[..., 0] > 220) & (pixels[..., 3] == 255))
    sides = np.array([width, height] * 2)
    edges = np.clip(phrases[-1].box * sides, 0, sides - 1)
    extent = x.min(), y.min(), x.max(), y.max()
    assert extent == pytest.approx(tuple(edges), abs=max(sides) / 60)
    buttons[-1].click()
    assert not overlay_on(page)
    # Away from where the next phrases will be.
    mouse = ActionChains(page, duration=0)
    mouse.move_to_element(page.find_element("tag name", "h1")).perform()


def test_keyboard_reaches_all_words(page):
    first, second, *_ = buttons_of(page)
    last = page.find_elements("css selector", ".word, .phrase")[-1]
    assert first.get_attribute("tabindex") == "0"
    assert second.get_attribute("tabindex") == "-1"
    press(page, first, "ARROW_RIGHT")
    assert page.switch_to.active_element == second
    assert overlay_on(page)
    assert text_of(page, "description").startswith(f"“{second.text}”")
    press(page, second, "END")
    assert page.switch_to.active_element == last
    press(page, last, "HOME")
    assert page.switch_to.active_element == first
    press(page, first, "ENTER")
    assert first.get_attribute("aria-pressed") == "true"
    press(page, first, "ESCAPE")
    assert not overlay_on(page)
    press(page, first, "TAB")
    assert page.switch_to.active_element.get_attribute("id") == "play"


def test_caption_plays_word_by_word(page):
    resize(page, 1280, prefers_reduced_motion="no-preference")
    # Ten times as fast as for people.
    page.execute_script(
        "window.realSetTimeout = setTimeout;"
        "window.setTimeout = (action, milliseconds, ...more) =>"
        "  realSetTimeout(action, milliseconds / 10, ...more);"
        "window.played = [];"
        "new MutationObserver(() => {"
        "  const words = [...document.querySelectorAll('.word')];"
        "  const at = words.findIndex((word) => word.matches('.active'));"
        "  const pending = words.filter((word) => word.matches('.pending'));"
        "  if (at >= 0) played.push([at, pending.length]);"
        "}).observe(document.getElementById('words'),"
        "  {subtree: true, attributeFilter: ['class']});"
    )
    choose(page, PHOTO)
    words = words_of(page)
    play = element(page, "play")
    until(page, lambda: play.text == "Play", 30)
    played = page.execute_script("return played")
    # Each word in its turn; those after it are not visible yet.
    assert list(dict(played).items()) == [
        (n, len(words) - 1 - n) for n in range(len(words))
    ]
    assert not overlay_on(page)
    page.execute_script("window.setTimeout = window.realSetTimeout")
    play.click()
    assert play.text == "Stop"
    play.click()
    assert play.text == "Play"
    assert [one.text for one in buttons_of(page)] == words


# ------------------------------------------------------------ Sources of photos


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(page, native, event):
    image = pictures(64)[0]
    with captioning(page):
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
            base64.b64encode(encoded(image, "PNG")).decode(),
            event,
        )
    assert words_of(page) == native.caption(native.fit(image))["words"]


def test_camera_is_released(page):
    opener = element(page, "open-camera")
    shoot = element(page, "shoot")

    def open_camera():
        opener.click()
        until(page, shoot.is_displayed)
        page.execute_script(
            "window.track = document.getElementById('camera').srcObject"
            ".getVideoTracks()[0]"
        )
        assert state() == "live"

    def state():
        return page.execute_script("return window.track.readyState")

    open_camera()
    assert page.switch_to.active_element == shoot
    with captioning(page):
        shoot.click()
    assert state() == "ended"
    assert not element(page, "camera").is_displayed()
    # Chromium's fake camera is green.
    assert pixels_of(page, "photo").mean(axis=(0, 1)).argmax() == 1
    assert words_of(page)
    open_camera()
    with captioning(page):
        press(page, shoot, "ESCAPE")
    assert state() == "ended"
    assert page.switch_to.active_element == opener


def test_camera_errors_are_shown(page):
    for name, message in [
        ("NotAllowedError", "The camera was not allowed."),
        ("NotFoundError", "There is no camera here."),
    ]:
        page.execute_script(
            "navigator.mediaDevices.getUserMedia = () =>"
            "  Promise.reject(new DOMException('no', arguments[0]));",
            name,
        )
        element(page, "open-camera").click()
        until(page, lambda: message in text_of(page, "error"))  # noqa: B023
    page.execute_script("delete navigator.mediaDevices.getUserMedia")


def test_error_of_an_unreadable_photo_is_shown(page, tmp_path):
    unreadable = tmp_path / "letter.jpg"
    unreadable.write_text("Dear reader")
    choose(page, unreadable)
    error = element(page, "error")
    assert error.text.startswith("This browser cannot read “letter.jpg”")
    assert error.aria_role == "alert"
    assert not element(page, "play").is_enabled()
    choose(page, PHOTO)
    assert words_of(page)


def test_only_voices_of_the_device_are_offered(page):
    button = element(page, "speak")
    for local in (True, False):
        page.execute_script(
            "const local = arguments[0];"
            "speechSynthesis.getVoices = () =>"
            "  [{localService: local, lang: 'en-GB'}];"
            "speechSynthesis.dispatchEvent(new Event('voiceschanged'));",
            local,
        )
        assert button.is_displayed() is local
    page.execute_script("delete speechSynthesis.getVoices")


# -------------------------------------------------------------------- Privacy


def test_nothing_leaves_the_page(page, server, serve, run_script, tmp_path):
    other = serve(tmp_path)
    before = len(server.requests)
    choose(page, PHOTO)
    assert server.requests[before:] == []
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert {name[: len(server.address)] for name in fetched} == {server.address}
    attempts = run_script(
        "const other = values[0] + '/photo', attempts = {};"
        "const refused = (promise) => promise.then(() => false, () => true);"
        "for (const url of [location.href, other]) {"
        "  attempts[`fetch ${url}`] = await refused("
        "    fetch(url, {method: 'POST', mode: 'no-cors', body: 'photo'}));"
        "  attempts[`image ${url}`] = await refused(new Promise((yes, no) => {"
        "    Object.assign(new Image(), {onload: yes, onerror: no, src: url});"
        "  }));"
        "  navigator.sendBeacon(url, 'photo');"
        "  attempts[`socket ${url}`] = await refused(new Promise((yes, no) => {"
        "    const socket = new WebSocket(url.replace('http', 'ws'));"
        "    Object.assign(socket, {onopen: yes, onerror: no});"
        "  }));"
        "  const source = `fetch(${JSON.stringify(url)}, {mode: 'no-cors'})"
        "    .then(() => postMessage(false), () => postMessage(true))`;"
        "  attempts[`worker ${url}`] = await new Promise((resolve) => {"
        "    const worker = new Worker(URL.createObjectURL("
        "      new Blob([source])));"
        "    worker.onmessage = ({data}) => resolve(data);"
        "  });"
        "}"
        "attempts['script'] = await refused(import(other));"
        "return attempts;",
        other.address,
    )
    assert len(attempts) == 9
    assert all(attempts.values()), attempts
    assert server.requests[before:] == []
    assert other.requests == []
    # The browser logs that the policy forbids each attempt.
    messages = [entry["message"] for entry in page.get_log("browser")]
    assert any("Content Security Policy" in message for message in messages)


def test_files_name_no_other_server():
    for path in PAGE.glob("*.*"):
        if path.suffix in {".html", ".js", ".css"}:
            text = path.read_text(encoding="utf-8")
            assert not re.findall(r"(?:https?:)?//\w+\.\w+", text), path


# -------------------------------------------------------------- Accessibility


def test_everything_has_a_name(page):
    elements = page.find_elements(
        "css selector",
        "button, input:not([type=file]), canvas:not([aria-hidden]), progress,"
        " section, [role=group], fieldset",
    )
    assert len(elements) > 12
    shown = [one for one in elements if one.is_displayed()]
    unnamed = [one for one in shown if not one.accessible_name]
    assert [one.get_attribute("outerHTML") for one in unnamed] == []
    assert page.execute_script(
        "const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);"
        "return [document.documentElement.lang, document.title,"
        "  document.querySelectorAll('h1').length,"
        "  document.querySelectorAll('main').length,"
        "  ids.length - new Set(ids).size]"
    ) == ["en", "What is in this photo?", 1, 1, 0]


def test_focus_is_visible(page):
    page.execute_script("document.activeElement.blur()")
    press(page, page.find_element("tag name", "body"), "TAB")
    order = []
    for _ in range(8):
        active = page.switch_to.active_element
        order.append(active.get_attribute("id") or active.tag_name)
        width = page.execute_script(
            "const shown = arguments[0].matches('input')"
            "  ? arguments[0].nextElementSibling : arguments[0];"
            "const style = getComputedStyle(shown);"
            "return style.outlineStyle === 'none'"
            "  ? 0 : parseFloat(style.outlineWidth)",
            active,
        )
        if order[-1] != "body":
            assert width >= 2, order[-1]
        press(page, active, "TAB")
    assert {"choose", "open-camera", "button", "play", "input"} <= {*order}


def test_page_fits_a_phone(page, run_script):
    resize(page, 360, 740, prefers_reduced_motion="reduce")
    run_script(
        # The resize itself shifts the layout; it is over after two frames.
        "for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);"
        "window.shift = 0; new PerformanceObserver((list) => {"
        "  for (const entry of list.getEntries()) window.shift += entry.value;"
        "}).observe({type: 'layout-shift'});"
        "return true;"
    )
    choose(page, PHOTO)
    for button in buttons_of(page)[:3]:
        button.click()
    width = page.execute_script("return document.documentElement.scrollWidth")
    assert width == 360
    targets = page.find_elements("css selector", "button, fieldset label")
    heights = {t.rect["height"] for t in targets if t.is_displayed()}
    assert min(heights) >= 40
    assert page.execute_script("return shift") < 0.02


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(page, scheme):
    resize(
        page, 1280, prefers_color_scheme=scheme, prefers_reduced_motion="reduce"
    )
    buttons_of(page)[0].click()
    page.execute_script(
        "document.getElementById('message').hidden = false;"
        "document.getElementById('error').textContent = 'wrong';"
    )
    assert_legible(
        page,
        "[...document.querySelectorAll('h1, p, .word, .button, legend,"
        " fieldset span, strong')].filter((e) => e.textContent)",
        scheme,
        20,
    )


# ------------------------------------------------------------- Missing models


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("missing.tflite", "is not there (404). Put a captioner's .tflite"),
        ("//127.0.0.1:9/model.tflite", "cannot be reached, or is elsewhere"),
        ("index.html", "This is no .tflite file."),
    ],
)
def test_error_of_a_missing_model_is_shown(browser, server, model, message):
    open_page(browser, server, f"?model={model}")
    assert message in text_of(browser, "error")
    assert not element(browser, "choose").is_enabled()
