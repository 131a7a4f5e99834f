"""References as others publish them: COCO, Flickr, Karpathy.

    COCO's annotations   {"images": [{"id": 9, "file_name": "9.jpg"}],
                          "annotations": [{"image_id": 9, "caption": "..."}]}
    Flickr's token file  9.jpg#0<TAB>A dog runs .
    Karpathy's splits    {"images": [{"cocoid": 9, "filename": "9.jpg",
                          "imgid": 0, "split": "test",
                          "sentences": [{"raw": "A dog runs ."}]}]}

What a file holds tells its kind.
"""

import dataclasses
from typing import Any

from pipelines.errors import UserError
from pipelines.sources.gathering import canonical_split
from show_attend_tell.metrics.prediction_files import (
    name_in,
    parse_json,
    read_text,
    shown,
)

# How an image may be named, the firmest first.
ID, FILE_NAME, POSITION = "id", "file name", "imgid"


@dataclasses.dataclass(frozen=True)
class ReferenceImage:
    """An image with its references, not yet checked.

    Attributes:
        names: What it is called, under `ID`, `FILE_NAME` and `POSITION`.
        captions: Place, for messages, and value of each reference.
        split: Its split, where the file tells.
    """

    names: dict[str, int | str]
    captions: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    split: str | None = None

    @property
    def name(self) -> int | str:
        """The firmest of its names."""
        return next(iter(self.names.values()))


@dataclasses.dataclass(frozen=True)
class References:
    """The images of a file of references.

    Attributes:
        path: The file.
        images: In the order of the file.
        split: The split that was asked for, if any.
    """

    path: str
    images: tuple[ReferenceImage, ...]
    split: str | None = None


def read_references(path: str, split: str | None = None) -> References:
    """Reads references; they are checked where they are used.

    Args:
        path: COCO's annotations, Flickr's token file, or Karpathy's JSON.
        split: Only the images of this split.

    Raises:
        UserError: The file cannot be used, or knows no such split.
    """
    text = read_text(path)
    if text.lstrip().startswith(("{", "[")):
        images = _from_json(parse_json(text, path), path)
    else:
        images = _flickr(text, path)
    if split is not None:
        images = _of_split(images, path, split)
    return References(path, tuple(images), split)


def _from_json(content: Any, path: str) -> list[ReferenceImage]:
    parts = content if isinstance(content, dict) else {}
    images, annotations = parts.get("images"), parts.get("annotations")
    if isinstance(annotations, list) and isinstance(images, list | None):
        return _coco(images or [], annotations, path)
    if isinstance(images, list):
        return [
            _karpathy(image, f"{path} images[{number}]")
            for number, image in enumerate(images)
        ]
    raise UserError(
        "Expected COCO's annotations, Flickr's token file or Karpathy's split "
        f"JSON in {path}. Received: {shown(content)}"
    )


def _coco(images, annotations, path) -> list[ReferenceImage]:
    by_id = {}
    for number, entry in enumerate(images):
        where = f"{path} images[{number}]"
        id = name_in(entry, "id", where)
        if id in by_id:
            raise UserError(
                f"Expected every image once. Received: {where} (id {id!r}) "
                "again"
            )
        by_id[id] = ReferenceImage({ID: id})
        if "file_name" in entry:
            by_id[id].names[FILE_NAME] = name_in(entry, "file_name", where)
    for number, entry in enumerate(annotations):
        where = f"{path} annotations[{number}]"
        id = name_in(entry, "image_id", where)
        image = by_id.setdefault(id, ReferenceImage({ID: id}))
        where = f"{where} (image_id {id!r})"
        image.captions.append((where, entry.get("caption")))
    return list(by_id.values())


def _karpathy(entry: Any, where: str) -> ReferenceImage:
    keys = {"cocoid": ID, "filename": FILE_NAME, "imgid": POSITION}
    present = [key for key in keys if isinstance(entry, dict) and key in entry]
    names = {
        keys[key]: name_in(entry, key, where) for key in present or ["filename"]
    }
    image = ReferenceImage(names, split=canonical_split(entry.get("split")))
    sentences = entry.get("sentences")
    for number, sentence in enumerate(
        sentences if isinstance(sentences, list) else []
    ):
        place = f"{where} ({image.name!r}) sentences[{number}]"
        image.captions.append((place, _sentence(sentence)))
    return image


def _sentence(sentence: Any) -> Any:
    if not isinstance(sentence, dict):
        return None
    tokens = sentence.get("tokens")
    if "raw" not in sentence and isinstance(tokens, list):
        return " ".join(map(str, tokens))
    return sentence.get("raw")


def _flickr(text: str, path: str) -> list[ReferenceImage]:
    by_name, keys = {}, set()
    # Not splitlines, to which characters of captions would end lines.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        name, _, index = key.rpartition("#")
        where = f"{path} line {number}"
        if not tab or not name or not index.isdecimal():
            raise UserError(
                f"Expected NAME.jpg#k<TAB>caption, or JSON, at {where}. "
                f"Received: {shown(line)}"
            )
        if key in keys:
            raise UserError(
                f"Expected every key once. Received: {where} ({key!r}) again"
            )
        keys.add(key)
        image = by_name.setdefault(name, ReferenceImage({FILE_NAME: name}))
        image.captions.append((f"{where} ({key!r})", caption.rstrip("\r")))
    return list(by_name.values())


def _of_split(images, path, split) -> list[ReferenceImage]:
    wanted = canonical_split(split)
    known = sorted({i.split for i in images if i.split is not None})
    if wanted not in known:
        raise UserError(
            f"Expected --split to be a split that {path} knows "
            f"({', '.join(known) or 'it knows none'}). Received: {split!r}"
        )
    return [image for image in images if image.split == wanted]
