"""Which references belong to which prediction.

Results name images by number, file name, or what is left of a file name.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from pipelines.errors import UserError
from show_attend_tell.metrics.prediction_files import checked_caption
from show_attend_tell.metrics.reference_files import (
    FILE_NAME,
    ID,
    POSITION,
    ReferenceImage,
    References,
)

_ENDING = re.compile(r"\.(jpe?g|png|webp|gif|bmp)$", re.IGNORECASE)
_NUMBER = re.compile(r"(?:COCO_[A-Za-z0-9]+_)?0*([0-9]+)")


@dataclasses.dataclass(frozen=True)
class Paired:
    """Predictions with their references, in the order of the predictions.

    Attributes:
        ids: The images, as the references name them.
        candidates: The caption predicted for each.
        references: All references of each.
        matched_by: How names were compared.
        unpredicted: How many images with references have no prediction.
        warnings: What a reader of the scores must know.
    """

    ids: tuple[int | str, ...]
    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    matched_by: str
    unpredicted: int
    warnings: tuple[str, ...]


def _exact(name: int | str) -> str:
    return str(name)


def _stem(name: int | str) -> str:
    """`"val2014/a.jpg"` and `"a"` are the same."""
    file = str(name).replace("\\", "/").rpartition("/")[2]
    return _ENDING.sub("", file)


def _number(name: int | str) -> str | None:
    """`"COCO_val2014_000000000042.jpg"` and `42` are the same."""
    found = _NUMBER.fullmatch(_stem(name))
    return found and found[1]


@dataclasses.dataclass(frozen=True)
class _Way:
    """A way to compare names."""

    told: str
    field: str
    form: Callable[[int | str], str | None]

    def table(self, images: Sequence[ReferenceImage]) -> dict[str, int]:
        """Returns the image of each name that only one image has."""
        positions = collections.defaultdict(list)
        for place, image in enumerate(images):
            name = image.names.get(self.field)
            form = None if name is None else self.form(name)
            if form is not None:
                positions[form].append(place)
        return {
            k: found[0] for k, found in positions.items() if len(found) == 1
        }


# In this order; the first that finds every predicted image is taken for all,
# so that no file is matched half by one way and half by another.
_WAYS = (
    _Way("id", ID, _exact),
    _Way("file name", FILE_NAME, _exact),
    _Way("file name without folder and ending", FILE_NAME, _stem),
    _Way("imgid", POSITION, _exact),
    _Way("number in the id", ID, _number),
    _Way("number in the file name", FILE_NAME, _number),
)


def pair(
    predictions: Mapping[int | str, str], path: str, references: References
) -> Paired:
    """Finds the references of each predicted image.

    Names are compared in one way for the whole file, the first that finds
    every image: by id (COCO's `id`, Karpathy's `cocoid`), by file name, by
    file name without folder and ending, by Karpathy's `imgid`, by the number
    in an id or in a file name such as `COCO_val2014_000000000042.jpg`. A
    name that two images share finds neither.

    Args:
        predictions: The caption of each image.
        path: The file that they are from, for messages.
        references: Of these and perhaps other images.

    Raises:
        UserError: An image has no reference, two predictions are of the same
            image, or a reference cannot be used; the message names the entry.
    """
    way, positions = _positions(predictions, path, references)
    images = [references.images[place] for place in positions]
    return Paired(
        tuple(image.name for image in images),
        tuple(predictions.values()),
        tuple(_checked(image, references.path) for image in images),
        way.told,
        sum(bool(i.captions) for i in references.images) - len(images),
        tuple(_incomplete(images, references)),
    )


def _positions(predictions, path, references) -> tuple[_Way, list[int]]:
    """Returns the place of each predicted image among the references."""
    ids, best = list(predictions), None
    for way in _WAYS:
        table = way.table(references.images)
        positions = [table.get(way.form(id)) for id in ids]
        missing = positions.count(None)
        if not missing:
            _check_once(ids, positions, path)
            return way, positions
        if best is None or missing < best[0]:
            best = missing, way, positions.index(None)
    missing, way, number = best
    split = f" in the split {references.split}" if references.split else ""
    raise UserError(
        f"Expected references of every predicted image in {references.path}"
        f"{split}. Received: none, or those of several images, for "
        f"{path}[{number}] (image_id {ids[number]!r}), the first of {missing} "
        f"of {len(ids)}, comparing by {way.told}"
    )


def _check_once(ids, positions, path):
    first = {}
    for number, place in enumerate(positions):
        before = first.setdefault(place, number)
        if before != number:
            raise UserError(
                f"Expected one caption for each image. Received: {path}"
                f"[{number}] (image_id {ids[number]!r}) is the image of "
                f"[{before}] (image_id {ids[before]!r})"
            )


def _checked(image: ReferenceImage, path: str) -> tuple[str, ...]:
    if not image.captions:
        raise UserError(
            f"Expected a reference or more of the image {image.name!r} in "
            f"{path}. Received: none"
        )
    return tuple(checked_caption(text, where) for where, text in image.captions)


def _incomplete(images, references):
    """Yields a warning for each split that is predicted in part."""
    all_of = collections.Counter(i.split for i in references.images)
    for split, count in collections.Counter(i.split for i in images).items():
        if split is not None and count < all_of[split]:
            yield (
                f"{count} of the {all_of[split]} images of the split {split} "
                "have predictions; scores of a part are not those of the split"
            )
