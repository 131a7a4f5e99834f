"""COCO's instances: boxes of eighty categories of things.

The form of `annotations/instances_val2014.json`, less what is not used:

    {"images": [{"id": 9, "file_name": "COCO_val2014_000000000009.jpg",
                 "width": 640, "height": 480}],
     "annotations": [{"image_id": 9, "category_id": 18,
                      "bbox": [1.1, 187.7, 611.6, 285.8]}],
     "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}]}

A box is left, top, width and height in pixels. It may reach out of the photo
by a fraction of a pixel and is then cut; the few without width or height are
left out. Boxes of crowds (`iscrowd`) count, since the word is right there.
"""

import functools
import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence

from pipelines.boxes.coco_words import find_names, lexicon
from pipelines.boxes.photo_boxes import Box, BoxesByName, NamedBoxes, cut_box
from pipelines.errors import UserError
from pipelines.sources.annotation_files import read_json_records
from pipelines.words import words_of

_FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name", "supercategory"),
}
_MAX_PIXELS = 10**6
_MAX_ID = 2**63
_MAX_RECORDS = 2_000_000  # that are kept; COCO has 900,000 boxes


def instance_files(path: str) -> list[str]:
    """Returns the `instances_*.json` at or below a path, the smallest first."""
    if os.path.isfile(path):
        return [path]
    folder = glob.escape(path)
    files = [
        file
        for pattern in ("instances_*.json", "annotations/instances_*.json")
        for file in glob.glob(os.path.join(folder, pattern))
    ]
    return sorted(files, key=lambda file: (os.path.getsize(file), file))


def load_instances(
    files: Sequence[str], ids: Iterable[str]
) -> tuple[dict[str, BoxesByName], Callable]:
    """Loads the boxes of photos, and the function that names their categories.

    Files are read record by record, until all photos were found. What is
    kept are the boxes of these photos; where a file has its annotations
    before its images, the numbers of all boxes. In file names, `COCO_val2014_`
    and the like do not count: COCO 2014 and 2017 have the same photos.
    """
    wanted = {_file_name(id): id for id in ids}
    photos, categories = {}, {}
    for path in files:
        file = _InstanceFile(path, wanted)
        photos.update(file.photos())
        categories.update(file.categories)
        wanted = {name: id for name, id in wanted.items() if id not in photos}
        if not wanted:
            break
    names = [name for name, _ in categories.values()]
    return photos, functools.partial(find_names, lexicon(names))


def _file_name(name: str) -> str:
    """A photo's name in every year of COCO."""
    return re.sub(r"^COCO_[a-z]+\d{4}_", "", os.path.basename(name))


class _InstanceFile:
    """The records of one file that belong to the photos wanted."""

    def __init__(self, path, wanted):
        self._path, self._wanted = path, wanted
        self.categories = {}  # number -> name, supercategory
        self._images = {}  # number -> id, width, height
        self._boxes = []  # index in the file, image, category, box
        self._read()

    def photos(self) -> dict[str, BoxesByName]:
        """Returns the boxes of each photo by category."""
        boxes_of = {id: {} for id, _, _ in self._images.values()}
        for number, image, category, bbox in self._boxes:
            if image not in self._images:
                continue
            where = f"{self._path} annotations[{number}]"
            if category not in self.categories:
                raise UserError(
                    f"Expected the number of a category in {where}. "
                    f"Received: category_id={category!r:.100}"
                )
            id, width, height = self._images[image]
            box = _fractions(bbox, width, height, where)
            if box is not None:
                name = self.categories[category]
                boxes_of[id].setdefault(name, []).append(box)
        photos = {id: {} for id in boxes_of}
        for id, photo in boxes_of.items():
            for (name, kind), boxes in photo.items():
                photos[id][name] = NamedBoxes(kind, tuple(boxes))
        return photos

    def _read(self):
        listed, seen = False, set()
        for name, number, record in read_json_records(self._path, _FIELDS):
            where = f"{self._path} {name}[{number}]"
            if not isinstance(record, dict):
                raise UserError(
                    f"Expected an object in {where}. Received: {record!r:.100}"
                )
            seen.add(name)
            match name:
                case "images":
                    listed = True
                    self._add_image(record, where)
                case "categories":
                    self._add_category(record, where)
                case "annotations":
                    if listed and not self._images:
                        return  # None of the photos is in this file.
                    self._add_box(record, number, where, listed)
            if len(self._boxes) + len(self.categories) > _MAX_RECORDS:
                raise UserError(
                    f"Expected at most {_MAX_RECORDS} boxes of the photos "
                    f"in {self._path}; split the file."
                )
        if not {"images", "categories"} <= seen:
            raise UserError(
                'Expected {"images": [...], "annotations": [...], '
                f'"categories": [...]}} in {self._path}, as COCO\'s '
                "instances_val2014.json; name it with --boxes=FILE. "
                f"Received: {sorted(seen)}"
            )

    def _add_image(self, record, where):
        name = record.get("file_name")
        id = self._wanted.get(_file_name(name)) if type(name) is str else None
        if id is None:
            return
        number = _integer(record, "id", where)
        sides = [_integer(record, side, where) for side in ("width", "height")]
        if not all(0 < side <= _MAX_PIXELS for side in sides):
            raise UserError(
                f"Expected the size of the photo in {where}. Received: "
                f"width={sides[0]}, height={sides[1]}"
            )
        self._images[number] = id, *sides

    def _add_category(self, record, where):
        number, name = _integer(record, "id", where), record.get("name")
        words = words_of(name) if type(name) is str else ()
        if not words:
            raise UserError(
                f"Expected the name of a category in {where}. Received: "
                f"name={name!r:.100}"
            )
        kind = record.get("supercategory")
        name = " ".join(words)
        self.categories[number] = name, kind if type(kind) is str else name

    def _add_box(self, record, number, where, listed):
        image = _integer(record, "image_id", where)
        if not listed or image in self._images:
            category = _integer(record, "category_id", where)
            self._boxes.append((number, image, category, record.get("bbox")))


def _integer(record, name, where) -> int:
    value = record.get(name)
    if type(value) is not int or abs(value) > _MAX_ID:
        raise UserError(
            f"Expected a whole number as {name} in {where}. Received: "
            f"{value!r:.100}"
        )
    return value


def _fractions(bbox, width, height, where) -> Box | None:
    """Returns a box as fractions of the photo; `None` if it has no area."""
    if (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(type(v) in (int, float) and abs(v) <= _MAX_PIXELS for v in bbox)
    ):
        left, top, wide, high = bbox
        if wide == 0 or high == 0:
            return None
        right, bottom = left + wide, top + high
        edges = left / width, top / height, right / width, bottom / height
        box = cut_box(edges)
        if wide > 0 and high > 0 and box is not None:
            return box
    raise UserError(
        f"Expected left, top, width and height of a box inside the photo of "
        f"{width} x {height} in {where}. Received: bbox={bbox!r:.200}"
    )
