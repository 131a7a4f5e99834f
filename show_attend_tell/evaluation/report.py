"""A page on how good captions are: scores, captions, where the model looked.

One HTML file that needs nothing else: no network, no server, no other file.
`report.html`, beside this module, is the page without its content; what it
shows is put in as JSON, and its script makes text of it and nothing but text.
A policy in the page forbids whatever is not its own script and style.
"""

import base64
import dataclasses
import hashlib
import importlib.resources
import io
import json
import math
import numbers
import os
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipelines.files import write_atomically
from pipelines.images.decoding import RESIZE_MODES, Photo, load_image
from show_attend_tell.evaluation.curves import draw_curves, measures_of
from show_attend_tell.inference.attention_figure import input_region

if TYPE_CHECKING:
    from show_attend_tell.inference.caption import Caption

FILE_NAME = "index.html"

# Scores against references, in the order in which they are shown.
_METRICS = (
    *(f"BLEU-{n}" for n in (1, 2, 3, 4)),
    "METEOR",
    "ROUGE-L",
    "CIDEr",
    "SPICE",
)
_NO_PENALTY = "_no_penalty"
_LABELS = {
    "words": "Words a caption",
    "vocabulary": "Different words used",
    "distinct": "Distinct captions",
    "novel_captions": "Not among training's",
}
_SHARES = {
    "distinct",
    "finished",
    "novel_captions",
    "true_captions",
    "parsed_captions",
    "true_statements",
    "pointing_accuracy",
    "pointing_chance",
    "attention_mass",
    "attention_mass_chance",
}
# By which score the best and the worst are found, where nothing is said.
_FAVOURITES = ("CIDEr", "BLEU-4")


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One image with its caption.

    Attributes:
        id: The image's name.
        photo: The whole photo: a path, the bytes of a file, a Pillow image
            or uint8 `(H, W, 3)`; or a function that returns one of these,
            such as `CaptionedImage.read`. Only that of an entry that is
            shown is read.
        resize_mode: How the network saw the photo: `"crop"` or `"squash"`.
        caption: What the model said, with its attention and gate.
        references: What people said.
        scores: The caption's own scores by name, such as `"CIDEr"`.
        notes: Remarks, such as statements that are not true.
        locations: For each word the location that hard attention sampled, as
            its number by rows, or `None`.
    """

    id: str
    photo: Photo | Callable[[], Photo]
    resize_mode: str
    caption: "Caption"
    references: Sequence[str] = ()
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    locations: Sequence[int | None] | None = None


@dataclasses.dataclass(frozen=True)
class Share:
    """A part of a whole, drawn in a table.

    Attributes:
        value: In [0, 1].
        low: Lower end of its interval, if known.
        high: Upper end.
        chance: What chance would give, if known.
    """

    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures by kind, such as truth by kind of statement.

    Attributes:
        title: What is counted.
        columns: Headings, that of the rows' names first.
        rows: A name and its cells: a `Share`, which is drawn; a whole
            number; text; or `None` where there is nothing.
        note: A line below the title.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | Share | None]]
    note: str = ""


def write_report(
    directory: str,
    title: str,
    scores: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    entries: Sequence[Entry],
    *,
    about: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
    tables: Sequence[Table] = (),
    history: Sequence[Mapping[str, float]] | None = None,
    by: str | None = None,
    best: int = 24,
    worst: int = 24,
    random: int = 24,
    photo_size: int = 320,
    seed: int = 0,
) -> str:
    """Writes a report as one HTML file, whole or not at all.

    The same input gives the same bytes. Of many captions the best, the worst
    and some at random are shown; a caption may be of two groups.

    Args:
        directory: Where `index.html` is put; made if missing.
        title: The page's title.
        scores: Fractions and other figures by name, see `metrics.Evaluation`
            and `truth.measure_scene_truth`; what is no number is not shown.
        intervals: 95 % intervals of scores, by the same names.
        entries: All captions that were evaluated.
        about: What was evaluated: names and values, such as run, split and
            decoding.
        remarks: What must be known of the scores, such as what is left out
            and why.
        tables: Further figures, such as those of `truth_tables`.
        history: Measures of each epoch, for training curves, see
            `curves.draw_curves`.
        by: The entries' score that finds the best and the worst. `None`
            takes CIDEr, else BLEU-4, else the first one there is; without
            any score captions are shown at random.
        best: How many of the best to show; at most half of all.
        worst: How many of the worst to show; at most half of all.
        random: How many to show at random. As many as there are entries, or
            more, shows all.
        photo_size: Longer side of a photo in the page, in pixels; a smaller
            photo is kept as it is.
        seed: Chooses the random ones.

    Returns:
        The file's path.

    Raises:
        ValueError: An entry's arrays do not fit each other, or no entry has
            the score `by`.
        UserError: A photo cannot be read.
        OSError: The file cannot be written.
    """
    measures = _measures(entries)
    if by is None:
        by = next((m for m in (*_FAVOURITES, *measures) if m in measures), None)
    elif by not in measures:
        raise ValueError(
            f"`by` must be a score of the entries: {', '.join(measures)}. "
            f"Received: by={by!r}"
        )
    lots = np.random.default_rng(seed).permutation(len(entries))
    groups = _groups(entries, by, best, worst)
    groups["random"] = [int(n) for n in np.argsort(lots)[:random]]
    shown = sorted({n for group in groups.values() for n in group})
    content = {
        "about": [[name, str(value)] for name, value in (about or {}).items()],
        "metrics": _metrics(scores, intervals),
        "facts": _facts(scores, intervals),
        "remarks": list(remarks),
        "tables": [_table(table) for table in tables],
        "by": by,
        "measures": measures,
        "total": len(entries),
        "entries": [
            {
                **_entry(entries[n], photo_size),
                "lot": int(lots[n]),
                "groups": [name for name in groups if n in groups[name]],
            }
            for n in shown
        ],
    }
    curves = [draw_curves(history, [m]) for m in measures_of(history or [])]
    path = os.path.join(directory, FILE_NAME)
    page = _page(title, "\n".join(curves), content)
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def truth_tables(figures: Mapping) -> list[Table]:
    """Returns tables of what `truth.measure_scene_truth` found, or a part of it.

    Args:
        figures: With `"by_statement"`, `"by_word_class"`, both or neither.
    """
    tables = []
    if figures.get("by_statement"):
        tables.append(
            Table(
                "Truth by kind of statement",
                ("Statements of", "Number", "True"),
                [
                    (kind, found["count"], Share(found["true"]))
                    for kind, found in figures["by_statement"].items()
                ],
            )
        )
    if figures.get("by_word_class"):
        tables.append(
            Table(
                "Attention by class of word",
                ("Words", "Number", "Peak in the box", "Mass in the box"),
                [
                    (
                        kind,
                        found["count"],
                        Share(
                            found["pointing_accuracy"],
                            chance=found["pointing_chance"],
                        ),
                        Share(
                            found["attention_mass"],
                            chance=found["attention_mass_chance"],
                        ),
                    )
                    for kind, found in figures["by_word_class"].items()
                ],
            )
        )
    return tables


def _page(title: str, curves: str, content: dict) -> str:
    """Fills the template."""
    files = importlib.resources.files("show_attend_tell")
    template = (files / "report.html").read_text(encoding="utf-8")
    data = json.dumps(content, allow_nan=False, separators=(",", ":"))
    # In HTML these could end the element that holds the JSON.
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    parts = {
        "policy": _policy(template + curves),
        "title": escape(title),
        "curves": curves,
        "data": data,
    }
    # All at once, so that no marker is looked for in what is put in.
    return re.sub(
        "{(" + "|".join(parts) + ")}", lambda found: parts[found[1]], template
    )


def _policy(source: str) -> str:
    """Allows the source's own scripts and styles, and embedded pictures."""

    def allowed(element: str) -> str:
        texts = re.findall(f"<{element}>(.*?)</{element}>", source, re.DOTALL)
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        return " ".join(
            f"'sha256-{base64.b64encode(digest).decode()}'"
            for digest in dict.fromkeys(digests)
        )

    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"script-src {allowed('script')}",
            f"style-src {allowed('style')}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _measures(entries: Sequence[Entry]) -> list[str]:
    """Returns the names of the entries' scores, each once."""
    return list(dict.fromkeys(name for e in entries for name in e.scores))


