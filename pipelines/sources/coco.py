"""COCO's caption annotations, of train and of val, with their images."""

import os

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.caption_files import COCO, add_coco, read_form
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
    """Loads COCO of a year, or with `captions` one JSON file of its form.

    `data_dir` has `annotations/captions_{train,val}{year}.json` and the images
    in `{train,val}{year}/`, there or in `images/`, or all in `images/`. With
    `captions`, whose images are in `split`, it is the image folder. The year is
    by default the one that is there; if both are, 2014, on which the paper and
    Karpathy's splits are based.
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
    hint = f"Complete {data_dir!r} with {_EXPECTED}."
    if captions is not None:
        hint = (
            "Give the folder of the images with --data_dir. Received: "
            f"data_dir={data_dir!r}, captions={captions!r}"
        )
    gathering = Gathering("coco", hint, *(path for _, path, _ in files))
    example = '{"images": [...], "annotations": [...]}'
    for named, path, folder in files:
        content = read_form(gathering, path, COCO, example)
        add_coco(gathering, content, path, named, ImageFolder(folder))
    if captions is None and len(files) == 1:
        gathering.note(os.path.basename(files[0][1]), "the only split here")
    return gathering.source()


def _official_files(data_dir, year):
    for candidate in _YEARS if year is None else (year,):
        files = []
        for part in ("train", "val"):
            images = f"{part}{candidate}"
            name = f"captions_{images}.json"
            folders = images, f"images/{images}", "images", ""
            path = first_existing(data_dir, f"annotations/{name}", name)
            folder = first_existing(data_dir, *folders)
            if path is not None:
                files.append((canonical_split(part), path, folder))
        if files:
            return files
    raise UserError(
        f"Expected {_EXPECTED}; name that folder with --data_dir=FOLDER, or "
        f"one JSON file with --captions=FILE. Received: data_dir={data_dir!r},"
        f" year={year}"
    )
