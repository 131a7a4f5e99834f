"""Writes a page with the scores, captions and attention of a split.

One HTML file that loads nothing: `report.html`, in this folder, is the page
without its content, which is inserted as JSON and only ever shown as text. A
policy in the page forbids all scripts and styles but those of the template.
"""

import base64
import hashlib
import html
import importlib.resources
import io
import json
import math
import numbers
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from pipelines.captions import CaptionedImage
from pipelines.files import write_atomically
from pipelines.images.decoding import load_image
from show_attend_tell.evaluation.curves import draw_curves, has_curves
from show_attend_tell.evaluation.split_evaluation import (
    UNDEFINED,
    SplitEvaluation,
)
from show_attend_tell.inference.attention_figure import (
    attention_brightness,
    input_region,
)
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_phrases import phrases_as_json
from show_attend_tell.metrics.score_table import (
    left_out_lines,
    undefined_lines,
)

FILE_NAME = "index.html"
# How a page begins.
MARK = rb'<!doctype html>.*<meta name="generator" content="show-attend-tell">'

_METRICS = (
    *("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"),
    *("METEOR", "ROUGE-L", "CIDEr", "SPICE"),
)
_NO_PENALTY = "_no_penalty"
_TABLES = {
    "by_statement": "truth by kind of statement",
    "by_word_class": "attention by class of word",
}
_SORT_METRICS = ("CIDEr", "BLEU-4")  # the first that images have
_PHOTO_SIZE = 320  # longer side of a photo, in pixels