def _groups(
    entries: Sequence[Entry], by: str | None, best: int, worst: int
) -> dict[str, list[int]]:
    """Returns the numbers of the best and of the worst entries."""
    values = [_number(entry.scores.get(by), 6) for entry in entries]
    ranked = [n for n, value in enumerate(values) if value is not None]
    ranked.sort(key=lambda n: -values[n])
    half = len(ranked) // 2
    best, worst = min(best, half), min(worst, half)
    return {"best": ranked[:best], "worst": ranked[len(ranked) - worst :]}


def _metrics(scores: Mapping, intervals: Mapping) -> list[dict]:
    """Returns the scores against references, as the page draws them."""
    found = []
    for name in _METRICS:
        value = _number(scores.get(name))
        if value is not None:
            low, high = map(_number, intervals.get(name, (None, None)))
            found.append(
                {
                    "name": name,
                    "value": value,
                    "low": low,
                    "high": high,
                    "other": _number(scores.get(name + _NO_PENALTY)),
                }
            )
    return found


def _facts(scores: Mapping, intervals: Mapping) -> list[list[str]]:
    """Returns all other figures: name, value, and interval as text."""
    facts = []
    for name, value in scores.items():
        known = name.removesuffix(_NO_PENALTY) in _METRICS
        if not known and _number(value) is not None:
            label = name.replace("_", " ")
            label = _LABELS.get(name, label[:1].upper() + label[1:])
            interval = ""
            if name in intervals:
                low, high = intervals[name]
                interval = f"{_told(name, low)} to {_told(name, high)}"
            facts.append([label, _told(name, value), interval])
    return facts


