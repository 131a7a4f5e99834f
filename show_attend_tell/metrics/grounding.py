"""Attention compared with boxes: whether it lies on what a word names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipelines.boxes.coverage import coverage
from pipelines.sources.scenes.grammar import Box, Grounding

FIGURES = (
    "pointing_accuracy",
    "pointing_chance",
    "attention_mass",
    "attention_mass_chance",
)


def measure_grounding(
    attentions: Iterable[np.ndarray], groundings: Iterable[Iterable[Grounding]]
) -> dict[str, Any]:
    """Measures the attention of words in the boxes of what they name.

    A location is one cell of the grid that the attention divides the image
    into. A word points at its boxes if the middle of the location with most
    attention lies in one of them, or if the middle of one of them lies in
    that location, so that a small box can be pointed at too; where several
    locations have as much, the share of these counts. The attention's mass
    in the boxes counts a location by the share of its area that they cover,
    what two of them cover once. A word without boxes is missed.

    Args:
        attentions: Of each caption `(T, rows, columns)`.
        groundings: Of each caption the words that name something: position,
            class (`kind`) and boxes, as fractions of the square that the
            network sees.

    Returns:
        `count`, the number of such words, and means over them:
        `pointing_accuracy`; `pointing_chance`, that of a random location;
        `attention_mass`; and `attention_mass_chance`, that of attention
        spread evenly. None where there is no such word. And in
        `by_word_class` the same for each class, the most frequent first.

    Raises:
        ValueError: The numbers of captions and groundings differ, or an
            attention is not `(T, rows, columns)`.
    """
    by_class = {}
    for attention, words in zip(attentions, groundings, strict=True):
        if np.ndim(attention) != 3:
            raise ValueError(
                "Expected attention (T, rows, columns). Received: "
                f"shape={np.shape(attention)}"
            )
        for word in words:
            figures = _figures(attention[word.position], word.boxes)
            by_class.setdefault(word.kind, []).append(figures)
    ranked = sorted(by_class.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        **_summary([f for figures in by_class.values() for f in figures]),
        "by_word_class": {kind: _summary(figures) for kind, figures in ranked},
    }


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


def _figures(attention: np.ndarray, boxes: Sequence[Box]) -> tuple:
    """Returns `FIGURES` of one word."""
    pointing = _pointing_at(boxes, attention.shape)
    covered = coverage(boxes, attention.shape)
    return (
        pointing[attention == attention.max()].mean(),
        pointing.mean(),
        (attention * covered).sum(),
        covered.mean(),
    )


def _summary(figures: Sequence[tuple]) -> dict[str, float | None]:
    if not figures:
        return {"count": 0, **dict.fromkeys(FIGURES)}
    means = np.mean(figures, axis=0).tolist()
    return {"count": len(figures), **dict(zip(FIGURES, means, strict=True))}


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
