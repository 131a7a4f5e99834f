"""A box made of attention, to show and to measure what a word names."""

import numpy as np

from pipelines.boxes.photo_boxes import Box

# Of the peak. Chosen on photos of training by how many boxes overlap people's
# by more than half; see docs/results/grounding.md.
LEAST = 0.2
_FINER = 4


def box_of(attention: np.ndarray, least: float = LEAST) -> Box:
    """Returns the box of what a map of attention lies on.

    The map is interpolated bilinearly to a grid four times as fine. The box
    encloses the locations with at least a part of the peak's attention that are
    connected to the peak, also across corners.

    Args:
        attention: `(rows, columns)`, not negative.
        least: That part, from 0 to 1.

    Returns:
        Left, top, right and bottom as fractions of the image.
    """
    fine = _interpolated(_interpolated(attention).T).T
    connected = _connected_to_peak(fine >= least * fine.max(), fine)
    (top, bottom), (left, right) = map(
        _extent, (connected.any(1), connected.any(0))
    )
    return left, top, right, bottom


def _interpolated(rows: np.ndarray) -> np.ndarray:
    """Returns four rows in place of one, those at the edges repeated."""
    count = len(rows)
    centers = (np.arange(_FINER * count) + 0.5) / _FINER - 0.5
    below = np.clip(np.floor(centers).astype(int), 0, max(count - 2, 0))
    part = np.clip(centers - below, 0, 1)[:, None]
    above = np.minimum(below + 1, count - 1)
    return (1 - part) * rows[below] + part * rows[above]


def _connected_to_peak(chosen: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Returns the chosen locations that neighbours lead to from the peak."""
    reached = np.zeros(np.add(chosen.shape, 2), bool)  # With a rim.
    row, column = np.unravel_index(attention.argmax(), attention.shape)
    reached[row + 1, column + 1] = True
    count = 0
    while reached.sum() > count:
        count = reached.sum()
        across = reached[:, :-2] | reached[:, 1:-1] | reached[:, 2:]
        around = across[:-2] | across[1:-1] | across[2:]
        reached[1:-1, 1:-1] = around & chosen
    return reached[1:-1, 1:-1]


def _extent(occupied: np.ndarray) -> tuple[float, float]:
    """Returns where the first begins and the last ends, as fractions."""
    first, *_, last = np.flatnonzero(occupied)[[0, -1]]
    return float(first / len(occupied)), float((last + 1) / len(occupied))
