"""Attention compared with boxes: whether it lies on what a word names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipelines.boxes.coverage import coverage
from pipelines.boxes.photo_boxes import Phrase
from pipelines.sources.scenes.grammar import Box, Grounding
from show_attend_tell.metrics.bootstrap import Sums, interval, resample

FIGURES = (
    "pointing_accuracy",
    "pointing_chance",
    "attention_mass",
    "attention_mass_chance",
)
# Of one map for all words of a caption, the mean of theirs: what attention
# that follows the words must exceed.
MEAN_MAP = ("pointing_mean_map", "attention_mass_mean_map")
_ALL = FIGURES + MEAN_MAP


def measure_grounding(
    attentions: Iterable[np.ndarray],
    groundings: Iterable[Iterable[Grounding | Phrase]],
) -> dict[str, Any]:
    """Measures the attention of words in the boxes of what they name.

    Of phrases the mean over their words is measured: `attention_mass` is then
    the attention correctness of Liu et al. (2017).

    A location is one cell of the grid that the attention divides the image
    into. A word points at its boxes if the middle of the location with most
    attention lies in one of them, or if the middle of one of them lies in
    that location, so that a small box can be pointed at too; where several
    locations have as much, the share of these counts. The attention's mass
    in the boxes counts a location by the share of its area that they cover,
    what two of them cover once. A word without boxes is missed.

    Args:
        attentions: Of each caption `(T, rows, columns)`.
        groundings: Of each caption the words or phrases that name something:
            positions, class (`kind`) and boxes, as fractions of the square
            that the network sees.

    Returns:
        `count`, the number of these, and means over them:
        `pointing_accuracy`; `pointing_chance`, that of a random location;
        `attention_mass`; `attention_mass_chance`, that of attention spread
        evenly; and `pointing_mean_map` and `attention_mass_mean_map`, those of
        the mean map of the caption. None where there is no such word. In
        `by_word_class` the same for each class, the most frequent first; in
        `intervals` of each figure the middle 95 % of resampled captions.

    Raises:
        ValueError: The numbers of captions and groundings differ, or an
            attention is not `(T, rows, columns)`.
    """
    by_class, per_caption = {}, []
    for attention, words in zip(attentions, groundings, strict=True):
        if np.ndim(attention) != 3:
            raise ValueError(
                "Expected attention (T, rows, columns). Received: "
                f"shape={np.shape(attention)}"
            )
        words = list(words)
        figures = [_figures(attention, word) for word in words]
        for word, each in zip(words, figures, strict=True):
            by_class.setdefault(word.kind, []).append(each)
        sums = np.sum(figures, axis=0) if figures else np.zeros(len(_ALL))
        per_caption.append((len(figures), *sums))
    ranked = sorted(by_class.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        **_summary([f for figures in by_class.values() for f in figures]),
        "by_word_class": {kind: _summary(figures) for kind, figures in ranked},
        "intervals": _intervals(np.array(per_caption)),
    }


def _intervals(per_caption: np.ndarray) -> dict[str, tuple[float, float]]:
    """Returns the interval of each figure from sums over captions' words."""
    if not per_caption.size or not per_caption[:, 0].any():
        return {}

    def means(sums):
        of_words = sums[..., 1:] / np.maximum(sums[..., :1], 1)
        return dict(zip(_ALL, np.moveaxis(of_words, -1, 0), strict=True))

    resampled = resample([Sums(per_caption, means)])
    return {name: interval(values) for name, values in resampled.items()}


def _pointing_at(boxes: Sequence[Box], grid: tuple[int, int]) -> np.ndarray:
    """Returns which locations point at the boxes, `(rows, columns)` bool."""
    rows, columns = grid
    y = ((np.arange(rows) + 0.5) / rows)[:, None]
    x = (np.arange(columns) + 0.5) / columns
    inside = np.zeros(grid, bool)
    for left, top, right, bottom in boxes:
        inside |= (left <= x) & (x < right) & (top <= y) & (y < bottom)
        row = int((top + bottom) / 2 * rows)
        column = int((left + right) / 2 * columns)
        inside[min(row, rows - 1), min(column, columns - 1)] = True
    return inside


def _figures(attention: np.ndarray, word: Grounding | Phrase) -> tuple:
    """Returns `FIGURES` and `MEAN_MAP` of a word, or means over a phrase."""
    grid = attention.shape[1:]
    pointing, covered = (
        _pointing_at(word.boxes, grid),
        coverage(word.boxes, grid),
    )
    maps = [*attention[word.positions], attention.mean(axis=0)]
    hits = [pointing[one == one.max()].mean() for one in maps]
    mass = [(one * covered).sum() for one in maps]
    return (
        np.mean(hits[:-1]),
        pointing.mean(),
        np.mean(mass[:-1]),
        covered.mean(),
        hits[-1],
        mass[-1],
    )


def _summary(figures: Sequence[tuple]) -> dict[str, float | None]:
    if not figures:
        return {"count": 0, **dict.fromkeys(_ALL)}
    means = np.mean(figures, axis=0).tolist()
    return {"count": len(figures), **dict(zip(_ALL, means, strict=True))}


def attention_change(attentions: Iterable[np.ndarray]) -> float | None:
    """Measures how much attention `(T, rows, columns)` moves between words.

    The total variation distance `sum_i |alpha_ti - alpha_(t-1)i| / 2` of
    neighbouring words, mean over all pairs of neighbours: 0 if the maps are
    the same at every step, so that attention has learned nothing, and 1 if no
    two words attend to the same location. None if no caption has two words.
    """
    moved = [
        np.abs(np.diff(attention, axis=0)).sum((1, 2)) / 2
        for attention in attentions
        if len(attention) > 1
    ]
    return float(np.concatenate(moved).mean()) if moved else None
