"""Attention against boxes, by maps and boxes worked out by hand."""

import numpy as np
import pytest

from pipelines.boxes.photo_boxes import Phrase
from pipelines.sources.scenes.grammar import Grounding
from show_attend_tell.metrics.grounding import (
    FIGURES,
    MEAN_MAP,
    attention_change,
    coverage,
    measure_grounding,
    measure_words,
)

ALL = ("count", *FIGURES, *MEAN_MAP)


def maps_of(*maps) -> np.ndarray:
    return np.array(maps, np.float32)


def word(position, *boxes, kind="noun") -> Grounding:
    return Grounding(position, "word", kind, boxes)


FIRST = [[0.4, 0.3], [0.2, 0.1]]  # Peak at the upper left.
LEFT = (0.0, 0.0, 0.5, 1.0)
RIGHT = (0.5, 0.0, 1.0, 1.0)
CORNER = (1.0 - 1e-9, 1.0 - 1e-9, 1.0, 1.0)


def figures(attention, *words):
    measured = measure_grounding([attention], [words])
    del measured["by_word_class"], measured["intervals"]
    return measured


@pytest.mark.parametrize(
    (
        "attention",
        "boxes",
        "accuracy",
        "random_accuracy",
        "mass",
        "random_mass",
    ),
    [
        # The left half is the locations of 0.4 and 0.2.
        (FIRST, [LEFT], 1, 0.5, 0.6, 0.5),
        (FIRST, [RIGHT], 0, 0.5, 0.4, 0.5),
        # Columns from a quarter to three quarters, the upper half: half of
        # 0.4 and half of 0.3. The middles, at a quarter and three quarters:
        # the left edge belongs to the box, the right one does not. The box's
        # middle lies on the corner, in the location below to the right.
        (FIRST, [(0.25, 0.0, 0.75, 0.5)], 1, 0.5, 0.35, 0.25),
        # What two boxes cover counts once. Left half and the middle half of
        # the width: 0.4 + 0.2, and half of 0.3 + 0.1.
        (FIRST, [LEFT, (0.25, 0.0, 0.75, 1.0)], 1, 0.75, 0.8, 0.75),
        # A box without the middle of a location can be pointed at: a tenth by
        # a tenth in the first, off its middle: a hundredth of the image, 4 %
        # of the location.
        (FIRST, [(0.05, 0.05, 0.15, 0.15)], 1, 0.25, 0.4 * 0.04, 0.01),
        # Up to the edge is in the last location.
        ([[0.1, 0.2], [0.3, 0.4]], [CORNER], 1, 0.25, 0, 0),
        # Equal peaks share; uniform attention points no better than noise.
        (np.full((2, 2), 0.25), [LEFT], 0.5, 0.5, 0.5, 0.5),
        ([[0.4, 0.4], [0.1, 0.1]], [LEFT], 0.5, 0.5, 0.5, 0.5),
    ],
)
def test_figures(
    attention, boxes, accuracy, random_accuracy, mass, random_mass
):
    measured = figures(maps_of(attention), word(0, *boxes))
    values = 1, accuracy, random_accuracy, mass, random_mass, accuracy, mass
    expected = dict(zip(ALL, values, strict=True))
    assert measured == pytest.approx(expected, abs=1e-7)


def test_a_word_that_names_nothing_is_missed():
    measured = figures(maps_of(FIRST), word(0), word(0, LEFT))
    values = 2, 1 / 2, 1 / 4, 0.3, 1 / 4, 1 / 2, 0.3
    expected = dict(zip(ALL, values, strict=True))
    assert measured == pytest.approx(expected)
    empty = {"count": 0, **dict.fromkeys(ALL[1:])}
    assert figures(maps_of(FIRST)) == empty


def test_a_phrase_is_the_mean_of_its_words():
    # Of three words the second and third are the phrase, of the left half.
    maps = maps_of([[0, 0.5], [0, 0.5]], FIRST, [[0, 1], [0, 0]])
    measured = figures(maps, Phrase(1, 3, "people", (LEFT,)))
    # Peaks: left, right. Masses: 0.6 and 0. Mean map: left 0.2, right 0.8.
    values = 1, 1 / 2, 1 / 2, 0.3, 1 / 2, 0, 0.2
    assert measured == pytest.approx(dict(zip(ALL, values, strict=True)))


