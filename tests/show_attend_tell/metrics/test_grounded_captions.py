"""F1 of grounded captions, worked by hand."""

import pytest

from show_attend_tell.metrics.grounded_captions import (
    GroundedReference,
    box_accuracy,
    enclosing,
    grounded_f1,
    object_classes,
    overlap,
)

BOX = (0.0, 0.0, 0.5, 0.5)
NEAR = (0.0, 0.0, 0.5, 0.4)  # Overlaps BOX by 0.8.
FAR = (0.5, 0.5, 1.0, 1.0)


def reference(objects, *others):
    return GroundedReference(tuple(objects.items()), frozenset(others))


def test_overlap_by_hand():
    assert overlap(BOX, NEAR) == pytest.approx(0.8)
    assert overlap(BOX, FAR) == 0
    # A quarter of each: 1 / 7 of their union.
    assert overlap(BOX, (0.25, 0.25, 0.75, 0.75)) == pytest.approx(1 / 7)
    assert enclosing([BOX, FAR]) == (0.0, 0.0, 1.0, 1.0)


def test_f1_by_hand():
    predictions = [
        [("man", NEAR), ("dog", FAR), ("cat", FAR)],
        [("dog", BOX)],
    ]
    references = [
        [
            reference({"man": BOX, "ball": FAR}, "dog"),
            reference({"man": FAR, "dog": FAR}),
        ],
        [reference({"ball": BOX})],
    ]
    # Precision. man: right, wrong. dog: does not count, right, invented.
    # cat: invented twice, of no class. ball: never said.
    # Recall. man: right, wrong. dog: right. ball: missed twice.
    classes = object_classes(references)
    assert classes == {"man", "ball", "dog"}
    scores = grounded_f1(predictions, references, classes).of_all()
    precision, recall = (1 / 2 + 1 / 2 + 0) / 3, (1 / 2 + 1 + 0) / 3
    assert scores["precision_all"] == pytest.approx(precision)
    assert scores["recall_all"] == pytest.approx(recall)
    f1 = 2 * precision * recall / (precision + recall)
    assert scores["F1_all"] == pytest.approx(f1)
    # Of words that both have: man 1/2, dog 1, both ways.
    assert scores["precision_loc"] == scores["recall_loc"] == pytest.approx(0.5)
    assert scores["F1_loc"] == pytest.approx(0.5)


def test_a_word_that_comes_twice_is_compared_with_the_first():
    predictions = [[("dog", FAR), ("dog", BOX)]]
    objects = ("dog", BOX), ("dog", FAR), ("dog", NEAR)
    references = [[GroundedReference(objects, frozenset())]]
    scores = grounded_f1(predictions, references, {"dog"}).of_all()
    # Of both words the box is compared with the reference's first, BOX; of
    # the three objects the box with the caption's first, FAR.
    assert scores["precision_all"] == pytest.approx(1 / 2)
    assert scores["recall_all"] == pytest.approx(1 / 3)


def test_box_accuracy_by_hand():
    pairs = [[(BOX, NEAR), (BOX, FAR)], [], [(FAR, FAR)]]
    assert box_accuracy(pairs).of_all() == {"box_accuracy": 2 / 3}
    assert box_accuracy([[]]).of_all() == {"box_accuracy": None}


def test_nothing_to_measure():
    measured = grounded_f1([[("man", BOX)]], [[]], object_classes([[]]))
    assert set(measured.of_all().values()) == {None}