def write_report(
    directory: str,
    title: str,
    evaluation: SplitEvaluation,
    about: Mapping[str, str],
    notes: Sequence[Sequence[str]] | None = None,
    history: Sequence[Mapping[str, float]] = (),
    shown: int = 24,
) -> str:
    """Writes a report as one HTML file, atomically, and returns its path.

    Of many captions the best, the worst and a random sample are shown, each
    with its photo and the attention of each word. The same input gives the
    same bytes.

    Args:
        directory: The folder of `index.html`; made if missing.
        title: The page's title.
        evaluation: The split with its captions and scores.
        about: What was evaluated: names and values, such as run and decoding.
        notes: For each caption its remarks, such as statements that are false.
        history: Scores of each epoch, see `curves.draw_curves`.
        shown: How many captions of the best, of the worst, and at random.

    Raises:
        UserError: A photo cannot be decoded.
    """
    per_image = evaluation.scores.per_image
    metric = next((m for m in _SORT_METRICS if m in per_image), None)
    total = len(evaluation.images)
    groups = _groups(per_image.get(metric, np.full(total, np.nan)), shown)
    content = {
        "about": [[name, str(value)] for name, value in about.items()],
        "metrics": _metrics(evaluation),
        "facts": _facts(evaluation),
        "remarks": [
            *undefined_lines(evaluation.scores.undefined),
            *left_out_lines(evaluation.scores),
        ],
        "tables": _tables(evaluation.figures),
        "metric": metric,
        "total": total,
        "groups": groups,
        "captions": {
            n: {
                **_photo(evaluation.images[n], evaluation.captions[n]),
                **_caption(evaluation.captions[n]),
                "references": evaluation.images[n].captions,
                "scores": [[k, _rounded(per_image[k][n])] for k in per_image],
                "notes": list(notes[n]) if notes else [],
            }
            for n in sorted({*sum(groups.values(), [])})
        },
    }
    page = _page(
        title, draw_curves(history) if has_curves(history) else "", content
    )
    path = os.path.join(directory, FILE_NAME)
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def _groups(values: np.ndarray, shown: int) -> dict[str, list[int]]:
    """Returns indices of captions: a random sample, the best, the worst."""
    order = np.argsort(-values, kind="stable").tolist()
    ranked = [n for n in order if np.isfinite(values[n])]
    half = min(shown, len(ranked) // 2)
    best, worst = ranked[:half], ranked[::-1][:half]
    sample = np.random.default_rng(0).permutation(len(values))[:shown]
    return {"random": sample.tolist(), "best": best, "worst": worst}


def _metrics(evaluation: SplitEvaluation) -> list[dict]:
    """Returns the scores against references, with their intervals."""
    figures, intervals = evaluation.figures, evaluation.scores.intervals
    return [
        {
            "name": name,
            "value": _rounded(figures[name]),
            "interval": [_rounded(end) for end in intervals.get(name, ())],
            "no_penalty": _rounded(figures.get(name + _NO_PENALTY)),
        }
        for name in _METRICS
        if name in figures
    ]


def _facts(evaluation: SplitEvaluation) -> list:
    """Returns all other numbers: label, value, interval."""
    figures, intervals = evaluation.figures, evaluation.scores.intervals
    parts = [("", figures, intervals)]
    for prefix, part in _grounding(figures):
        parts.append((prefix, part, part.get("intervals", {})))
    return [
        [
            _label(prefix + name),
            UNDEFINED if figure is None else value,
            [_rounded(e) for e in intervals.get(name, ())],
        ]
        for prefix, part, intervals in parts
        for name, figure in part.items()
        if name.removesuffix(_NO_PENALTY) not in _METRICS
        and ((value := _rounded(figure)) is not None or figure is None)
    ]


def _grounding(figures: Mapping) -> list[tuple[str, Mapping]]:
    """Returns the figures against boxes, and what goes before their names."""
    grounding = figures.get("grounding", {})
    references = grounding.get("references", {})
    return [("", grounding), ("reference captions: ", references)]


def _tables(figures: Mapping) -> list[dict]:
    """Returns figures by kind, such as truth by kind of statement."""
    parts = [("", figures), *_grounding(figures)]
    return [
        _table(_label(prefix + title), part[name])
        for prefix, part in parts
        for name, title in _TABLES.items()
        if part.get(name)
    ]


def _table(title: str, rows: Mapping[str, Mapping]) -> dict:
    columns = list(next(iter(rows.values())))
    cells = [
        [kind, *(_rounded(row[column]) for column in columns)]
        for kind, row in rows.items()
    ]
    return {"title": title, "columns": [*map(_label, columns)], "rows": cells}


def _photo(image: CaptionedImage, caption: Caption) -> dict:
    """Returns a photo as a small JPEG."""
    pixels = load_image(image.read())
    photo = Image.fromarray(pixels)
    photo.thumbnail((_PHOTO_SIZE, _PHOTO_SIZE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=82, optimize=True)
    region = input_region(pixels.shape[:2], photo.size, caption.resize_mode)
    return {
        "id": str(image.id),
        "photo": _base64(file.getvalue()),
        "size": photo.size,
        "region": region,
    }


def _caption(caption: Caption) -> dict:
    """Returns a caption with the brightness of each location at each word."""
    grid = caption.attention.shape[1:]
    bright = [attention_brightness(a, *grid) for a in caption.attention]
    return {
        "words": caption.words,
        "text": caption.text,
        "gate": [_rounded(value) for value in caption.gate],
        "grid": grid,
        "brightness": [
            _base64(np.rint(255 * b).astype(np.uint8)) for b in bright
        ],
        "locations": caption.locations,
        "phrases": phrases_as_json(caption.phrases),
        "log_probability": _rounded(caption.log_probability),
        "score": _rounded(caption.score),
        "finished": bool(caption.finished),
        "alternatives": [
            [c.text, _rounded(c.score)] for c in caption.alternatives
        ],
    }


def _page(title: str, curves: str, content: dict) -> str:
    """Fills the template."""
    files = importlib.resources.files("show_attend_tell.evaluation")
    template = (files / "report.html").read_text(encoding="utf-8")
    data = json.dumps(content, allow_nan=False, separators=(",", ":"))
    # In HTML these could end the element that holds the JSON.
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    parts = {"title": html.escape(title), "curves": curves, "data": data}
    parts["policy"] = _policy(template + curves)
    # All at once, so that no marker is searched for in what is inserted.
    markers = "{(" + "|".join(parts) + ")}"
    return re.sub(markers, lambda match: parts[match[1]], template)


def _policy(source: str) -> str:
    """Allows the source's own scripts and styles, and embedded pictures."""

    def hashes(pattern: str) -> str:
        texts = dict.fromkeys(re.findall(pattern, source, re.DOTALL))
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        return " ".join(f"'sha256-{_base64(digest)}'" for digest in digests)

    attributes = hashes(' style="([^"]*)"')  # of elements of the curves
    return (
        "default-src 'none'; img-src data:; "
        f"script-src {hashes('<script>(.*?)</script>')}; "
        f"style-src {hashes('<style[^>]*>(.*?)</style>')}; "
        f"style-src-attr 'unsafe-hashes' {attributes}; "
        "base-uri 'none'; form-action 'none'"
    )


def _label(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")


def _base64(data) -> str:
    return base64.b64encode(data).decode()


def _rounded(value, digits: int = 4) -> int | float | None:
    """Rounds a finite number; anything else is `None`."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        return None
    return round(value if isinstance(value, int) else float(value), digits)
