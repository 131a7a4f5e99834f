"""A headless Chromium for tests of pages, and measures of their colours."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def chromium(profile, *flags: str) -> Iterator:
    """Starts an installed browser, or skips the test."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def resize(browser, width: int, height: int = 900, **features: str) -> None:
    """Sets the window, and media features such as `prefers_color_scheme`."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1,
         "mobile": width < 500},
    )  # fmt: skip
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": name.replace("_", "-"), "value": value}
                      for name, value in features.items()]},
    )  # fmt: skip


def until(page, condition: Callable, seconds: float = 5):
    """Waits until a condition holds; returns its value."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(page, seconds, 0.02).until(lambda _: condition())


def luminance(colour: str) -> float:
    """Returns the relative luminance of `rgb(r, g, b)`, by WCAG 2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4
        for p in parts
    ]
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def assert_legible(page, elements: str, scheme: str, least: int) -> None:
    """Checks the contrast of text with what it stands on, by WCAG 2 (AA).

    Args:
        page: The browser.
        elements: JavaScript of the elements to check.
        scheme: `"light"` or `"dark"`, which the first ground must be.
        least: More elements than these must be there.
    """
    pairs = page.execute_script(
        "const paint = (start, property) => {"
        "  for (let e = start; e; e = e.parentElement) {"
        "    const colour = getComputedStyle(e)[property];"
        "    if (!colour.endsWith(', 0)')) return colour;"
        "  }"
        "};"
        f"return [...{elements}].map((e) =>"
        " [paint(e, 'backgroundColor'), getComputedStyle(e).color,"
        "  e.tagName + '.' + e.className + '#' + e.id])"
    )
    assert len(pairs) > least
    faint = {
        (name, contrast(ground, ink))
        for ground, ink, name in pairs
        if contrast(ground, ink) < 4.5
    }
    assert not faint
    ground = luminance(pairs[0][0])
    assert ground > 0.8 if scheme == "light" else ground < 0.05


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours, by WCAG 2."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)
