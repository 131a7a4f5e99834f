"""Boxes of the things in photos, which words of captions name."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

from pipelines.boxes.coco_instances import instance_files, load_instances
from pipelines.boxes.flickr30k_entities import is_entities, load_entities
from pipelines.boxes.photo_boxes import (
    Box,
    BoxesByName,
    NamedBoxes,
    PhotoBoxes,
    Phrase,
    fit_box,
)
from pipelines.captions import CaptionedImage
from pipelines.errors import UserError
from pipelines.images.decoding import decode_image

# COCO has at most about a hundred things in a photo.
_MAX_BOXES = 1000


def load_boxes(
    path: str, images: Sequence[CaptionedImage], size: int, resize_mode: str
) -> PhotoBoxes:
    """Loads the boxes of photos, as the network sees the photos.

    `path` is a folder with Flickr30k Entities, or a folder or file of COCO's
    instances; `size` is the side of the network's square in pixels. With the
    resize_mode `"crop"` each photo that has boxes is decoded once, because
    what is cut off depends on its true shape.
    """
    path = os.path.expanduser(path)
    ids = [image.id for image in images]
    marked = None
    if is_entities(path):
        # Every word is a name; the photos know which ones they have.
        photos, marked = load_entities(path, ids)
        find_names = enumerate
    elif files := instance_files(path):
        photos, find_names = load_instances(files, ids)
    else:
        raise UserError(
            "Expected Flickr30k Entities (a folder with Annotations/ and "
            "Sentences/) or COCO's boxes (annotations/instances_*.json); "
            f"name the folder with --boxes=FOLDER. Received: boxes={path!r}"
        )
    if not photos:
        raise UserError(
            f"Expected boxes of the photos in {path!r}, which has none of "
            f"these. Received: {len(ids)} photos, the first ones {ids[:3]}"
        )
    for id, photo in photos.items():
        count = max((len(things.boxes) for things in photo.values()), default=0)
        if count > _MAX_BOXES:
            raise UserError(
                f"Expected for {id} at most {_MAX_BOXES} boxes of one name "
                f"in {path!r}. Received: {count}"
            )
    fitted, fitted_marked = {}, None if marked is None else {}
    for image in images:
        if image.id in photos:
            shape = _shape(image, resize_mode)
            fit = functools.partial(
                fit_box, shape=shape, size=size, resize_mode=resize_mode
            )
            fitted[image.id] = _fit(photos[image.id], fit)
            if marked is not None:
                fitted_marked[image.id] = {
                    words: _fit_phrases(phrases, fit)
                    for words, phrases in marked[image.id].items()
                }
    return PhotoBoxes(fitted, find_names, fitted_marked)


def _shape(image: CaptionedImage, resize_mode: str) -> tuple[int, int]:
    if resize_mode == "squash":  # All shapes become the same square.
        return 1, 1
    try:
        return decode_image(image.read(), image.id).shape[:2]
    except OSError as error:
        raise UserError(f"cannot read the photo {image.id}: {error}") from error


def _fit(photo: BoxesByName, fit: Callable) -> BoxesByName:
    """Maps a photo's boxes to the square; names outside it are left out."""
    fitted = {}
    for name, things in photo.items():
        if boxes := _fit_boxes(things.boxes, fit):
            fitted[name] = NamedBoxes(things.kind, boxes)
    return fitted


def _fit_phrases(
    phrases: Sequence[Phrase], fit: Callable
) -> tuple[Phrase, ...]:
    """Maps the boxes of phrases; phrases outside the square are left out."""
    return tuple(
        dataclasses.replace(phrase, boxes=boxes)
        for phrase in phrases
        if (boxes := _fit_boxes(phrase.boxes, fit))
    )


def _fit_boxes(boxes: Sequence[Box], fit: Callable) -> tuple[Box, ...]:
    return tuple(box for box in map(fit, boxes) if box is not None)