def test_intervals_are_of_resampled_captions():
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.7
    captions = [maps_of(FIRST)] * 400
    groundings = [[word(0, LEFT if hit else RIGHT)] for hit in hits]
    measured = measure_grounding(captions, groundings)
    low, high = measured["intervals"]["pointing_accuracy"]
    error = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 400)
    assert low == pytest.approx(hits.mean() - error, abs=0.01)
    assert high == pytest.approx(hits.mean() + error, abs=0.01)


def test_sums_are_of_the_captions_of_an_image():
    captions = [maps_of(FIRST, FIRST), maps_of(FIRST), maps_of(FIRST)]
    groundings = [[word(0, LEFT), word(1, RIGHT)], [word(0, LEFT)], []]
    measured = measure_words(captions, groundings)
    sums = measured.by_image([0, 0, 1], 2).sums
    # Words, hits and chances of the first image, which has all three words.
    np.testing.assert_allclose(
        sums.per_image[0], [3, 2, 1.5, 1.6, 1.5, 2, 1.6], atol=1e-6
    )
    assert not sums.per_image[1].any()
    assert sums.of_all()["pointing_accuracy"] == pytest.approx(2 / 3)


def test_the_map_of_each_word_and_of_a_grid_that_is_not_square():
    maps = np.zeros((2, 1, 4))
    maps[0, 0, 0] = maps[1, 0, 3] = 1
    at_right = (0.75, 0.0, 1.0, 1.0)
    measured = [figures(maps_of(*maps), word(n, at_right)) for n in (0, 1)]
    assert [m["pointing_accuracy"] for m in measured] == [0, 1]
    assert [m["attention_mass"] for m in measured] == [0, 1]
    assert measured[0]["pointing_chance"] == 0.25


def test_classes_apart_and_together():
    captions = [maps_of(FIRST), maps_of(FIRST, FIRST)]
    groundings = [
        [word(0, LEFT, kind="animals")],
        [word(0, RIGHT, kind="people"), word(1, LEFT, kind="people")],
    ]
    measured = measure_grounding(captions, groundings)
    assert measured["count"] == 3
    assert measured["pointing_accuracy"] == pytest.approx(2 / 3)
    assert measured["attention_mass"] == pytest.approx((0.6 + 0.4 + 0.6) / 3)
    by_class = measured["by_word_class"]
    assert list(by_class) == ["people", "animals"]
    assert by_class["people"]["pointing_accuracy"] == 0.5
    assert by_class["animals"]["count"] == 1
    assert by_class["animals"]["attention_mass"] == pytest.approx(0.6)


def test_what_cannot_be_measured():
    with pytest.raises(ValueError, match=r"Received: shape=\(1, 4\)"):
        measure_grounding([np.ones((1, 4))], [[word(0, LEFT)]])
    with pytest.raises(ValueError):
        measure_grounding([maps_of(FIRST)] * 2, [[]])


def test_coverage_of_random_boxes_against_fine_sampling():
    # Boxes on a raster of 1/420, which has every edge of a 14x12 grid too, so
    # that counting its cells is exact.
    rng = np.random.default_rng(0)
    cells = np.zeros((420, 420), bool)
    boxes = []
    for _ in range(6):
        left, right = np.sort(rng.choice(421, 2, replace=False))
        top, bottom = np.sort(rng.choice(421, 2, replace=False))
        cells[top:bottom, left:right] = True
        boxes.append((left / 420, top / 420, right / 420, bottom / 420))
    expected = cells.reshape(14, 30, 12, 35).mean((1, 3))
    np.testing.assert_allclose(coverage(boxes, (14, 12)), expected, atol=1e-9)
    assert not coverage([], (3, 2)).any()


def test_attention_that_stays_and_attention_that_moves():
    corner = [[1.0, 0.0], [0.0, 0.0]]
    other = [[0.0, 0.0], [0.0, 1.0]]
    halves = [[0.5, 0.0], [0.0, 0.5]]
    assert attention_change([maps_of(FIRST, FIRST, FIRST)]) == 0
    assert attention_change([maps_of(corner, other)]) == pytest.approx(1)
    # Three pairs of neighbours: 1/2, 1/2, and in the other caption 0.
    both = [maps_of(corner, halves, other), maps_of(FIRST, FIRST)]
    assert attention_change(both) == pytest.approx(1 / 3)
    assert attention_change([maps_of(FIRST)]) is None
