"""Attention compared with boxes: whether it lies on what a word names."""

import dataclasses
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
    words = measure_words(attentions, groundings)
    return {**words.figures, "intervals": words.intervals}


@dataclasses.dataclass(frozen=True)
class MeasuredWords:
    """The figures of words, or of phrases.

    Attributes:
        kinds: The class of each.
        values: `FIGURES` and `MEAN_MAP` of each, `(words, 6)`.
        captions: The number of the caption of each, `(words,)`.
        num_captions: How many captions there are.
    """

    kinds: tuple[str, ...]
    values: np.ndarray
    captions: np.ndarray
    num_captions: int

    @property
    def figures(self) -> dict[str, Any]:
        """What `measure_grounding` returns, but for the intervals."""
        by_class = {
            kind: self.values[[one == kind for one in self.kinds]]
            for kind in dict.fromkeys(self.kinds)
        }
        ranked = sorted(
            by_class.items(), key=lambda item: (-len(item[1]), item[0])
        )
        return {
            **_summary(self.values),
            "by_word_class": {kind: _summary(one) for kind, one in ranked},
        }

    @property
    def sums(self) -> Sums:
        """The means over words, from sums over the words of each caption."""
        per_caption = np.zeros((self.num_captions, 1 + len(_ALL)))
        ones = np.ones((len(self.values), 1))
        rows = np.concatenate([ones, self.values], axis=1)
        np.add.at(per_caption, self.captions, rows)

        undefined = () if self.kinds else _ALL
        reason = "no word names a thing that has a box"
        return dataclasses.replace(
            figure_sums(per_caption), undefined=dict.fromkeys(undefined, reason)
        )

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of each figure the middle 95 % of resampled captions."""
        sums = self.sums
        resampled = {} if sums.undefined else resample([sums])
        return {name: interval(values) for name, values in resampled.items()}

    def by_image(self, images: Sequence[int], count: int) -> "MeasuredWords":
        """Returns the same with all captions of an image taken for one.

        Args:
            images: The number of the image of each caption.
            count: How many images there are.
        """
        numbers = np.asarray(images, np.int64)[self.captions]
        return dataclasses.replace(self, captions=numbers, num_captions=count)


def figure_sums(rows: np.ndarray) -> Sums:
    """Returns the means over words of captions or images.

    Args:
        rows: Of each its number of words, and the sums over them of `FIGURES`
            and of `MEAN_MAP`, `(captions, 7)`.
    """

    def means(sums):
        # Where resampling takes none that has a word, 0.
        of_words = sums[..., 1:] / np.maximum(sums[..., :1], 1)
        return dict(zip(_ALL, np.moveaxis(of_words, -1, 0), strict=True))

    return Sums(rows, means)


def measure_words(
    attentions: Iterable[np.ndarray],
    groundings: Iterable[Iterable[Grounding | Phrase]],
) -> MeasuredWords:
    """Measures each word or phrase; args and errors of `measure_grounding`."""
    kinds, values, captions, number = [], [], [], -1
    for number, (attention, words) in enumerate(
        zip(attentions, groundings, strict=True)
    ):
        if np.ndim(attention) != 3:
            raise ValueError(
                "Expected attention (T, rows, columns). Received: "
                f"shape={np.shape(attention)}"
            )
        for word in words:
            kinds.append(word.kind)
            values.append(_figures(attention, word))
            captions.append(number)
    return MeasuredWords(
        tuple(kinds),
        np.reshape(values, (-1, len(_ALL))),
        np.array(captions, np.int64),
        number + 1,
    )


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
    pointing = _pointing_at(word.boxes, grid)
    covered = coverage(word.boxes, grid)
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


def _summary(figures: np.ndarray) -> dict[str, float | None]:
    if not len(figures):
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
