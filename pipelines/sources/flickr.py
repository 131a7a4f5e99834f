"""Flickr8k and Flickr30k: a captions file, split lists and an image folder.

The captions file is a token file, `NAME.jpg#k<TAB>caption`, or a CSV with the
header `image,caption`. A split list names one image a line. Where no list is
there, Karpathy's split JSON in the data folder gives splits and captions.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.annotation_files import read_lines
from pipelines.sources.caption_files import TABLE, TOKENS, read_captions
from pipelines.sources.gathering import Gathering
from pipelines.sources.image_folder import (
    ImageFolder,
    check_data_dir,
    first_existing,
)
from pipelines.sources.karpathy import load_karpathy


@dataclasses.dataclass(frozen=True)
class _Layout:
    name: str
    text_folders: tuple[str, ...]
    caption_files: tuple[str, ...]
    lists: dict[str, str]
    image_folders: tuple[str, ...]
    split_json: str
    home: str

    @property
    def expected(self) -> str:
        captions, lists = self.caption_files, ", ".join(self.lists.values())
        return (
            f"{' or '.join(captions)}, one or more of the split lists {lists} "
            f"(or {self.split_json} in their place), and the photos in "
            f"{self.image_folders[0]}/ ({self.home})"
        )


_IMAGES = ("images", "Images", "")

_FLICKR8K = _Layout(
    name="flickr8k",
    text_folders=("", "Flickr8k_text"),
    caption_files=("Flickr8k.token.txt", "captions.txt"),
    lists={
        "train": "Flickr_8k.trainImages.txt",
        "validation": "Flickr_8k.devImages.txt",
        "test": "Flickr_8k.testImages.txt",
    },
    # The first is spelled as in the distributed archive.
    image_folders=("Flicker8k_Dataset", "Flickr8k_Dataset", *_IMAGES),
    split_json="dataset_flickr8k.json",
    home="https://forms.illinois.edu/sec/1713398",
)

_FLICKR30K = _Layout(
    name="flickr30k",
    text_folders=("", "flickr30k"),
    caption_files=("results_20130124.token", "captions.txt"),
    lists={"train": "train.txt", "validation": "val.txt", "test": "test.txt"},
    image_folders=("flickr30k-images", "flickr30k_images", *_IMAGES),
    split_json="dataset_flickr30k.json",
    home="https://shannon.cs.illinois.edu/DenotationGraph/",
)


def load_flickr8k(data_dir: str | None, captions: str | None = None) -> Source:
    """Loads Flickr8k as it is distributed, in the order of its lists.

    Captions and lists may also be in `Flickr8k_text/`, photos in
    `Flicker8k_Dataset/`, `images/` and the like. A missing list leaves its
    split empty. `captions` takes the place of the captions file in `data_dir`.
    """
    return _load(_FLICKR8K, data_dir, captions)


def load_flickr30k(data_dir: str | None, captions: str | None = None) -> Source:
    """Loads Flickr30k as it is distributed, as `load_flickr8k` otherwise.

    The archive brings no split lists: where `train.txt`, `val.txt` and
    `test.txt` are missing, `dataset_flickr30k.json` gives splits and captions.
    """
    return _load(_FLICKR30K, data_dir, captions)


def _load(layout, data_dir, captions):
    check_data_dir(data_dir, layout.expected)
    lists = {
        split: _text_file(layout, data_dir, name)
        for split, name in layout.lists.items()
    }
    captions = captions or _text_file(layout, data_dir, *layout.caption_files)
    folder = first_existing(data_dir, *layout.image_folders)
    if captions and any(lists.values()):
        return _load_lists(layout, data_dir, lists, captions, folder)
    split_json = _text_file(layout, data_dir, layout.split_json)
    if split_json:
        return load_karpathy(folder, split_json, name=layout.name)
    missing = "split list" if captions else "captions file"
    raise UserError(
        f"Expected {layout.expected}; put them there or name another folder "
        f"with --data_dir=FOLDER. Received: no {missing} in "
        f"data_dir={data_dir!r}"
    )


def _load_lists(layout, data_dir, lists, captions, folder):
    hint = f"Complete {data_dir!r} with {layout.expected}."
    gathering = Gathering(layout.name, hint, captions)
    images = ImageFolder(folder)
    for split, path in lists.items():
        if path is None:
            reason = f"no such list, so the {split} split is empty"
            gathering.note(layout.lists[split], reason)
            continue
        for _, line in read_lines(path):
            if name := line.strip():
                # The lists of Flickr30k hold ids without an extension.
                name = name if "." in name else f"{name}.jpg"
                gathering.add_image(name, split, images)
    unlisted = {}
    for name, caption, where in _captions(captions, gathering):
        if name in gathering:
            gathering.add_caption(name, caption, where)
        else:
            unlisted[name] = True
    _note_unlisted(gathering, unlisted)
    return gathering.source()


def _captions(path, gathering) -> Iterator[tuple[str, str, str]]:
    """Yields image, caption, and the name of the caption in messages."""
    form, rows = read_captions(gathering, path)
    if form not in (TOKENS, TABLE):
        raise UserError(
            f"Expected {TOKENS} or {TABLE} in {path}; read this one with "
            f"--dataset=karpathy or coco. Received: {form}"
        )
    for row in rows:
        if row.problem:
            gathering.doubt("caption", row.where, row.problem)
        else:
            yield from ((row.name, text, row.where) for text in row.captions)


def _note_unlisted(gathering, names):
    photos = []
    for name in names:
        if re.search(r"\.(jpe?g|png)$", name, re.IGNORECASE):
            photos.append(name)
        else:  # Flickr8k's token file has five captions of "....jpg.1".
            gathering.doubt("image", name, "captioned, but no image file name")
    if photos:
        gathering.note(
            f"{photos[0]} (first of {len(photos)})",
            "captioned, but in no split list, so unused",
        )


def _text_file(layout, data_dir, *names):
    pairs = itertools.product(names, layout.text_folders)
    paths = (os.path.join(folder, name) for name, folder in pairs)
    return first_existing(data_dir, *paths)
