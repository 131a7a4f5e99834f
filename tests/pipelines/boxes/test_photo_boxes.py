"""Boxes in the square that the network sees, and groundings of captions."""

import numpy as np
import pytest

from pipelines.boxes.photo_boxes import NamedBoxes, PhotoBoxes, cut_box, fit_box
from pipelines.images.decoding import fit_image


def test_fit_by_hand():
    box = (0.1, 0.2, 0.5, 0.9)
    assert fit_box(box, (375, 500), 224, "squash") == pytest.approx(box)
    # 375 becomes 256 and 500 becomes 341 (341.33 rounded). The square starts
    # at x = (341 - 224) // 2 = 58 and y = (256 - 224) // 2 = 16.
    # x: 0.25 * 341 - 58 = 27.25, 0.5 * 341 - 58 = 112.5;
    # y: 0.25 * 256 - 16 = 48, 0.75 * 256 - 16 = 176.
    fitted = fit_box((0.25, 0.25, 0.5, 0.75), (375, 500), 224, "crop")
    expected = (27.25 / 224, 48 / 224, 112.5 / 224, 176 / 224)
    assert fitted == pytest.approx(expected)
    # 200 becomes 256 and 400 becomes 512; the square starts at x = 16 and
    # y = 144. From 0 to 256 across, cut on both sides; from 128 to 384 down,
    # cut at the square's 224 as well.
    fitted = fit_box((0.0, 0.25, 1.0, 0.75), (400, 200), 224, "crop")
    assert fitted == pytest.approx((0, 0, 1, 1))
    fitted = fit_box((0.5, 0.25, 0.75, 0.5), (400, 200), 224, "crop")
    expected = ((128 - 16) / 224, 0, (192 - 16) / 224, (256 - 144) / 224)
    assert fitted == pytest.approx(expected)
    # The first 144 of 512 rows are out of sight: 0.28125 of the height.
    assert fit_box((0.0, 0.0, 1.0, 0.28), (400, 200), 224, "crop") is None
    assert fit_box((0.0, 0.0, 1.0, 0.29), (400, 200), 224, "crop")


@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (240, 320)])
@pytest.mark.parametrize("resize_mode", ["crop", "squash"])
def test_the_box_is_where_the_pixels_are(shape, resize_mode):
    height, width = shape
    rng = np.random.default_rng(0)
    for _ in range(5):
        left, right = np.sort(rng.choice(width // 20, 2, replace=False)) * 20
        top, bottom = np.sort(rng.choice(height // 20, 2, replace=False)) * 20
        image = np.zeros((*shape, 3), np.uint8)
        image[top:bottom, left:right] = 255
        seen = fit_image(image, 224, resize_mode)[..., 0] > 127
        box = (left / width, top / height, right / width, bottom / height)
        fitted = fit_box(box, shape, 224, resize_mode)
        if not seen.any():
            assert fitted is None or min(np.diff(fitted[::2])) * 224 < 1
            continue
        rows, columns = seen.any(1).nonzero()[0], seen.any(0).nonzero()[0]
        extent = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        # Within half a pixel of the blurred edge, and half of its rounding.
        np.testing.assert_allclose(np.array(fitted) * 224, extent, atol=1)


def test_a_box_is_cut_to_the_image():
    assert cut_box((-0.5, 0.25, 0.5, 1.5)) == (0, 0.25, 0.5, 1)
    assert cut_box((1.0, 0.0, 1.5, 1.0)) is None
    assert cut_box((0.5, 0.0, 0.5, 1.0)) is None
    assert cut_box((float("nan"), 0.0, 0.5, 1.0)) is None


FULL = (0.0, 0.0, 1.0, 1.0)


def test_groundings_of_a_caption():
    photo = {"dog": NamedBoxes("animals", (FULL,))}
    boxes = PhotoBoxes({"a.jpg": photo}, enumerate)
    (dog,) = boxes.groundings("a.jpg", ("a", "dog", "runs"))
    assert (dog.position, dog.word, dog.kind) == (1, "dog", "animals")
    assert dog.boxes == (FULL,)
    assert boxes.groundings("a.jpg", ("a", "cat")) == []
    assert boxes.groundings("b.jpg", ("a", "dog")) == []
    assert len(boxes) == 1 and "a.jpg" in boxes and "b.jpg" not in boxes


def test_of_names_side_by_side_the_last_counts():
    photo = dict.fromkeys(("football", "player"), NamedBoxes("other", (FULL,)))
    boxes = PhotoBoxes({"a": photo}, enumerate)
    words = "a football player kicks a football".split()
    groundings = boxes.groundings("a", words)
    assert [g.position for g in groundings] == [2, 5]
    assert [g.word for g in groundings] == ["player", "football"]
