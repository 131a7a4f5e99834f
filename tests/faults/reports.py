"""Puts malicious texts into the page that reports captions.

The page has the elements that it has with harmless texts, and its data are
the texts as they were given.
"""

import html.parser
import json
import pathlib

from tests.faults.campaign import Case, Fault, Limits
from tests.faults.captions import MALICIOUS
from tests.faults.json_mutations import TEXTS

ATTACK = "Reports of malicious captions, references, names and remarks"
LIMITS = Limits(seconds=5, mebibytes=512)

_TEXTS = (
    *MALICIOUS, *TEXTS, "</script><script>alert(1)</script>", "<!--<script>",
    "-->", "]]>", "</title><img src=x onerror=alert(1)>", "\\u003cscript>",
    "'\"><svg onload=alert(1)>", "javascript:alert(1)", "{{7*7}}", "\x00\x1a",
)  # fmt: skip


def prepare(folder: pathlib.Path) -> None:
    """Makes nothing."""


def start(folder: pathlib.Path):
    """Returns the function that tries a case."""
    return try_case


def try_case(case: Case) -> bool:
    """Writes a report with harmless texts, and one with others."""
    case.attack = "texts in a page"
    texts = [_text(case.rng) for _ in range(6)]
    plain = _elements(_write(case.folder / "plain", ["a dog"] * 6))
    with case.measured():
        page = _write(case.folder / "attacked", texts)
    if _elements(page) != plain:
        raise Fault("harm", f"the page has other elements: {texts!r:.500}")
    data = _data(page)
    shown = data["captions"]["0"]
    if [shown["references"], shown["notes"]] != [texts[:1], texts[1:2]]:
        raise Fault("silent change", f"other texts than {texts[:2]!r:.400}")
    return True


def _text(rng) -> str:
    text = str(_TEXTS[rng.integers(len(_TEXTS))])
    if rng.random() < 0.3:
        text += str(_TEXTS[rng.integers(len(_TEXTS))])
    return text


def _write(folder, texts) -> str:
    from show_attend_tell.evaluation.report import write_report
    from tests.show_attend_tell.evaluation import test_report as small

    reference, note, words, name, title, about = texts
    image = small.image(name, [reference])
    caption = small.caption(words if words.split() else "a dog")
    path = write_report(
        str(folder),
        title,
        small.evaluation([image], [caption], [0.5]),
        {"run": about, about: "run"},
        [[note]],
    )
    return pathlib.Path(path).read_text(encoding="utf-8")


class _Page(html.parser.HTMLParser):
    """Lists the elements of a page and the names of their attributes."""

    def __init__(self):
        super().__init__()
        self.elements, self.data, self._inside = [], "", False

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, [name for name, _ in attrs]))
        self._inside = ("id", "data") in attrs

    def handle_endtag(self, tag):
        self.elements.append(f"/{tag}")
        self._inside = False

    def handle_data(self, data):
        self.data += data * self._inside

    def handle_comment(self, data):
        self.elements.append(f"comment {data}")


def _parsed(page: str) -> _Page:
    parser = _Page()
    parser.feed(page)
    parser.close()
    return parser


def _elements(page: str) -> list:
    return _parsed(page).elements


def _data(page: str) -> dict:
    return json.loads(_parsed(page).data)
