"""Which references belong to which prediction.

Results name images by number, file name, or what is left of a file name.
"""

import collections
import dataclasses
import posixpath
import re
from collections.abc import Mapping

from pipelines.errors import UserError
from pipelines.images.formats import ENDINGS
from pipelines.sources.image_folder import canonical_name
from show_attend_tell.metrics.reference_files import (
    FILE_NAME,
    ID,
    POSITION,
    References,
)

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
        warnings: What limits the scores.
    """

    ids: tuple[int | str, ...]
    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    matched_by: str
    unpredicted: int
    warnings: tuple[str, ...]


def _path(name: int | str) -> str:
    r"""`"./a\b.jpg"` and `"a/b.jpg"` are the same."""
    return canonical_name(str(name))


def _stem(name: int | str) -> str:
    """`"val2014/a.jpg"` and `"a"` are the same."""
    file = posixpath.basename(_path(name))
    stem, ending = posixpath.splitext(file)
    return stem if ending.lower() in ENDINGS else file


def _loose(name: int | str) -> str:
    """`"val2014/A.JPG"` and `"a.jpg"` are the same."""
    return _stem(name).casefold()


def _number(name: int | str) -> str | None:
    """`"COCO_val2014_000000000042.jpg"` and `42` are the same."""
    match = _NUMBER.fullmatch(_stem(name))
    return match and match[1]


# How names are compared, in this order; the first way that finds every
# predicted image is taken for all, so that no file is matched half by one way
# and half by another. Each has the field and the form of it to compare.
_WAYS = {
    "id": (ID, str),
    "file name": (FILE_NAME, _path),
    "file name without folder and ending": (FILE_NAME, _stem),
    "imgid": (POSITION, str),
    "number in the id": (ID, _number),
    "number in the file name": (FILE_NAME, _number),
    "file name without folder, ending and case": (FILE_NAME, _loose),
}


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

    Images of which the references name no captions are left out, with a
    warning.

    Raises:
        UserError: The references do not name an image, two predictions are of
            the same image; the message names the entry. No image is left.
    """
    way, indices = _match(predictions, path, references)
    pairs = [
        (references.images[index], caption)
        for index, caption in zip(indices, predictions.values(), strict=True)
    ]
    images = [image for image, _ in pairs if image.captions]
    without = [image.name for image, _ in pairs if not image.captions]
    if not images:
        raise UserError(
            f"Expected references of predicted images in {references.path}. "
            f"Received: none for {path}, such as for {without[0]!r}"
        )
    warnings = [*_incomplete(images, references)]
    if without:
        warnings.append(
            f"{len(without)} predicted images are left out, which have no "
            f"references, or only ones without words, such as {without[0]!r}"
        )
    return Paired(
        tuple(image.name for image in images),
        tuple(caption for image, caption in pairs if image.captions),
        tuple(image.captions for image in images),
        way,
        sum(bool(i.captions) for i in references.images) - len(images),
        tuple(warnings),
    )


def _match(predictions, path, references) -> tuple[str, list[int]]:
    """Returns the way, and the index of each prediction's references."""
    ids, best = list(predictions), None
    for way, (field, form) in _WAYS.items():
        table = _table(references.images, field, form)
        indices = [table.get(form(id)) for id in ids]
        missing = indices.count(None)
        if not missing:
            _check_once(ids, indices, path)
            return way, indices
        if best is None or missing < best[0]:
            best = missing, way, indices.index(None)
    missing, way, number = best
    split = f" in the split {references.split}" if references.split else ""
    raise UserError(
        f"Expected references of every predicted image in {references.path}"
        f"{split}. Received: none, or those of several images, for "
        f"{path}[{number}] (image_id {ids[number]!r}), the first of {missing} "
        f"of {len(ids)}, comparing by {way}"
    )


def _table(images, field, form) -> dict[str, int]:
    """Returns the image of each name that only one image has."""
    indices = collections.defaultdict(list)
    for index, image in enumerate(images):
        if field in image.names:
            indices[form(image.names[field])].append(index)
    indices.pop(None, None)
    return {name: all_[0] for name, all_ in indices.items() if len(all_) == 1}


def _check_once(ids, indices, path):
    first = {}
    for number, index in enumerate(indices):
        before = first.setdefault(index, number)
        if before != number:
            raise UserError(
                f"Expected one caption for each image. Received: {path}"
                f"[{number}] (image_id {ids[number]!r}) is the image of "
                f"[{before}] (image_id {ids[before]!r})"
            )


def _incomplete(images, references):
    """Yields a warning for each split that is predicted in part."""
    all_of = collections.Counter(
        i.split for i in references.images if i.captions
    )
    for split, count in collections.Counter(i.split for i in images).items():
        if split is not None and count < all_of[split]:
            yield (
                f"{count} of the {all_of[split]} images of the split {split} "
                "have predictions; scores of a part are not those of the split"
            )
