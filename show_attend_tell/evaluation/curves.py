"""Training curves: a small picture for each measure, epoch by epoch."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape

Epoch = Mapping[str, float]

# What is drawn where nothing else is asked for, with what people call it.
_LABELS = {
    "loss": "Training loss",
    "nll": "Negative log-likelihood",
    "BLEU-4": "BLEU-4",
    "CIDEr": "CIDEr",
    "CIDEr-D": "CIDEr-D",
    "true_captions": "True captions",
    "pointing_accuracy": "Pointing accuracy",
}
_CHANCE = {"pointing_accuracy": "pointing_chance"}

_WIDTH, _HEIGHT = 300, 190  # of a panel, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 36, 30  # between panel and axes
_ROW = 20  # height of a line of the legend
_MOST_IN_A_ROW = 3
_MOST_POINTS = 40  # a curve of more epochs is drawn without its points
_LONGEST_NAME = 70  # characters of a run's name

# Told apart by colour and by dashes.
_COLOURS = ("#c4560c", "#2f74b5", "#2f8a5b", "#8b5fbf", "#a07c1c", "#6b7480")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3")

STYLE = """
.curves text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums;fill:#5c6066}
.curves .name{font-weight:600;font-size:13px;fill:#202124}
.curves .ground{fill:#fafaf9}
.curves .grid{stroke:#e3e4e6}
.curves .axis{stroke:#9a9ea4}
.curves .best{stroke:#9a9ea4;stroke-dasharray:2 3}
.curves .chance{stroke:#7b8087;stroke-dasharray:1 3;stroke-width:1.5;
stroke-linecap:round}
.curves .line{fill:none;stroke-width:2;stroke-linejoin:round;
stroke-linecap:round}
.curves .ring{stroke-width:2;fill:#fafaf9}
@media (prefers-color-scheme:dark){
.curves text{fill:#a9adb4}
.curves .name{fill:#ececea}
.curves .ground,.curves .ring{fill:#17181a}
.curves .grid{stroke:#313337}
.curves .axis,.curves .best{stroke:#6d7178}
.curves .chance{stroke:#8d9198}
}
"""


def draw_curves(
    history: Sequence[Epoch] | Mapping[str, Sequence[Epoch]],
    measures: Sequence[str] | None = None,
    best_by: str | None = None,
) -> str:
    """Draws how measures went from epoch to epoch.

    The epoch that a run kept, the first with the highest `best_by`, is marked
    in every panel. Where an epoch lacks a measure, or its value is no finite
    number, the curve has a gap. Pointing accuracy is drawn with its chance.

    Args:
        history: What `history.json` holds: for each epoch its `"epoch"`
            (else they are counted from one) and its measures by name. Or
            several of these under the names of their runs, to be drawn
            together.
        measures: Names of what to draw, a panel each. `None` draws the loss,
            BLEU-4 and the like, as far as the history has them.
        best_by: The measure by which the best epoch was chosen; by default
            CIDEr-D where a run has it, which then was what it was for, or
            else BLEU-4.

    Returns:
        An SVG document, made for light and dark pages; it can be a file or
        stand in HTML, as its style applies to nothing else.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not isinstance(history, Mapping):
        history = {"": history}
    measures = measures_of(history) if measures is None else measures
    if not measures or not any(history.values()):
        raise ValueError(
            "Curves need an epoch and a measure. Received: "
            f"runs={list(history)}, measures={list(measures)}"
        )
    runs = [
        _Run(name, epochs, best_by, _COLOURS[n % len(_COLOURS)],
             _DASHES[n % len(_DASHES)])
        for n, (name, epochs) in enumerate(history.items())
    ]  # fmt: skip
    rows = math.ceil(len(measures) / _MOST_IN_A_ROW)
    columns = math.ceil(len(measures) / rows)
    legend = _legend(runs) if len(runs) > 1 else []
    top = _ROW * len(legend) + 10 * bool(legend)
    panels = [
        _panel(measure, runs, index % columns * _WIDTH,
               top + index // columns * _HEIGHT)
        for index, measure in enumerate(measures)
    ]  # fmt: skip
    name = "curves-" + "-".join(
        "".join(c if c.isalnum() else "-" for c in m) for m in measures
    )
    width, height = columns * _WIDTH, top + rows * _HEIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" '
            f'role="img" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" '
            f'aria-labelledby="{name} {name}-more">',
            f'<title id="{name}">Training curves: '
            f"{_text(', '.join(map(_label, measures)))}</title>",
            f'<desc id="{name}-more">{_text(_told(measures, runs))}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{width}" height="{height}"/>',
            *legend,
            *panels,
            "</svg>\n",
        ]
    )


def measures_of(
    history: Sequence[Epoch] | Mapping[str, Sequence[Epoch]],
) -> list[str]:
    """Returns what `draw_curves` draws of a history by itself."""
    runs = history.values() if isinstance(history, Mapping) else [history]
    epochs = list(itertools.chain(*runs))
    return [
        name
        for name in _LABELS
        if any(_number(epoch.get(name)) is not None for epoch in epochs)
    ]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns round numbers, evenly spaced, that enclose a range.

    Args:
        low: The lowest value.
        high: The highest; no less than `low`.
        most: How many steps there may be, at most; three or more.

    Returns:
        Multiples of 1, 2, 2.5 or 5 times a power of ten, in order; at least
        two.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 10 or 0.5
        low, high = low - margin, high + margin
    power = 10.0 ** (math.floor(math.log10((high - low) / most)) - 1)
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50, 100, 200, 250, 500):
        step = factor * power
        # The rounding forgives the last digits of floats.
        first = math.floor(round(low / step, 6))
        last = math.ceil(round(high / step, 6))
        if last - first <= most:
            break
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


@dataclasses.dataclass(frozen=True)
class _Run:
    """A run's history and its looks."""

    name: str
    epochs: Sequence[Epoch]
    best_by: str | None
    colour: str
    dashes: str

    def points(self, measure: str) -> list[tuple[int, float | None]]:
        """Returns number and value of each epoch."""
        return [
            (int(epoch.get("epoch", n)), _number(epoch.get(measure)))
            for n, epoch in enumerate(self.epochs, 1)
        ]

    @property
    def best(self) -> int | None:
        """The number of the best epoch; the first of equals."""
        best_by = self.best_by or "CIDEr-D"
        if not self.best_by and best_by not in measures_of(self.epochs):
            best_by = "BLEU-4"
        known = [p for p in self.points(best_by) if p[1] is not None]
        return max(known, key=lambda point: point[1])[0] if known else None

    def at_best(self, measure: str) -> float | None:
        """Returns the value in the best epoch."""
        return dict(self.points(measure)).get(self.best)


class _Axes:
    """From epochs and values to pixels."""

    def __init__(self, epochs: set[int], values: list[float], x: int, y: int):
        self.values = ticks(min(values), max(values), 4)
        # As many as the step needs, for every tick of the axis.
        self.decimals = max(
            len(f"{tick:g}".partition(".")[2]) for tick in self.values
        )
        first, last = min(epochs), max(epochs)
        self.epochs = [
            int(tick)
            for tick in ticks(first, max(last, first + 1), 6)
            if tick == int(tick) and first <= tick <= last
        ]
        # A single epoch stands in the middle.
        self._first, self._last = (
            (first, last) if last > first else (first - 1, last + 1)
        )
        self.left, self.right = x + _LEFT, x + _WIDTH - _RIGHT
        self.top, self.bottom = y + _TOP, y + _HEIGHT - _BOTTOM

    def x(self, epoch: float) -> float:
        """Returns an epoch's pixel from the left."""
        part = (epoch - self._first) / (self._last - self._first)
        return round(self.left + part * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        """Returns a value's pixel from the top."""
        low, high = self.values[0], self.values[-1]
        part = (value - low) / (high - low)
        return round(self.bottom - part * (self.bottom - self.top), 1)


def _panel(measure: str, runs: Sequence[_Run], x: int, y: int) -> str:
    """Draws all runs' curves of one measure."""
    points = [p for run in runs for p in run.points(measure)]
    chance = _chance(measure, runs)
    values = [value for _, value in points if value is not None]
    parts = [_at(x + 12, y + 20, _label(measure), "name")]
    if not values:
        return parts[0]
    axes = _Axes(
        {epoch for epoch, _ in points},
        values + ([] if chance is None else [chance]),
        x,
        y,
    )
    for tick in axes.values:
        height = axes.y(tick)
        kind = "axis" if tick == axes.values[0] else "grid"
        parts.append(_line(kind, axes.left, height, axes.right, height))
        told = f"{tick:.{axes.decimals}f}"
        parts.append(_at(axes.left - 6, height + 4, told, anchor="end"))
    for tick in axes.epochs:
        parts.append(
            _at(axes.x(tick), axes.bottom + 16, str(tick), anchor="middle")
        )
    parts.append(_at(axes.left - 8, axes.bottom + 16, "epoch", anchor="end"))
    if chance is not None:
        height = axes.y(chance)
        parts.append(_line("chance", axes.left, height, axes.right, height))
        parts.append(_at(axes.right, height - 5, "chance", anchor="end"))
    best = runs[0].at_best(measure)
    if best is not None and len(runs) == 1:
        told = f"{_figure(best)} at epoch {runs[0].best}"
        parts.append(_at(axes.right, y + 20, told, anchor="end"))
        middle = axes.x(runs[0].best)
        parts.append(_line("best", middle, axes.top, middle, axes.bottom))
    parts += [_curve(measure, run, axes) for run in runs]
    return "\n".join(parts)


def _curve(measure: str, run: _Run, axes: _Axes) -> str:
    """Draws one run's curve, with its best epoch."""
    points = run.points(measure)
    parts = []
    stretches = itertools.groupby(points, lambda point: point[1] is None)
    for missing, stretch in stretches:
        if not missing:
            path = " ".join(f"{axes.x(e)},{axes.y(v)}" for e, v in stretch)
            parts.append(
                f'<polyline class="line" stroke="{run.colour}" '
                f'stroke-dasharray="{run.dashes}" points="{path}"/>'
            )
    known = [(epoch, value) for epoch, value in points if value is not None]
    for epoch, value in known:
        if epoch == run.best:
            looks = f'class="ring" stroke="{run.colour}" r="4.5"'
        elif len(known) <= _MOST_POINTS:
            looks = f'fill="{run.colour}" r="2.5"'
        else:
            continue
        told = f"{run.name} epoch {epoch}: {value:.4g}".strip()
        parts.append(
            f'<circle {looks} cx="{axes.x(epoch)}" cy="{axes.y(value)}">'
            f"<title>{_text(told)}</title></circle>"
        )
    return "\n".join(parts)


def _legend(runs: Sequence[_Run]) -> list[str]:
    """Draws a line for each run: how it looks, its name, its best epoch."""
    lines = []
    for n, run in enumerate(runs):
        y = 20 + n * _ROW
        best = "" if run.best is None else f" (best: epoch {run.best})"
        name = run.name
        if len(name) > _LONGEST_NAME:
            name = name[: _LONGEST_NAME - 3] + "..."
        lines.append(
            f'<line class="line" stroke="{run.colour}" stroke-dasharray='
            f'"{run.dashes}" x1="12" y1="{y - 4}" x2="40" y2="{y - 4}"/>'
            + _at(48, y, name + best)
        )
    return lines


def _told(measures: Sequence[str], runs: Sequence[_Run]) -> str:
    """Says in words what the curves show."""
    sentences = []
    for run, measure in itertools.product(runs, measures):
        known = [p for p in run.points(measure) if p[1] is not None]
        if known:
            (first, start), (last, end) = known[0], known[-1]
            told = (
                f"{run.name} {_label(measure)}: {_figure(start)} at epoch "
                f"{first}, {_figure(end)} at epoch {last}"
            ).strip()
            best = run.at_best(measure)
            if best is not None:
                told += f", {_figure(best)} at the best epoch, {run.best}"
            sentences.append(told + ".")
    return " ".join(sentences)


def _chance(measure: str, runs: Sequence[_Run]) -> float | None:
    """Returns the mean of a measure's chance over all epochs."""
    if measure not in _CHANCE:
        return None
    points = [p for run in runs for p in run.points(_CHANCE[measure])]
    known = [value for _, value in points if value is not None]
    return sum(known) / len(known) if known else None


def _label(measure: str) -> str:
    return _LABELS.get(measure, measure)


def _figure(value: float) -> str:
    """Writes a number with three digits that count."""
    return f"{value:#.3g}".rstrip(".")


def _number(value) -> float | None:
    """Returns a finite number; of anything else nothing."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" '
        f'x2="{x2:g}" y2="{y2:g}"/>'
    )


def _at(
    x: float, y: float, text: str, kind: str = "", anchor: str = "start"
) -> str:
    looks = f' class="{kind}"' if kind else ""
    return (
        f'<text{looks} x="{x:g}" y="{y:g}" text-anchor="{anchor}">'
        f"{_text(text)}</text>"
    )


def _text(text: str) -> str:
    """Escapes text, without the characters that XML forbids."""
    allowed = "".join(
        c for c in text if c >= " " and not "\ud800" <= c <= "\udfff"
        and c not in "\ufffe\uffff"
    )  # fmt: skip
    return escape(allowed)
