"""How much of each location of a grid boxes cover."""

from collections.abc import Sequence

import numpy as np

from pipelines.sources.scenes.grammar import Box


def coverage(boxes: Sequence[Box], grid: tuple[int, int]) -> np.ndarray:
    """Returns the share of each location that boxes cover together."""
    rows, columns = (np.arange(count + 1) / count for count in grid)
    edges = np.clip(np.reshape(boxes, (-1, 4)), 0, 1)
    # A grid of all edges: each cell is covered entirely or not at all.
    x = np.unique(np.concatenate([columns, edges[:, 0], edges[:, 2]]))
    y = np.unique(np.concatenate([rows, edges[:, 1], edges[:, 3]]))
    area = np.zeros((len(y) - 1, len(x) - 1))
    spans = zip(
        *np.searchsorted(x, edges[:, 0::2].T),
        *np.searchsorted(y, edges[:, 1::2].T),
        strict=True,
    )
    for left, right, top, bottom in spans:
        area[top:bottom, left:right] = 1
    area *= np.diff(y)[:, None] * np.diff(x)
    area = np.add.reduceat(area, np.searchsorted(y, rows[:-1]), axis=0)
    area = np.add.reduceat(area, np.searchsorted(x, columns[:-1]), axis=1)
    return area * grid[0] * grid[1]
