"""Splits of images that were given none."""

import dataclasses
import hashlib
import unicodedata
from collections.abc import Sequence

from pipelines.captions import CaptionedImage

_TRAIN, _VALIDATION = 0.90, 0.95


def hashed_split(id: str) -> str:
    """Returns the split of a file name that was given none.

    The first eight bytes of its SHA-256, as a number in [0, 1), are below 0.90
    for `"train"`, below 0.95 for `"validation"`, or else it is `"test"`.
    """
    number = _number(id)
    if number < _TRAIN:
        return "train"
    return "validation" if number < _VALIDATION else "test"


def with_hashed_splits(
    images: Sequence[CaptionedImage],
) -> tuple[list[CaptionedImage], list[CaptionedImage]]:
    """Gives every image without a split one, and returns those moved, too.

    A few images may all fall into one split. Training needs two: where none
    is for training, that with the smallest number is; where none is for
    validation, that whose number is nearest to those of validation. In a set
    of some hundred images none is moved, and an image stays where it is when
    others are added.
    """
    splits = {i.id: i.split or hashed_split(i.id) for i in images}
    moved = {}
    if any(image.split is None for image in images) and len(images) > 1:
        ids = sorted(splits, key=_number)
        if "train" not in splits.values():
            moved[ids[0]] = "train"
        if "validation" not in splits.values():
            nearest = min(ids[1:], key=_distance)
            moved[nearest] = "validation"
    given = [
        dataclasses.replace(i, split=moved.get(i.id, splits[i.id]))
        for i in images
    ]
    return given, [image for image in given if image.id in moved]


def _distance(id):
    number = _number(id)
    return max(_TRAIN - number, number - _VALIDATION)


def _number(id):
    name = unicodedata.normalize("NFC", id)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
