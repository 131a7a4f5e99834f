"""Labelled boxes on pictures, pixel by pixel."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from show_attend_tell.inference.box_figure import COLOURS, draw_boxes

FONT = ImageFont.load_default(12)


def extents(*boxes) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of the pixels of each box's colour."""
    picture = Image.new("RGB", (200, 120), (150, 150, 150))
    labelled = [(f"phrase {n}", box) for n, box in enumerate(boxes)]
    draw_boxes(picture, labelled, FONT, 2)
    measured = []
    for colour in COLOURS[: len(boxes)]:
        y, x = np.nonzero(np.all(np.asarray(picture) == colour, axis=-1))
        measured.append((x.min(), y.min(), x.max(), y.max()))
    return measured


def test_a_box_has_its_label_above_it_where_there_is_room():
    # Labels are 12 * 1.45 = 17 pixels high.
    assert extents((40, 50, 120, 90)) == [(40, 50 - 17, 120, 90)]
    # Otherwise inside; its lines stay in the picture.
    assert extents((0, 0, 120, 90)) == [(2, 2, 120, 90)]
    assert extents((0, 0, 200, 120)) == [(2, 2, 197, 117)]


@pytest.mark.parametrize("count", [2, 5])
def test_equal_boxes_and_their_labels_are_all_seen(count):
    picture = Image.new("RGB", (200, 120), (150, 150, 150))
    boxes = [("a man in a shirt", (0, 0, 200, 120))] * count
    draw_boxes(picture, boxes, FONT, 2)
    pixels = np.asarray(picture)
    for n, colour in enumerate(COLOURS[:count]):
        colour = np.all(pixels == colour, axis=-1)
        # On the right side, where no label is: each line within the last one.
        assert np.flatnonzero(colour[60]).max() == 197 - 4 * n
        label = colour[:, :60].sum(axis=1) > 10
        assert np.count_nonzero(label) >= 8


def test_a_label_wider_than_the_picture_is_cut():
    picture = Image.new("RGB", (40, 30))
    draw_boxes(picture, [("word " * 50, (5, 20, 30, 28))], FONT, 1)
    assert np.any(np.all(np.asarray(picture) == COLOURS[0], axis=-1))
