"""Grounded captions: whether the right words have the right boxes.

F1_all and F1_loc of Zhou et al., "Grounded Video Description", 2019, section
4.3, as their released evaluation counts on Flickr30k Entities, but that a
class is a word as it is spelled, not its lemma.
"""

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pipelines.sources.scenes.grammar import Box

_LEAST_OVERLAP = 0.5
_MOST_CLASSES = 480  # As many as Zhou et al. have.


@dataclasses.dataclass(frozen=True)
class GroundedReference:
    """A reference caption: the box of each object that it names, by its word.

    Several boxes of one phrase are enclosed by one. `others` are its other
    words.
    """

    objects: Mapping[str, Box]
    others: frozenset[str]


def grounded_f1(
    predictions: Sequence[Sequence[tuple[str, Box]]],
    references: Sequence[Sequence[GroundedReference]],
    classes: Collection[str],
) -> dict[str, float | None]:
    """Measures the boxes of the object words of generated captions.

    A word is right if a reference has it as an object whose box overlaps its
    own by more than a half (intersection over union). Each caption is compared
    with each reference of its image: words that the reference has without a
    box do not count, others that it lacks are wrong, its objects that the
    caption lacks are missed. Precision and recall are means over all
    classes. `_loc` counts only words that both have.

    Args:
        predictions: Of each image the object words of its caption, and the
            box of each.
        references: Of each image its references.
        classes: The words that are classes.

    Returns:
        `F1_all`, `F1_loc`, and the precision and the recall of each; None
        where there are no classes.
    """
    right = {
        name: collections.defaultdict(list) for name in ("precision", "recall")
    }
    missing = {name: collections.Counter() for name in right}
    for predicted, each in zip(predictions, references, strict=True):
        boxes = dict(reversed(predicted))  # The first of each word.
        for reference in each:
            for name, box in predicted:
                if name in reference.objects:
                    hit = overlap(box, reference.objects[name])
                    right["precision"][name].append(hit > _LEAST_OVERLAP)
                elif name not in reference.others:
                    missing["precision"][name] += 1
            for name, box in reference.objects.items():
                if name in boxes:
                    hit = overlap(boxes[name], box)
                    right["recall"][name].append(hit > _LEAST_OVERLAP)
                else:
                    missing["recall"][name] += 1
    if not classes:
        names = ("F1", "precision", "recall")
        return {f"{n}_{mode}": None for mode in ("all", "loc") for n in names}
    scores = {}
    for mode in ("all", "loc"):
        for name, hits in right.items():
            counts = missing[name] if mode == "all" else {}
            shares = [
                sum(hits.get(c, ()))
                / max(len(hits.get(c, ())) + counts.get(c, 0), 1)
                for c in classes
            ]
            scores[f"{name}_{mode}"] = float(np.mean(shares))
        both = scores[f"precision_{mode}"], scores[f"recall_{mode}"]
        scores[f"F1_{mode}"] = 2 * np.prod(both) / max(sum(both), 1e-12)
    return {name: float(score) for name, score in sorted(scores.items())}


def object_classes(
    references: Sequence[Sequence[GroundedReference]],
) -> set[str]:
    """Returns the words that most references name an object by."""
    counts = collections.Counter(
        name for each in references for r in each for name in sorted(r.objects)
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
