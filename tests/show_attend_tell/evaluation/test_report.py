"""The report: what is in the file, and what a browser makes of it."""

import base64
import hashlib
import html.parser
import io
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from pipelines.vocabulary import words_of
from show_attend_tell.evaluation.report import (
    Entry,
    Share,
    Table,
    truth_tables,
    write_report,
)
from show_attend_tell.inference.caption import Caption
from show_attend_tell.metrics.scene_truth import measure_scene_truth
from tests.chromium import chromium, contrast, luminance, resize, until

GRID = (14, 14)
GREY = np.full((200, 300, 3), 150, np.uint8)
HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"> & <!--"


def caption(words: str, locations=None, finished=True, others=()) -> Caption:
    """A caption whose words look at one location each."""
    words = tuple(words.split())
    attention = np.zeros((len(words), *GRID), np.float32)
    for t in range(len(words)):
        attention[t].flat[t if locations is None else locations[t]] = 1
    return Caption(
        words=words,
        log_probability=-1.5 * len(words),
        score=-1.0 * len(words),
        finished=finished,
        attention=attention,
        gate=np.linspace(0, 1, len(words), dtype=np.float32),
        alternatives=tuple(others),
    )


def entry(name: str, words: str = "a dog", score=None, **more) -> Entry:
    scores = {} if score is None else {"CIDEr": score, "BLEU-4": 1 - score}
    defaults = {
        "photo": GREY,
        "resize_mode": "crop",
        "caption": caption(words),
        "references": ("a cat sits",),
        "scores": scores,
    }
    return Entry(id=name, **{**defaults, **more})


def write(directory, entries, scores=None, intervals=None, **options) -> str:
    path = write_report(
        str(directory), "Report", scores or {}, intervals or {}, entries,
        **options,
    )  # fmt: skip
    with open(path, encoding="utf-8") as file:
        return file.read()


def content(page: str) -> dict:
    """What the page shows, as its own script reads it."""
    (text,) = re.findall(
        '<script type="application/json" id="data">(.*?)</script>', page
    )
    return json.loads(text)


def group(page: str, name: str) -> set[str]:
    return {e["id"] for e in content(page)["entries"] if name in e["groups"]}


# ------------------------------------------------------------- The file


def test_best_and_worst_are_found(tmp_path):
    scores = [0.5, 0.1, 0.9, 0.3, 0.7, float("nan")]
    entries = [entry(f"{n}", score=s) for n, s in enumerate(scores)]
    entries.append(entry("without"))
    page = write(tmp_path, entries, best=2, worst=1, random=0)
    assert group(page, "best") == {"2", "4"}
    assert group(page, "worst") == {"1"}
    assert [e["id"] for e in content(page)["entries"]] == ["1", "2", "4"]
    assert content(page)["total"] == 7


def test_another_score_may_find_them(tmp_path):
    entries = [entry(f"{n}", score=s) for n, s in enumerate([0.5, 0.1, 0.9])]
    page = write(tmp_path, entries, by="BLEU-4", best=1, worst=1, random=0)
    assert group(page, "best") == {"1"}
    assert group(page, "worst") == {"2"}
    with pytest.raises(ValueError, match="CIDEr, BLEU-4. Received: by='SPICE'"):
        write(tmp_path, entries, by="SPICE")


def test_best_and_worst_never_overlap(tmp_path):
    entries = [entry(f"{n}", score=n / 5) for n in range(5)]
    page = write(tmp_path, entries)
    assert group(page, "best") == {"3", "4"}
    assert group(page, "worst") == {"0", "1"}
    assert group(page, "random") == {"0", "1", "2", "3", "4"}


def test_random_ones_follow_the_seed(tmp_path):
    entries = [entry(f"{n:02d}") for n in range(40)]
    chosen = [
        group(write(tmp_path, entries, random=5, seed=seed), "random")
        for seed in (0, 0, 1)
    ]
    assert len(chosen[0]) == 5
    assert chosen[0] == chosen[1] != chosen[2]