def _told(name: str, value: float) -> str:
    """Writes a figure as its name asks for."""
    if name in _SHARES:
        return f"{100 * value:.1f} %"
    if value == int(value) and value > 1:
        return f"{int(value):,}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _table(table: Table) -> dict:
    """Returns a table as the page draws it."""
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    wrong = [row for row in rows if len(row) != len(table.columns)]
    if wrong:
        raise ValueError(
            f"A row must have a cell for each of {list(table.columns)}. "
            f"Received: {wrong[0]}"
        )
    return {
        "title": table.title,
        "note": table.note,
        "columns": list(table.columns),
        "rows": rows,
    }


def _cell(cell: str | int | Share | None):
    """Returns a cell as the page reads it."""
    if not isinstance(cell, Share):
        return cell
    parts = {k: _number(v) for k, v in dataclasses.asdict(cell).items()}
    return None if parts["value"] is None else parts


def _entry(entry: Entry, photo_size: int) -> dict:
    """Returns an entry as the page shows it."""
    if entry.resize_mode not in RESIZE_MODES:
        raise ValueError(
            f"`resize_mode` must be one of {RESIZE_MODES}. Received: "
            f"resize_mode={entry.resize_mode!r} of {entry.id!r}"
        )
    photo = entry.photo() if callable(entry.photo) else entry.photo
    pixels = load_image(photo)
    jpeg, size = _thumbnail(pixels, photo_size)
    region = input_region(pixels.shape[:2], size, entry.resize_mode)
    caption = entry.caption
    attention, gate = _checked(entry)
    peaks = attention.max(axis=(1, 2), initial=0)
    weights = attention / np.maximum(peaks, 1e-12)[:, None, None]
    sums = attention.sum(axis=(1, 2))
    return {
        "id": entry.id,
        "photo": _base64(jpeg),
        "width": size[0],
        "height": size[1],
        "seen": list(region),
        "words": list(caption.words),
        "gate": [_number(value, 3) for value in gate],
        "grid": list(attention.shape[1:]),
        # Eight bits, in proportion to the word's own peak.
        "attention": _base64(np.rint(weights * 255).astype(np.uint8)),
        "peaks": [
            _number(value, 3) for value in peaks / np.maximum(sums, 1e-12)
        ],
        "locations": None if entry.locations is None else list(entry.locations),
        "log_probability": _number(caption.log_probability),
        "score": _number(caption.score),
        "finished": bool(caption.finished),
        "references": list(entry.references),
        "scores": {name: _number(v) for name, v in entry.scores.items()},
        "notes": list(entry.notes),
        "others": [
            {
                "text": other.text,
                "score": _number(other.score),
                "finished": bool(other.finished),
            }
            for other in caption.alternatives
        ],
    }


def _checked(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """Returns attention and gate, if they fit the words."""
    words = len(entry.caption.words)
    attention = np.asarray(entry.caption.attention, np.float64)
    gate = np.asarray(entry.caption.gate, np.float64)
    if (
        attention.ndim != 3
        or attention.shape[0] != words
        or 0 in attention.shape[1:]
        or not np.all(np.isfinite(attention) & (attention >= 0))
    ):
        raise ValueError(
            "A caption's `attention` must be finite, not negative and of the "
            f"shape ({words}, rows, columns), one for each word. Received: "
            f"attention.shape={attention.shape} of {entry.id!r}"
        )
    if gate.shape != (words,) or not np.all((gate >= 0) & (gate <= 1)):
        raise ValueError(
            f"A caption's `gate` must be of the shape ({words},), one for "
            f"each word, and in [0, 1]. Received: gate={gate} of {entry.id!r}"
        )
    locations = entry.locations
    if locations is not None and (
        len(locations) != words
        or not all(p is None or 0 <= p < attention[0].size for p in locations)
    ):
        raise ValueError(
            f"`locations` must hold a location or None for each of the {words} "
            f"words. Received: locations={list(locations)} of {entry.id!r}"
        )
    return attention, gate


def _thumbnail(pixels: np.ndarray, longest: int) -> tuple[bytes, tuple]:
    """Returns a photo as a small JPEG, and its width and height."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82, optimize=True)
    return file.getvalue(), image.size


def _base64(data) -> str:
    return base64.b64encode(data).decode()


def _number(value, digits: int = 4) -> float | None:
    """Rounds a finite number; of anything else nothing is left."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        return None
    return round(float(value), digits)
