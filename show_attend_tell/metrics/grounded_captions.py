"""Grounded captions: whether the right words have the right boxes.

F1_all and F1_loc of Zhou et al., "Grounded Video Description", 2019, section
4.3, as their released evaluation counts on Flickr30k Entities, but that a
class is a word as it is spelled, not its lemma.
"""

import collections
import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from pipelines.sources.scenes.grammar import Box
from show_attend_tell.metrics.bootstrap import Sums

_LEAST_OVERLAP = 0.5
_MOST_CLASSES = 480  # As many as Zhou et al. have.


@dataclasses.dataclass(frozen=True)
class GroundedReference:
    """A reference caption: each object that it names, by its word, and its box.

    Several boxes of one phrase are enclosed by one. `others` are its other
    words.
    """

    objects: tuple[tuple[str, Box], ...]
    others: frozenset[str]


def grounded_f1(
    predictions: Sequence[Sequence[tuple[str, Box]]],
    references: Sequence[Sequence[GroundedReference]],
    classes: Collection[str],
) -> Sums:
    """Measures the boxes of the object words of generated captions.

    A word is right if a reference has it as an object whose box overlaps its
    own by more than a half (intersection over union). Each caption is compared
    with each reference of its image: words that the reference has without a
    box do not count, others that it lacks are wrong, its objects that the
    caption lacks are missed. Where one has a word twice, the other's is
    compared with the first. Precision and recall are means over all classes.
    `_loc` counts only words that both have.

    Args:
        predictions: Of each image the object words of its caption, and the
            box of each.
        references: Of each image its references.
        classes: The words that are classes.

    Returns:
        `F1_all`, `F1_loc`, and the precision and the recall of each;
        undefined where there are no classes.
    """
    number = {name: n for n, name in enumerate(sorted(classes))}
    # Of each image and class, for precision and for recall: how many words are
    # right, how many both have, and how many count.
    counts = np.zeros((len(references), len(number), 2, 3))
    for image, predicted, each in zip(
        counts, predictions, references, strict=True
    ):
        predicted = [pair for pair in predicted if pair[0] in number]
        for reference in each:
            objects = [pair for pair in reference.objects if pair[0] in number]
            for name, box in predicted:
                if name not in reference.others or name in dict(objects):
                    image[number[name], 0] += _match(name, box, objects)
            for name, box in objects:
                image[number[name], 1] += _match(name, box, predicted)
    no_classes = "no reference names a thing that has a box"
    undefined = () if number else _figures(np.zeros((1, 2, 3)))
    return Sums(
        counts.reshape(len(counts), -1),
        lambda sums: _figures(sums.reshape(*sums.shape[:-1], -1, 2, 3)),
        dict.fromkeys(undefined, no_classes),
        is_biased=True,
    )


def _match(
    name: str, box: Box, others: Sequence[tuple[str, Box]]
) -> tuple[bool, bool, bool]:
    """Returns what a word counts as: right, of both, and of all."""
    same = next((other for word, other in others if word == name), None)
    right = same is not None and overlap(box, same) > _LEAST_OVERLAP
    return right, same is not None, True


def _figures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the scores of counts `(..., classes, 2, 3)`."""
    right, both, every = np.moveaxis(counts, -1, 0)
    # Resampled images may have no reference that names some class.
    classes = np.maximum((every[..., 1] > 0).sum(axis=-1, keepdims=True), 1)
    scores = {}
    for mode, counted in ("all", every), ("loc", both):
        shares = (right / np.maximum(counted, 1)).sum(axis=-2)
        precision, recall = np.moveaxis(shares / classes, -1, 0)
        total = np.maximum(precision + recall, 1e-12)
        scores[f"F1_{mode}"] = 2 * precision * recall / total
        scores[f"precision_{mode}"] = precision
        scores[f"recall_{mode}"] = recall
    return scores


def box_accuracy(
    pairs: Sequence[Sequence[tuple[Box, Box]]], name: str = "box_accuracy"
) -> Sums:
    """Returns the share of boxes that overlap the right ones by more than half.

    Args:
        pairs: Of each image the box of each word that names something boxed,
            and the right one.
        name: Of the score.
    """
    counts = np.array(
        [
            (len(each), sum(overlap(*pair) > _LEAST_OVERLAP for pair in each))
            for each in pairs
        ],
        float,
    )
    undefined = "no word names a thing that has a box"
    return Sums(
        counts,
        lambda sums: {name: sums[..., 1] / np.maximum(sums[..., 0], 1)},
        {} if counts[:, 0].any() else {name: undefined},
    )


def object_classes(
    references: Sequence[Sequence[GroundedReference]],
) -> set[str]:
    """Returns the words that most references name an object by."""
    counts = collections.Counter(
        name
        for each in references
        for reference in each
        for name in sorted(dict(reference.objects))
    )
    return {name for name, _ in counts.most_common(_MOST_CLASSES)}


def overlap(one: Box, other: Box) -> float:
    """Returns the intersection of two boxes over their union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / (_area(one) + _area(other) - both)


def enclosing(boxes: Sequence[Box]) -> Box:
    """Returns the smallest box around several."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