def test_only_photos_that_are_shown_are_read(tmp_path):
    read = []

    def photo(n):
        file = io.BytesIO()
        Image.fromarray(GREY).save(file, "PNG")
        read.append(n)
        return file.getvalue()

    entries = [
        entry(f"{n}", score=n / 9, photo=lambda n=n: photo(n)) for n in range(9)
    ]
    write(tmp_path, entries, best=2, worst=1, random=0)
    assert sorted(read) == [0, 7, 8]


def test_a_broken_photo_leaves_no_report(tmp_path):
    with pytest.raises(UserError, match="first bytes are b'no photo'"):
        write(tmp_path, [entry("1", photo=b"no photo")])
    assert os.listdir(tmp_path) == []


def test_photos_are_small(tmp_path):
    large = np.random.default_rng(0).integers(0, 255, (900, 600, 3), np.uint8)
    page = write(
        tmp_path, [entry("large", photo=large), entry("small")], photo_size=240
    )
    for shown, size in zip(
        content(page)["entries"], [(160, 240), (240, 160)], strict=True
    ):
        with Image.open(io.BytesIO(base64.b64decode(shown["photo"]))) as photo:
            assert photo.format == "JPEG"
            assert photo.size == (shown["width"], shown["height"]) == size
    page = write(tmp_path, [entry("small")], photo_size=500)
    assert content(page)["entries"][0]["width"] == 300


def test_attention_has_eight_bits(tmp_path):
    said = caption("a dog runs")
    attention = np.zeros((3, 2, 2))
    attention[0] = [[0.1, 0.2], [0.3, 0.4]]
    attention[1] = 0.25
    said = Caption(("a", "dog", "runs"), -1, -1, True, attention, said.gate)
    (shown,) = content(write(tmp_path, [entry("1", caption=said)]))["entries"]
    assert shown["grid"] == [2, 2]
    assert list(base64.b64decode(shown["attention"])) == [
        *(64, 128, 191, 255),  # 0.1 / 0.4 * 255 = 63.75, and so on
        *(255, 255, 255, 255),
        *(0, 0, 0, 0),
    ]
    assert shown["peaks"] == [0.4, 0.25, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"attention": np.ones((2, 196))},
            r"attention.shape=\(2, 196\) of 'x'",
        ),
        ({"attention": np.ones((1, 2, 2))}, r"\(2, rows, columns\)"),
        ({"attention": np.full((2, 2, 2), np.nan)}, "must be finite"),
        ({"attention": np.full((2, 2, 2), -1.0)}, "not negative"),
        ({"gate": np.ones(3)}, r"shape \(2,\).* of 'x'"),
        ({"gate": np.array([0.5, 1.5])}, "Received: gate="),
    ],
)
def test_a_caption_that_does_not_fit_is_named(tmp_path, change, message):
    said = Caption(**{**vars(caption("a dog")), **change})
    with pytest.raises(ValueError, match=message):
        write(tmp_path, [entry("x", caption=said)])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize_mode": "stretch"}, "resize_mode='stretch' of 'x'"),
        ({"locations": (1,)}, r"2 words. Received: locations=\[1\] of 'x'"),
        ({"locations": (1, 196)}, r"locations=\[1, 196\] of 'x'"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path, [entry("x", **change)])
    assert os.listdir(tmp_path) == []


def test_a_row_has_a_cell_for_each_column(tmp_path):
    table = Table("Truth", ("Kind", "True"), [("colour", Share(0.5), 3)])
    with pytest.raises(ValueError, match="Received: .'colour'"):
        write(tmp_path, [], tables=[table])


def test_truth_becomes_tables():
    statements, attention = truth_tables(
        {
            "by_statement": {"colour": {"count": 7, "true": 0.5}},
            "by_word_class": {
                "noun": {
                    "count": 4,
                    "pointing_accuracy": 0.75,
                    "pointing_chance": 0.125,
                    "attention_mass": 0.5,
                    "attention_mass_chance": 0.25,
                }
            },
        }
    )
    assert statements.rows == [("colour", 7, Share(0.5))]
    assert attention.rows == [
        ("noun", 4, Share(0.75, chance=0.125), Share(0.5, chance=0.25))
    ]
    assert truth_tables({"BLEU-4": 0.5}) == []


