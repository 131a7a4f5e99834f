"""COCO's caption annotations with a folder of images.

The form of `annotations/captions_train2014.json`, less what is not used:

    {"images": [{"id": 9, "file_name": "000000000009.jpg"}],
     "annotations": [{"image_id": 9, "caption": "A dog runs."}]}

The folder holds such a file for train and for val, and the images of each.
"""

import os

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.annotation_files import read_json
from pipelines.sources.gathering import Gathering, canonical_split
from pipelines.sources.image_folder import (
    ImageFolder,
    check_data_dir,
    first_existing,
)

_YEARS = (2014, 2017)
_EXPECTED = (
    "annotations/captions_train2014.json and captions_val2014.json (or 2017) "
    "and the images in train2014/ and val2014/, or all in images/ "
    "(https://cocodataset.org/#download)"
)


def load_coco(
    data_dir: str | None,
    captions: str | None = None,
    split: str = "train",
    year: int | None = None,
) -> Source:
    """Loads COCO, or one JSON file of its form.

    Args:
        data_dir: Folder with `annotations/captions_{train,val}{year}.json`
            and the images in `{train,val}{year}/`, there or in `images/`, or
            all in `images/`. With `captions`, the image folder.
        captions: One JSON file, in place of those in `data_dir`.
        split: The split of the images in `captions`.
        year: 2014 or 2017. By default the one that is there; if both are,
            2014, on which the paper and Karpathy's splits are based.

    Returns:
        The images in the order of the files; the id is the file name.

    Raises:
        UserError: A file is missing or not of this form, or too much is
            doubtful.
    """
    if captions is not None:
        check_data_dir(data_dir, f"the images that {captions} names")
        named = canonical_split(split)
        if named is None:
            raise UserError(
                f"Expected a split such as train. Received: split={split!r}"
            )
        files = [(named, captions, data_dir)]
    else:
        check_data_dir(data_dir, _EXPECTED)
        files = _official_files(data_dir, year)
    gathering = Gathering("coco", f"Complete {data_dir!r} with {_EXPECTED}.")
    for named, path, folder in files:
        _add_file(gathering, path, named, ImageFolder(folder))
    if captions is None and len(files) == 1:
        gathering.note(os.path.basename(files[0][1]), "the only split here")
    return gathering.source()


def _official_files(data_dir, year):
    for candidate in _YEARS if year is None else (year,):
        files = []
        for part in ("train", "val"):
            name = f"captions_{part}{candidate}.json"
            path = first_existing(
                data_dir, os.path.join("annotations", name), name
            )
            folder = first_existing(
                data_dir,
                f"{part}{candidate}",
                os.path.join("images", f"{part}{candidate}"),
                "images",
                "",
            )
            if path is not None:
                files.append((canonical_split(part), path, folder))
        if files:
            return files
    raise UserError(
        f"Expected {_EXPECTED}; name that folder with --data_dir=FOLDER, or "
        f"one JSON file with --captions=FILE. Received: data_dir={data_dir!r},"
        f" year={year}"
    )


def _add_file(gathering, path, split, folder):
    content = read_json(path)
    parts = content if isinstance(content, dict) else {}
    images, annotations = parts.get("images"), parts.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise UserError(
            f'Expected {{"images": [...], "annotations": [...]}} in {path}; '
            "give COCO's caption annotations with --captions=FILE. Received: "
            f"{sorted(map(str, parts))[:10] or type(content).__name__}"
        )
    names = {}
    for number, image in enumerate(images):
        key = _integer(image, "id")
        if key is None or key in names:
            where = f"{os.path.basename(path)} images[{number}]"
            gathering.doubt("image", where, "no id of its own")
            continue
        name = image.get("file_name")
        usable = gathering.add_image(name, split, folder)
        names[key] = name if usable else None
    for number, annotation in enumerate(annotations):
        key = _integer(annotation, "image_id")
        if key not in names:
            where = f"{os.path.basename(path)} annotations[{number}]"
            gathering.doubt("caption", where, "of an image that is not named")
        elif names[key] is not None:
            gathering.add_caption(names[key], annotation.get("caption"))


def _integer(record, key):
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, int) else None
