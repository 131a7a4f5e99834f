"""The report: the content of the file, and the page in a browser."""

import base64
import hashlib
import io
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from pipelines.captions import CaptionedImage
from pipelines.errors import UserError
from show_attend_tell.evaluation.report import write_report
from show_attend_tell.evaluation.split_evaluation import (
    UNDEFINED,
    SplitEvaluation,
)
from show_attend_tell.inference.attention_figure import draw_attention
from show_attend_tell.inference.caption import Caption
from show_attend_tell.metrics.caption_scores import Evaluation
from tests.chromium import assert_legible, chromium, resize, until

GRID = (14, 14)
MARKUP = "</script><img src=x onerror=\"document.title='hacked'\"> & <!--"
HISTORY = [{"BLEU-4": 0.1}, {"BLEU-4": 0.2}]


def png(shape=(200, 300), value=150) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((*shape, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def image(name: str, references=("a cat sits",), **options) -> CaptionedImage:
    options = {"load": png, **options}
    return CaptionedImage(name, "test", tuple(references), **options)


def caption(text: str, peaks=None, **options) -> Caption:
    """A caption whose words attend to one location each."""
    words = tuple(text.split())
    attention = np.zeros((len(words), *GRID), np.float32)
    for t in range(len(words)):
        attention[t].flat[t if peaks is None else peaks[t]] = 1
    defaults = {
        "words": words,
        "log_probability": -1.5 * len(words),
        "score": -1.0 * len(words),
        "finished": True,
        "attention": attention,
        "gate": np.linspace(0, 1, len(words), dtype=np.float32),
    }
    return Caption(**{**defaults, **options})


def evaluation(
    images,
    captions,
    cider=None,
    figures=None,
    intervals=None,
    left_out=None,
    undefined=None,
) -> SplitEvaluation:
    """A split with the given CIDEr of each image, else with no scores."""
    scores = Evaluation(
        ids=tuple(image.id for image in images),
        scores={},
        intervals=intervals or {},
        per_image={} if cider is None else {"CIDEr": np.array(cider)},
        tokenizer="PTB",
        left_out=left_out or {},
        undefined=undefined or {},
        wordless=(0, 0),
        sums=(),
    )
    return SplitEvaluation(
        "test", tuple(images), tuple(captions), scores, figures or {}
    )


def write(directory, split: SplitEvaluation, **options) -> str:
    """Writes a report and reads it back."""
    options = {"title": "Report", "about": {}, **options}
    path = write_report(str(directory), evaluation=split, **options)
    with open(path, encoding="utf-8") as file:
        return file.read()


def content(page: str) -> dict:
    """The data of the page, as its own script reads them."""
    (text,) = re.findall(
        '<script type="application/json" id="data">(.*?)</script>', page
    )
    return json.loads(text)


def numbered(count: int, cider=None, **options) -> SplitEvaluation:
    images = [image(f"{n}", **options) for n in range(count)]
    return evaluation(images, [caption("a dog")] * count, cider)


# ------------------------------------------------------------- The file


def test_the_best_the_worst_and_random_captions_are_shown(tmp_path):
    cider = [0.5, 0.1, 0.9, 0.3, 0.7, float("nan")]
    groups = content(write(tmp_path, numbered(6, cider), shown=2))["groups"]
    assert groups["best"] == [2, 4]
    assert groups["worst"] == [1, 3]
    assert len({*groups["random"]}) == 2
    # Of few captions none is both of the best and of the worst.
    groups = content(write(tmp_path, numbered(6, cider)))["groups"]
    assert (groups["best"], groups["worst"]) == ([2, 4], [1, 3])
    assert sorted(groups["random"]) == [*range(6)]
    shown = content(write(tmp_path, numbered(40), shown=5))
    assert (shown["groups"]["best"], shown["metric"]) == ([], None)
    assert len(shown["captions"]) == 5
    assert shown["total"] == 40


def test_only_photos_that_are_shown_are_read(tmp_path):
    read = []
    images = [
        image(f"{n}", load=lambda n=n: read.append(n) or png())
        for n in range(9)
    ]
    cider = np.arange(9) / 9
    split = evaluation(images, [caption("a dog")] * 9, cider)
    groups = content(write(tmp_path, split, shown=1))["groups"]
    assert {*read} == {8, 0, *groups["random"]}
    assert len(read) == len({*read})


def test_a_damaged_photo_leaves_no_report(tmp_path):
    split = numbered(1, load=lambda: b"no photo")
    with pytest.raises(UserError, match="first bytes are b'no photo'"):
        write(tmp_path, split)
    assert os.listdir(tmp_path) == []


def test_photos_are_small(tmp_path):
    images = [image("tall", load=lambda: png((900, 600))), image("small")]
    page = write(tmp_path, evaluation(images, [caption("a dog")] * 2))
    shown = content(page)["captions"]
    for n, size in (("0", [213, 320]), ("1", [300, 200])):
        with Image.open(
            io.BytesIO(base64.b64decode(shown[n]["photo"]))
        ) as photo:
            assert photo.format == "JPEG"
            assert [*photo.size] == shown[n]["size"] == size


def test_scores_tables_and_remarks(tmp_path):
    figures = {
        "split": "test",
        "CIDEr": 1.25,
        "BLEU-1": 0.5,
        "BLEU-1_no_penalty": 0.625,
        "images": 1234,
        "distinct": 0.75,
        "BLEU-4": None,
        "attention_change": None,
        "by_statement": {"colour": {"count": 7, "true": 0.5}},
        "by_word_class": {
            "noun": {"count": 4, "pointing_accuracy": 0.75},
            "size": {"count": 0, "pointing_accuracy": float("nan")},
        },
    }
    intervals = {"CIDEr": (1.0, 1.5), "distinct": (0.5, 1.0)}
    split = evaluation(
        [image("0")], [caption("a dog")], figures=figures,
        intervals=intervals, left_out={"SPICE": "no Java"},
        undefined={"BLEU-4": "no caption has 4 words"},
    )  # fmt: skip
    shown = content(write(tmp_path, split))
    assert shown["metrics"] == [
        {"name": "BLEU-1", "value": 0.5, "interval": [], "no_penalty": 0.625},
        {"name": "BLEU-4", "value": None, "interval": [], "no_penalty": None},
        {"name": "CIDEr", "value": 1.25, "interval": [1.0, 1.5],
         "no_penalty": None},
    ]  # fmt: skip
    assert shown["facts"] == [
        ["Images", 1234, []],
        ["Distinct", 0.75, [0.5, 1.0]],
        ["Attention change", UNDEFINED, []],
    ]
    assert [table["columns"] for table in shown["tables"]] == [
        ["Count", "True"],
        ["Count", "Pointing accuracy"],
    ]
    assert shown["tables"][0]["rows"] == [["colour", 7, 0.5]]
    assert shown["tables"][1]["rows"] == [["noun", 4, 0.75], ["size", 0, None]]
    assert shown["remarks"] == [
        "BLEU-4: undefined, because no caption has 4 words",
        "without SPICE: no Java",
    ]
    split.figures["grounding"] = {
        "F1_all": 0.25,
        "intervals": {"F1_all": (0.125, 0.5)},
        "by_word_class": {"people": {"count": 2}},
        "references": {"count": 9, "by_word_class": {"scene": {"count": 3}}},
    }
    shown = content(write(tmp_path, split))
    assert [["people", 2]] in [table["rows"] for table in shown["tables"]]
    assert shown["tables"][-1] == {
        "title": "Reference captions: attention by class of word",
        "columns": ["Count"],
        "rows": [["scene", 3]],
    }
    assert ["F1 all", 0.25, [0.125, 0.5]] in shown["facts"]
    assert ["Reference captions: count", 9, []] in shown["facts"]


def sources(texts) -> str:
    """Hashes of texts, as a policy writes them."""
    hashes = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(h).decode()}'" for h in hashes)


def test_the_file_needs_nothing_else_and_may_do_nothing_else(tmp_path):
    page = write(tmp_path / "a", numbered(3), history=HISTORY)
    assert page == write(tmp_path / "b", numbered(3), history=HISTORY)
    assert os.listdir(tmp_path / "a") == ["index.html"]
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    markup = page.replace(script, "")
    references = re.findall(r'[ :](?:src|href|action)="(.*?)"', markup)
    assert references and all(text.startswith("#") for text in references)
    assert not re.search(r"<(link|iframe|object|base|img)|\son\w+=", markup)
    assert "<noscript>" in page
    styles = re.findall("<style[^>]*>(.*?)</style>", page, re.DOTALL)
    assert len(styles) == 2
    attributes = dict.fromkeys(re.findall(' style="(.*?)"', markup))
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', page)
    assert dict(rule.split(" ", 1) for rule in policy.split("; ")) == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": sources([script]),
        "style-src": sources(styles),
        "style-src-attr": f"'unsafe-hashes' {sources(attributes)}",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_text_from_data_is_never_html(tmp_path):
    text = MARKUP + " {data} {title} \ud800 \u2028"
    split = evaluation(
        [image(MARKUP, (MARKUP,))], [caption(text)],
        figures={MARKUP: 0.5}, left_out={"SPICE": MARKUP},
    )  # fmt: skip
    page = write(
        tmp_path, split, title=MARKUP + "{data}{curves}", history=HISTORY,
        about={MARKUP: MARKUP}, notes=[[MARKUP]],
    )  # fmt: skip
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert "<!--" not in page
    (shown,) = content(page)["captions"].values()
    assert shown["references"] == [MARKUP]
    assert shown["words"][-1] == "\ud800"


# ---------------------------------------------------------- In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    """The address of a report on a few captions."""
    images = [
        image("img10", ("Two Dogs play", "dogs running")),
        image("img9"),
        image("wordless", ()),
        image(MARKUP, (MARKUP,)),
    ]
    captions = [
        # Row by row: the 4th of the first row, and the 13th of the 12th.
        caption("two dogs run", [3, 11 * 14 + 12, 0]),
        caption(
            "a kitten", finished=False, locations=(None, 100),
            resize_mode="squash", alternatives=(caption("a worse guess"),),
        ),
        caption(""),
        caption(MARKUP),
    ]  # fmt: skip
    split = evaluation(
        images, captions, [0.2, 0.8, 0.0, 0.4],
        figures={
            "BLEU-4": 0.25, "BLEU-4_no_penalty": 0.5, "CIDEr": 2.5,
            "images": 1234, MARKUP: 0.5,
            "by_statement": {MARKUP: {"count": 7, MARKUP: 0.5}},
        },
        intervals={"BLEU-4": (0.2, 0.3)}, left_out={"SPICE": MARKUP},
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("report")
    notes = [[], ["not true: kitten"], [], [MARKUP]]
    path = write_report(
        str(directory), f"Report {MARKUP}", split, {"Split": MARKUP}, notes,
        HISTORY,
    )  # fmt: skip
    return f"file://{path}"


@pytest.fixture
def page(browser, report):
    """The report, opened anew; in the end it has not complained."""
    resize(browser, 1280)
    browser.get(report)
    yield browser
    assert [e["message"] for e in browser.get_log("browser")] == []


def elements(page, selector: str) -> list:
    return page.find_elements("css selector", selector)


def names(page) -> list[str]:
    return page.execute_script(
        "return [...document.querySelectorAll('.card')]"
        ".map(card => card.getAttribute('aria-label'))"
    )


def card(page, name: str):
    return elements(page, ".card")[names(page).index(name)]


def words(page, name: str) -> list:
    return elements(card(page, name), ".word")


def overlay(page, name: str) -> np.ndarray:
    """The pixels of a photo under its overlay, `(200, 300, 3)`."""
    frame = card(page, name)
    until(page, lambda: elements(frame, ".frame.active"))
    (frame,) = elements(frame, ".frame")
    with Image.open(io.BytesIO(frame.screenshot_as_png)) as shot:
        pixels = np.array(shot.convert("RGB").resize((300, 200))).astype(int)
    for y in (slice(4), slice(-4, None)):  # the rounded corners
        pixels[y, :4] = pixels[y, -4:] = 0
    return pixels


def peak(pixels: np.ndarray) -> tuple[float, float]:
    light = pixels.sum(axis=-1)
    y, x = np.nonzero(light >= light.max() - 3)
    return x.mean() + 0.5, y.mean() + 0.5


def is_plain(page, name: str) -> bool:
    return not elements(card(page, name), ".frame.active")


def press(element, key: str) -> None:
    from selenium.webdriver import Keys

    element.send_keys(getattr(Keys, key))


# Photos of 300 x 200. Of the shorter side at 256 the model saw the middle
# 224: 175 pixels, from (62.5, 12.5) on; each cell is 12.5 wide and high.
CELL, LEFT, TOP = 12.5, 62.5, 12.5


@pytest.fixture
def still(page):
    """The page without transitions and scrolling, for screenshots."""
    resize(page, 1280, 3000, prefers_reduced_motion="reduce")
    return page


def test_a_word_shows_its_attention_like_the_figure(still):
    for word, row, column in ((0, 0, 3), (1, 11, 12), (2, 0, 0)):
        words(still, "img10")[word].click()
        pixels = overlay(still, "img10")
        x, y = peak(pixels)
        assert abs(x - (LEFT + (column + 0.5) * CELL)) < CELL
        assert abs(y - (TOP + (row + 0.5) * CELL)) < CELL
    words(still, "img10")[1].click()
    pixels = overlay(still, "img10")
    # The panel of the figure, cut out of it by its margins.
    attention = caption("two dogs run", [3, 11 * 14 + 12, 0]).attention[1:2]
    photo = np.full((200, 300, 3), 150, np.uint8)
    figure = draw_attention(photo, ["dogs"], attention, panel_size=300)
    figure = np.asarray(figure).astype(int)
    top = 30 + 50  # of the margin and the title
    panel = figure[top : top + 200, -330:-30]
    middle = np.s_[20:-20, 20:-20]
    assert np.abs(pixels[middle] - panel[middle]).mean() < 2
    assert np.abs(pixels[middle] - panel[middle]).max() < 40


def test_a_phrase_shows_its_box(still):
    (phrase,) = elements(card(still, "img10"), ".phrase")
    assert phrase.text == "two dogs"
    phrase.click()
    frame = card(still, "img10")
    until(still, lambda: elements(frame, ".frame.boxed"))
    assert is_plain(still, "img10")
    shot = elements(frame, ".frame")[0].screenshot_as_png
    with Image.open(io.BytesIO(shot)) as picture:
        pixels = np.array(picture.convert("RGB").resize((300, 200)))
    pixels = pixels.astype(int)
    y, x = np.nonzero((pixels[..., 0] > 190) & (pixels[..., 2] < 110))
    (expected,) = caption("two dogs run", [3, 11 * 14 + 12, 0]).phrases
    left, top, right, bottom = (edge * 14 * CELL for edge in expected.box)
    assert 0 < left < right < 14 * CELL
    assert (x.min(), x.max()) == pytest.approx(
        (LEFT + left, LEFT + right), abs=3
    )
    assert (y.min(), y.max()) == pytest.approx(
        (TOP + max(top, 3), TOP + bottom), abs=3
    )
    assert "its attention in the box" in frame.text
    press(phrase, "ESCAPE")
    until(still, lambda: not elements(frame, ".frame.boxed"))


def test_a_click_pins_a_word_and_hovering_shows_another_meanwhile(page):
    from selenium.webdriver import ActionChains

    def shows(word):
        until(page, lambda: "active" in word.get_attribute("class"))

    two, dogs, _ = words(page, "img10")
    two.click()
    assert two.get_attribute("aria-pressed") == "true"
    mouse = ActionChains(page, duration=0)
    mouse.move_to_element(dogs).perform()
    shows(dogs)
    assert "gate 0.50" in card(page, "img10").text
    mouse.move_to_element(elements(page, "h1")[0]).perform()
    shows(two)
    two.click()
    until(page, lambda: is_plain(page, "img10"))
    assert two.get_attribute("aria-pressed") == "false"


def test_the_keyboard_suffices(page):
    two, dogs, run = words(page, "img10")
    press(two, "ARROW_RIGHT")
    assert page.switch_to.active_element == dogs
    until(page, lambda: "active" in dogs.get_attribute("class"))
    assert dogs.accessible_name == "dogs, gate 0.50"
    press(dogs, "TAB")
    assert page.switch_to.active_element == run
    press(run, "ENTER")
    assert run.get_attribute("aria-pressed") == "true"
    press(run, "ESCAPE")
    until(page, lambda: is_plain(page, "img10"))
    assert run.get_attribute("aria-pressed") == "false"


def test_the_sampled_location_has_a_ring(still):
    def orange(word):
        words(still, "img9")[word].click()
        pixels = overlay(still, "img9")
        return (pixels[..., 0] > 200) & (pixels[..., 2] < 90)

    y, x = np.nonzero(orange(1))
    # Location 100 is the third of the eighth row, of 300 x 200 in 14 x 14.
    assert x.mean() + 0.5 == pytest.approx(2.5 * 300 / 14, abs=2)
    assert y.mean() + 0.5 == pytest.approx(7.5 * 200 / 14, abs=2)
    assert not orange(0).any()


def test_captions_are_filtered_by_group_and_text(page):
    from selenium.webdriver.support.select import Select

    group = Select(page.find_element("id", "group"))
    assert [option.text for option in group.options] == [
        "Random (4)", "Best by CIDEr (2)", "Worst by CIDEr (2)",
        "With remarks (2)", "Unfinished (1)", "All of these (4)",
    ]  # fmt: skip
    group.select_by_value("Best by CIDEr")
    assert names(page) == ["img9", MARKUP]
    group.select_by_value("Worst by CIDEr")
    assert names(page) == ["wordless", "img10"]
    group.select_by_value("Unfinished")
    assert names(page) == ["img9"]
    group.select_by_value("All of these")
    page.find_element("id", "find").send_keys("DOGS two")
    assert names(page) == ["img10"]
    status = "1 of 4 captions; 4 were evaluated"
    assert page.find_element("id", "status").text == status


def test_scores_and_captions_are_shown(page):
    rows = {
        elements(row, "th")[0].text: row
        for row in elements(page, "#metrics tbody tr")
    }
    assert rows["BLEU-4"].text.split() == [
        "BLEU-4", "0.250", "0.200\u20130.300", "0.500"
    ]  # fmt: skip
    line, dot, whisker = (
        elements(rows["BLEU-4"], selector)[0].rect
        for selector in (".plot", ".dot", ".whisker")
    )

    def part(x):
        return (x - line["x"]) / line["width"]

    assert part(dot["x"] + dot["width"] / 2) == pytest.approx(0.25, abs=0.01)
    assert part(whisker["x"]) == pytest.approx(0.2, abs=0.01)
    right = whisker["x"] + whisker["width"]
    assert part(right) == pytest.approx(0.3, abs=0.01)
    # Of a score beyond one the line is longer.
    assert "CIDEr 0 to 3" in rows
    assert "1,234" in page.find_element("id", "facts").text
    assert "BLEU-4" in elements(page, "#training svg")[0].text
    kitten = card(page, "img9")
    elements(kitten, "summary")[0].click()
    for text in (
        *("a cat sits", "not true: kitten", "0.800", "-3", "-2"),
        *("unfinished", "a worse guess (-3)"),
    ):
        assert text in kitten.text
    assert "a caption without words" in card(page, "wordless").text
    gates = page.execute_script(
        "return [...arguments[0].querySelectorAll('.gate')].map(gate =>"
        " getComputedStyle(gate).backgroundSize.split(' ')[0])",
        card(page, "img10"),
    )
    assert gates == ["0%", "50%", "100%"]


def test_markup_in_captions_and_names_is_only_text(page):
    assert page.title.startswith(f"Report {MARKUP[:9]}")
    assert elements(page, "h1")[0].text == f"Report {MARKUP}"
    assert len(elements(page, "script")) == 2
    assert elements(page, "img[onerror]") == []
    assert MARKUP in page.find_element("id", "tables").text
    assert MARKUP in card(page, MARKUP).text
    assert len(elements(card(page, MARKUP), "img")) == 1
    resources = page.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert [name for name in resources if not name.startswith("data:")] == []


def test_the_policy_is_in_force(browser, report):
    browser.get(report)
    browser.get_log("browser")
    browser.execute_script(
        "for (const [name, text] of [['script', 'window.ran = true'],"
        "    ['style', 'h1 { color: rgb(1, 2, 3) }']]) {"
        "  const element = document.createElement(name);"
        "  element.textContent = text;"
        "  document.body.append(element);"
        "}"
        "document.querySelector('h1').setAttribute("
        "    'style', 'color: rgb(1, 2, 3)');"
    )
    assert browser.execute_script("return window.ran ?? null") is None
    assert browser.execute_script(
        "return getComputedStyle(document.querySelector('h1')).color"
    ) != ("rgb(1, 2, 3)")
    assert len(browser.get_log("browser")) == 3


def test_it_fits_a_phone(page):
    resize(page, 390, 844)
    width = page.execute_script("return document.documentElement.scrollWidth")
    assert width == 390
    photo, caption_ = (
        elements(card(page, "img10"), selector)[0].rect
        for selector in (".frame", ".words")
    )
    assert photo["width"] > 340
    assert caption_["y"] >= photo["y"] + photo["height"]
    word = words(page, "img10")[1]
    assert word.rect["height"] >= 36
    word.click()
    until(page, lambda: not is_plain(page, "img10"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_by_day_and_night(page, scheme):
    resize(page, 1280, prefers_color_scheme=scheme)
    words(page, "img10")[1].click()
    assert_legible(
        page,
        "document.querySelectorAll('h1, dt, dd, th, td, caption,"
        " label, .word, .phrase, li, .soft, small, summary, input, select')",
        scheme,
        50,
    )