def test_tables_take_what_truth_measures(tmp_path):
    images = load_scenes(train=0, validation=0, test=3, novel=0).split("test")
    # What people said is true.
    said = [caption(" ".join(words_of(i.captions[0]))) for i in images]
    tables = truth_tables(measure_scene_truth(said, images))
    truth, attention = content(write(tmp_path, [], tables=tables))["tables"]
    kinds = {row[0]: row for row in truth["rows"]}
    assert kinds["object"][1] >= 6
    assert {row[2]["value"] for row in truth["rows"]} == {1}
    assert "noun" in {row[0] for row in attention["rows"]}


def test_a_share_of_nothing_is_left_out(tmp_path):
    table = Table("Truth", ("Kind", "True"), [("colour", Share(float("nan")))])
    (shown,) = content(write(tmp_path, [], tables=[table]))["tables"]
    assert shown["rows"] == [["colour", None]]


def test_figures_are_told_as_people_write_them(tmp_path):
    scores = {
        "split": "test",
        "CIDEr": 1.25,
        "BLEU-1": 0.5,
        "BLEU-1_no_penalty": 0.625,
        "words": 9.5,
        "vocabulary": 1234,
        "distinct": 0.75,
        "METEOR": float("nan"),
        "by_statement": {},
    }
    shown = content(write(tmp_path, [], scores, {"CIDEr": (1.0, 1.5)}))
    assert shown["metrics"] == [
        {"name": "BLEU-1", "value": 0.5, "low": None, "high": None,
         "other": 0.625},
        {"name": "CIDEr", "value": 1.25, "low": 1.0, "high": 1.5,
         "other": None},
    ]  # fmt: skip
    assert shown["facts"] == [
        ["Words a caption", "9.50", ""],
        ["Different words used", "1,234", ""],
        ["Distinct captions", "75.0 %", ""],
    ]


def test_same_input_same_bytes(tmp_path):
    entries = [entry(f"{n}", score=n / 9) for n in range(9)]
    history = [{"epoch": 1, "BLEU-4": 0.1}, {"epoch": 2, "BLEU-4": 0.2}]
    pages = [
        write(tmp_path / name, entries, {"BLEU-4": 0.3}, history=history)
        for name in ("a", "b")
    ]
    assert pages[0] == pages[1]
    assert os.listdir(tmp_path / "a") == ["index.html"]


class _Reader(html.parser.HTMLParser):
    """Collects elements and what they refer to."""

    def __init__(self, page: str):
        super().__init__()
        self.elements, self.references = [], []
        self.policy = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append(tag)
        self.references += [
            attributes[name]
            for name in ("src", "href", "srcset", "action", "data")
            if name in attributes
        ]
        assert not [n for n in attributes if n.startswith("on") or n == "style"]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]


