"""Boxes made of attention, by hand and against SciPy."""

import numpy as np
import pytest

from show_attend_tell.inference.attention_boxes import box_of

ndimage = pytest.importorskip("scipy.ndimage")


def box_by_scipy(attention, least):
    fine = ndimage.zoom(attention, 4, order=1, grid_mode=True, mode="nearest")
    labels, _ = ndimage.label(fine >= least * fine.max(), np.ones((3, 3)))
    peak = np.unravel_index(fine.argmax(), fine.shape)
    rows, columns = ndimage.find_objects((labels == labels[peak]).astype(int))[
        0
    ]
    height, width = fine.shape
    return (
        columns.start / width,
        rows.start / height,
        columns.stop / width,
        rows.stop / height,
    )


@pytest.mark.parametrize("shape", [(14, 14), (7, 7), (5, 9)])
def test_boxes_are_those_of_scipy(shape):
    rng = np.random.default_rng(0)
    for least in (0.5, 0.2, 0.05):
        for sharpness in (1, 3, 6):
            attention = np.exp(sharpness * rng.normal(size=shape))
            attention /= attention.sum()
            expected = box_by_scipy(attention, least)
            assert box_of(attention, least) == pytest.approx(expected)


def test_by_hand():
    # All at one location, which is spread over half of its neighbours.
    attention = np.zeros((4, 4))
    attention[1, 2] = 1.0
    assert box_of(attention, 0.01) == (0.375, 0.125, 0.875, 0.625)
    # A second place that is not connected is left out.
    attention[3, 0] = 0.5
    left, top, _, bottom = box_of(attention, 0.3)
    assert left > 0.25 and top < 0.5 and bottom < 0.75
    # One location is the entire image.
    assert box_of(np.ones((1, 1))) == (0.0, 0.0, 1.0, 1.0)
