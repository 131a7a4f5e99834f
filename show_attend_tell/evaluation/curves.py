"""Draws the curves of a run's scores over its epochs, as SVG."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

SCORES = {
    "BLEU-4": "BLEU-4",
    "CIDEr-D": "CIDEr-D",
    "true_captions": "True captions",
    "pointing_accuracy": "Pointing accuracy",
}
_BASELINES = {"pointing_accuracy": "pointing_chance"}
_WIDTH, _HEIGHT = 3.6, 2.5  # of a panel, in inches of 72 points
_MOST_MARKERS = 40  # a longer curve has no dot at each epoch

_ACCENT, _INK, _MUTED, _EDGE = "#c4560c", "#202124", "#5c6066", "#9a9ea4"
_STYLE = {
    "axes.edgecolor": _EDGE,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlepad": 12,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.ymargin": 0.1,
    "figure.constrained_layout.w_pad": 0.12,
    "font.size": 9,
    "grid.color": "#e3e4e6",
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "curves",  # for equal ids in equal drawings
    "text.color": _INK,
    "xtick.color": _EDGE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "ytick.major.size": 0,
}


def has_curves(history: Sequence[Mapping[str, float | None]]) -> bool:
    """Whether any epoch has a score to draw."""
    return any(np.isfinite(_values(history, name)).any() for name in SCORES)


def draw_curves(history: Sequence[Mapping[str, float | None]]) -> str:
    """Draws a panel for each of the main scores that a history has.

    The best epoch, the first with the highest CIDEr-D where a run has it and
    else BLEU-4, is marked in every panel. A missing score, or one that is not
    finite, leaves a gap in its curve. Equal histories give equal bytes.

    Args:
        history: The content of `history.json`: a dictionary for each epoch
            with `"epoch"` (counted from 1 where missing) and scores by name.

    Returns:
        An SVG document.

    Raises:
        ValueError: No epoch has a score to draw.
    """
    # Here, because commands that draw no curves need not wait for it.
    import matplotlib
    from matplotlib.figure import Figure

    epochs = [int(entry.get("epoch", n)) for n, entry in enumerate(history, 1)]
    curves = {name: _values(history, name) for name in SCORES}
    curves = {k: v for k, v in curves.items() if np.isfinite(v).any()}
    if not curves:
        raise ValueError(
            f"Expected a history with one of {', '.join(SCORES)}. "
            f"Received: history={list(history)!r:.200}"
        )
    rewarded = any("CIDEr-D" in entry for entry in history)
    by = curves.get("CIDEr-D" if rewarded else "BLEU-4")
    best = None if by is None else int(np.nanargmax(by))
    with matplotlib.rc_context(_STYLE):
        figure = Figure((_WIDTH * len(curves), _HEIGHT), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (name, values) in zip(panels, curves.items(), strict=True):
            axes.set_title(SCORES[name], loc="left")
            _draw_curve(axes, epochs, values)
            if best is not None and np.isfinite(values[best]):
                _mark_best(axes, epochs[best], values[best])
            baseline = _values(history, _BASELINES.get(name))
            if np.isfinite(baseline).any():
                _draw_baseline(axes, np.nanmean(baseline))
        return _svg(figure)


def _values(history: Sequence[Mapping], name: str | None) -> np.ndarray:
    """Returns a score of each epoch; NaN, a gap, where it is not finite."""
    values = [entry.get(name) for entry in history]
    return np.array(
        [
            v if isinstance(v, int | float) and math.isfinite(v) else np.nan
            for v in values
        ]
    )


def _draw_curve(axes, epochs: Sequence[int], values: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "o" if len(epochs) <= _MOST_MARKERS else ""
    axes.plot(
        epochs, values, _ACCENT, linewidth=2, marker=marker, markersize=3.5,
        gid="curve",
    )  # fmt: skip
    margin = max(0.5, 0.03 * (epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    axes.set_xlabel("epoch", color=_MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _mark_best(axes, epoch: int, value: float) -> None:
    axes.axvline(epoch, color=_EDGE, linestyle=":", linewidth=1)
    axes.plot(
        epoch, value, "o", color=_ACCENT, markersize=7, markerfacecolor="white",
        markeredgewidth=2, zorder=4, clip_on=False, gid="best",
    )  # fmt: skip
    text = f"{value:.3f} at epoch {epoch}"
    axes.set_title(text, loc="right", fontweight="normal", fontsize=9)


def _draw_baseline(axes, value: float) -> None:
    axes.axhline(value, color=_EDGE, linestyle=(0, (1, 2)), gid="baseline")
    axes.annotate(
        "random", (1, value), (0, 3), ha="right", color=_MUTED,
        xycoords=("axes fraction", "data"), textcoords="offset points",
    )  # fmt: skip


def _svg(figure) -> str:
    """Returns the document without a date, a version or a prologue."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    document = file.getvalue()
    return document[document.index("<svg") :]