def test_the_file_needs_nothing_else_and_may_do_nothing_else(tmp_path):
    page = write(
        tmp_path, [entry("1")], history=[{"BLEU-4": 0.1}, {"BLEU-4": 0.2}]
    )
    reader = _Reader(page)
    assert reader.references == []
    assert reader.elements.count("script") == 2
    assert reader.elements.count("svg") == 1
    assert not {"link", "iframe", "object", "base", "img"} & {*reader.elements}
    rules = dict(rule.split(" ", 1) for rule in reader.policy.split("; "))
    script = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    assert len(script) == 1 and len(styles) == 2
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in script + styles
    ]
    digests = [f"'sha256-{digest}'" for digest in digests]
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": digests[0],
        "style-src": " ".join(digests[1:]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "<noscript>" in page


def test_text_from_data_is_never_html(tmp_path):
    hostile = entry(
        HOSTILE,
        caption=caption(HOSTILE + " {data} {title} \ud800 \u2028"),
        references=(HOSTILE,),
        scores={HOSTILE: 0.5},
        notes=(HOSTILE,),
    )
    path = write_report(
        str(tmp_path),
        HOSTILE + "{data}{curves}",
        {HOSTILE: 0.5},
        {},
        [hostile],
        about={HOSTILE: HOSTILE},
        remarks=[HOSTILE],
        tables=[Table(HOSTILE, (HOSTILE,), [(HOSTILE,)], HOSTILE)],
        history=[{"BLEU-4": 0.5, "epoch": 1}],
    )
    with open(path, encoding="utf-8") as file:
        page = file.read()
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert "<!--" not in page
    (shown,) = content(page)["entries"]
    assert shown["references"] == [HOSTILE]
    assert shown["words"][-1] == "\ud800"  # What split() left of the line.


# ---------------------------------------------------------- In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    """The address of a report on a few captions."""
    directory = tmp_path_factory.mktemp("report")
    scenes = load_scenes(train=0, validation=0, test=2, novel=0)
    other = caption("a worse guess")
    entries = [
        entry(
            "img10",
            score=0.2,
            # By rows: the 4th of the first row, and the 13th of the 12th.
            caption=caption("two dogs run", [3, 11 * 14 + 12, 0]),
            references=("Two Dogs play", "dogs running"),
        ),
        entry(
            "img9",
            score=0.8,
            caption=caption("a kitten", finished=False, others=[other]),
            resize_mode="squash",
            notes=("not true: kitten",),
            locations=(None, 100),
        ),
        *(
            entry(
                image.id,
                caption=caption("a red ball"),
                photo=image.read,
                resize_mode="squash",
                references=image.captions,
                score=0.5,
            )
            for image in scenes.split("test")
        ),
        entry("wordless", "", score=0.0, references=()),
        entry(
            HOSTILE,
            score=0.4,
            caption=caption(HOSTILE),
            references=(HOSTILE,),
            notes=(HOSTILE,),
        ),
    ]
    path = write_report(
        str(directory),
        f"Report {HOSTILE}",
        {"BLEU-4": 0.25, "BLEU-4_no_penalty": 0.5, "CIDEr": 2.5, "words": 3},
        {"BLEU-4": (0.2, 0.3)},
        entries,
        about={"Split": HOSTILE},
        remarks=[HOSTILE],
        tables=[
            Table(
                HOSTILE,
                ("Kind", "Number", "True", HOSTILE),
                [("colour", 1234, Share(0.5, chance=0.1), HOSTILE)],
            )
        ],
        history=[{"BLEU-4": 0.1}, {"BLEU-4": 0.2}],
        best=1,
        worst=1,
    )
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
    return card(page, name).find_elements("css selector", ".word")


def pixels(page, name: str) -> np.ndarray:
    """What is drawn over a photo, `(H, W, 3)`, once it is lit."""
    picture = card(page, name)
    until(page, lambda: picture.find_elements("css selector", "canvas.lit"))
    address = page.execute_script(
        "return arguments[0].querySelector('canvas').toDataURL()", picture
    )
    png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def peak(lit: np.ndarray) -> tuple[float, float]:
    light = lit.sum(axis=-1)
    y, x = np.nonzero(light >= light.max() - 3)
    return x.mean() + 0.5, y.mean() + 0.5


def is_plain(page, name: str) -> bool:
    return not card(page, name).find_elements("css selector", "canvas.lit")


def press(page, element, key: str) -> None:
    from selenium.webdriver import Keys

    element.send_keys(getattr(Keys, key))


def choose_group(page, value: str) -> None:
    elements(page, f"input[value={value}]")[0].click()


def find(page, text: str) -> None:
    box = page.find_element("id", "find")
    box.clear()
    if text:
        box.send_keys(text)


# Photos of 300 x 200. Of the shorter side at 256 the network saw the middle
# 224: 175 pixels, from (62.5, 12.5) on; each cell is 12.5 wide and high.
CELL, LEFT, TOP = 12.5, 62.5, 12.5


@pytest.mark.parametrize(
    ("word", "row", "column"), [(0, 0, 3), (1, 11, 12), (2, 0, 0)]
)
def test_a_click_lights_where_the_model_looked(page, word, row, column):
    words(page, "img10")[word].click()
    lit = pixels(page, "img10")
    assert lit.shape == (200, 300, 3)
    x, y = peak(lit)
    assert abs(x - (LEFT + (column + 0.5) * CELL)) < CELL
    assert abs(y - (TOP + (row + 0.5) * CELL)) < CELL


def test_lit_pixels_are_as_in_the_other_pictures(page):
    words(page, "img10")[1].click()
    lit = pixels(page, "img10")
    # Grey 150. Far from the peak 36 % of it, outside of the crop 15 %.
    assert np.abs(lit[60, 100] - 54).max() <= 2
    assert np.abs(lit[100, 20] - 22).max() <= 2
    assert np.abs(lit[5, 150] - 22).max() <= 2
    # At the peak its colour under a glow of (1, 0.95, 0.8) by 35 %:
    # 255 - (255 - 150) * (1 - 0.35 * glow).
    brightest = lit[round(TOP + 11.5 * CELL), round(LEFT + 12.5 * CELL)]
    assert np.abs(brightest - (186.75, 184.9, 179.4)).max() <= 3


def test_a_second_click_shows_the_photo_again(page):
    dogs = words(page, "img10")[1]
    dogs.click()
    pixels(page, "img10")
    assert dogs.get_attribute("aria-pressed") == "true"
    dogs.click()
    assert is_plain(page, "img10")
    assert dogs.get_attribute("aria-pressed") == "false"


def test_hovering_shows_for_as_long(page):
    from selenium.webdriver import ActionChains

    two, dogs, _ = words(page, "img10")
    two.click()
    mouse = ActionChains(page, duration=0)
    mouse.move_to_element(dogs).perform()
    assert peak(pixels(page, "img10"))[1] > 100
    mouse.move_to_element(page.find_element("tag name", "h1")).perform()
    # What was clicked is lit again.
    until(page, lambda: "lit" in two.get_attribute("class"))
    assert peak(pixels(page, "img10"))[1] < 40


def test_the_keyboard_does_all(page):
    two, dogs, run = words(page, "img10")
    assert [w.get_attribute("tabindex") for w in (two, dogs, run)] == [
        "0", "-1", "-1"
    ]  # fmt: skip
    press(page, two, "ARROW_RIGHT")
    assert page.switch_to.active_element == dogs
    assert peak(pixels(page, "img10"))[1] > 100
    assert dogs.get_attribute("tabindex") == "0"
    assert dogs.accessible_name == "dogs, gate 0.50"
    press(page, dogs, "END")
    press(page, run, "ARROW_RIGHT")
    assert page.switch_to.active_element == run
    press(page, run, "HOME")
    assert page.switch_to.active_element == two
    press(page, two, "ENTER")
    assert two.get_attribute("aria-pressed") == "true"
    press(page, two, "ESCAPE")
    assert is_plain(page, "img10")
    assert two.get_attribute("aria-pressed") == "false"


def test_playing_goes_through_the_words(page):
    page.execute_script(
        "window.seen = [];"
        "new MutationObserver(() => {"
        "  const word = document.querySelector('.word.lit');"
        "  const text = word ? word.textContent : '';"
        "  if (text !== seen.at(-1)) seen.push(text);"
        "}).observe(document.getElementById('list'),"
        "  {subtree: true, attributeFilter: ['class']});"
    )
    play = card(page, "img9").find_element("css selector", ".play")
    play.click()
    assert play.text == "Stop"
    until(page, lambda: play.text == "Play")
    assert page.execute_script("return seen") == ["a", "kitten", ""]
    assert is_plain(page, "img9")
    # Another click stops it.
    play.click()
    play.click()
    assert play.text == "Play"


def test_gates_are_bars_under_words(page):
    lengths = page.execute_script(
        "return [...arguments[0].querySelectorAll('.gate')].map(gate =>"
        " parseFloat(getComputedStyle(gate, '::before').width)"
        " / gate.clientWidth)",
        card(page, "img10"),
    )
    assert lengths == pytest.approx([0, 0.5, 1], abs=0.02)


def test_the_sampled_place_has_a_ring(page):
    words(page, "img9")[1].click()
    lit = pixels(page, "img9")
    orange = (lit[..., 0] > 200) & (lit[..., 2] < 90)
    y, x = np.nonzero(orange)
    # Place 100 is the third of the eighth row, of 300 x 200 in 14 x 14.
    assert x.mean() + 0.5 == pytest.approx(2.5 * 300 / 14, abs=2)
    assert y.mean() + 0.5 == pytest.approx(7.5 * 200 / 14, abs=2)
    words(page, "img9")[0].click()
    until(page, lambda: "lit" in words(page, "img9")[0].get_attribute("class"))
    lit = pixels(page, "img9")
    assert not ((lit[..., 0] > 200) & (lit[..., 2] < 90)).any()


def test_captions_are_found(page):
    find(page, "DOGS two")
    assert names(page) == ["img10"]
    assert page.find_element("id", "status").text == "1 of 6 captions"
    # Marked are two words of the caption, and three in references.
    marked = "return CSS.highlights.get('found').size"
    assert page.execute_script(marked) == 5
    find(page, "img")
    assert set(names(page)) == {"img9", "img10", HOSTILE}
    find(page, "zebra")
    assert names(page) == []
    assert page.find_element("id", "none").is_displayed()
    page.find_element("id", "reset").click()
    assert len(names(page)) == 6


def test_unfinished_ones_and_remarks_are_found(page):
    page.find_element("id", "unfinished").click()
    assert names(page) == ["img9"]
    assert card(page, "img9").find_element("css selector", ".cut").text == (
        "unfinished"
    )
    page.find_element("id", "unfinished").click()
    page.find_element("id", "wrong").click()
    assert set(names(page)) == {"img9", HOSTILE}


def test_groups_are_chosen_and_sorted(page):
    choose_group(page, "best")
    assert names(page) == ["img9"]
    choose_group(page, "worst")
    assert names(page) == ["wordless"]
    choose_group(page, "all")
    assert len(names(page)) == 6
    # Numbers in names count as numbers.
    found = names(page)
    assert found.index("img9") < found.index("img10")


def test_sorting_goes_both_ways(page):
    from selenium.webdriver.support.select import Select

    choose_group(page, "all")
    sort = Select(page.find_element("id", "sort"))
    sort.select_by_visible_text("CIDEr")
    assert names(page)[0] == "img9"
    assert names(page)[-1] == "wordless"
    page.find_element("id", "turn").click()
    assert names(page)[0] == "wordless"
    sort.select_by_visible_text("BLEU-4")
    assert names(page)[0] == "wordless"
    sort.select_by_visible_text("log-probability")
    # -1.5 a word, the lowest first.
    assert names(page)[0] == HOSTILE
    sort.select_by_visible_text("random")
    lots = page.execute_script("return data.entries.map(e => [e.lot, e.id])")
    assert names(page) == [name for _, name in sorted(lots)]


def test_a_range_of_scores(page):
    from selenium.webdriver.support.select import Select

    choose_group(page, "all")
    assert not page.find_element("id", "range").is_displayed()
    Select(page.find_element("id", "sort")).select_by_visible_text("CIDEr")
    page.find_element("id", "least").send_keys("0.2")
    page.find_element("id", "most").send_keys("0.45")
    assert set(names(page)) == {"img10", HOSTILE}


def test_what_is_told_of_a_caption(page):
    text = card(page, "img9").text
    for told in ("a cat sits", "not true: kitten", "0.800", "-3.00", "-2.00"):
        assert told in text
    details = card(page, "img9").find_element("css selector", "summary")
    details.click()
    assert "a worse guess" in card(page, "img9").text
    assert "a caption without words" in card(page, "wordless").text


def test_scores_are_shown(page):
    rows = {
        row.find_element("css selector", "th").text: row
        for row in elements(page, "#metrics tbody tr")
    }
    assert rows["BLEU-4"].text.split() == [
        "BLEU-4", "0.250", "0.200\u20130.300", "0.500"
    ]  # fmt: skip
    plot = rows["BLEU-4"].find_element("css selector", ".plot")
    dot, whisker = (
        plot.find_element("css selector", selector).rect
        for selector in (".dot", ".whisker")
    )
    line = plot.rect
    middle = dot["x"] + dot["width"] / 2 - line["x"]
    assert middle / line["width"] == pytest.approx(0.25, abs=0.01)
    left, width = whisker["x"] - line["x"], whisker["width"]
    assert left / line["width"] == pytest.approx(0.2, abs=0.01)
    assert width / line["width"] == pytest.approx(0.1, abs=0.01)
    # Of a score beyond one the line is longer, and says so.
    assert "CIDEr 0 to 3" in rows
    assert "1,234" in page.find_element("id", "tables").text
    assert "50.0 %" in page.find_element("id", "tables").text
    assert len(elements(page, "#training svg")) == 1


def test_hostile_text_is_only_text(page):
    assert page.title.startswith(f"Report {HOSTILE[:9]}")
    assert page.title != "hacked"
    assert elements(page, "h1")[0].text == f"Report {HOSTILE}"
    assert len(elements(page, "script")) == 2
    assert elements(page, "img[onerror]") == []
    shown = card(page, HOSTILE)
    assert HOSTILE in shown.text
    assert len(shown.find_elements("css selector", "img")) == 1


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
    )
    assert browser.execute_script("return window.ran ?? null") is None
    assert browser.execute_script(
        "return getComputedStyle(document.querySelector('h1')).color"
    ) != ("rgb(1, 2, 3)")
    assert len(browser.get_log("browser")) == 2


def test_nothing_is_fetched(page):
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert [name for name in fetched if not name.startswith("data:")] == []


def test_it_fits_a_phone(page):
    resize(page, 390, 844)
    width = page.execute_script("return document.documentElement.scrollWidth")
    assert width == 390
    picture = card(page, "img10")
    photo, caption_ = (
        picture.find_element("css selector", selector).rect
        for selector in (".frame", ".words")
    )
    assert photo["width"] > 340
    assert caption_["y"] >= photo["y"] + photo["height"]
    word = words(page, "img10")[1]
    assert word.rect["height"] >= 36
    word.click()
    assert peak(pixels(page, "img10"))[1] > 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_by_day_and_night(page, scheme):
    resize(page, 1280, prefers_color_scheme=scheme)
    words(page, "img10")[1].click()
    pairs = page.execute_script(
        "const paint = (start, property) => {"
        "  for (let e = start; e; e = e.parentElement) {"
        "    const colour = getComputedStyle(e)[property];"
        "    if (!colour.endsWith(', 0)')) return colour;"
        "  }"
        "};"
        "return [...document.querySelectorAll('h1, dt, dd, th, td, caption,"
        " label span, legend, .word, .play, .references li, .wrong li, .cut,"
        " .soft, summary, input, select')].map(e =>"
        " [paint(e, 'backgroundColor'), getComputedStyle(e).color,"
        "  e.tagName + '.' + e.className])"
    )
    assert len(pairs) > 50
    faint = {
        (name, contrast(ground, ink))
        for ground, ink, name in pairs
        if contrast(ground, ink) < 4.5
    }
    assert not faint
    ground = luminance(pairs[0][0])
    assert ground > 0.8 if scheme == "light" else ground < 0.05


def test_motion_is_left_out_where_it_disturbs(page):
    words(page, "img10")[0].click()
    pixels(page, "img10")
    fading = (
        "return getComputedStyle(document.querySelector('canvas'))"
        ".transitionDuration"
    )
    assert page.execute_script(fading) == "0.15s"
    resize(page, 1280, prefers_reduced_motion="reduce")
    assert page.execute_script(fading) == "0s"
