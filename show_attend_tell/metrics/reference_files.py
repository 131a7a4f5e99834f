"""References in any format that training takes, see `pipelines.sources`."""

import dataclasses

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.sources.caption_files import add_captions
from pipelines.sources.gathering import Gathering, canonical_split

# What names an image: COCO's `id` or Karpathy's `cocoid`, its file, or its
# position in Karpathy's list; the firmest first.
ID, FILE_NAME, POSITION = "id", "file name", "imgid"


@dataclasses.dataclass(frozen=True)
class ReferenceImage:
    """An image with its references.

    Attributes:
        names: What it is called, under `ID`, `FILE_NAME` and `POSITION`.
        captions: Its references; none if all that it has were left out.
        split: Its split, where the file has splits.
    """

    names: dict[str, int | str]
    captions: tuple[str, ...]
    split: str | None = None

    @property
    def name(self) -> int | str:
        """The firmest of its names."""
        return self.names.get(ID, self.names[FILE_NAME])


@dataclasses.dataclass(frozen=True)
class References:
    """The images of a file of references.

    Attributes:
        path: The file.
        images: In the order of the file.
        split: The split that was asked for, if any.
        skipped: What could not be read, and why.
    """

    path: str
    images: tuple[ReferenceImage, ...]
    split: str | None = None
    skipped: tuple[Skipped, ...] = ()


def read_references(path: str, split: str | None = None) -> References:
    """Reads references; what is doubtful is left out, as for training.

    Args:
        path: COCO's annotations, Karpathy's JSON, Flickr's token file, CSV or
            JSON records.
        split: Only the images of this split.

    Raises:
        UserError: The file cannot be used, too much of it is doubtful, or it
            has no such split.
    """
    gathering = Gathering(
        "the references",
        "Give COCO's annotations, Karpathy's split JSON, Flickr's token file, "
        f"CSV or JSON with --references=FILE. Received: {path!r}",
        path,
    )
    add_captions(gathering, path, flag="--references")
    source = gathering.source()
    usable = {image.id: image for image in source.images}
    images = [
        ReferenceImage(
            {FILE_NAME: id, **numbers},
            usable[id].captions if id in usable else (),
            usable[id].split if id in usable else gathering.split(id),
        )
        for id, numbers in gathering.numbers.items()
    ]
    if split is not None:
        images = _of_split(images, path, split)
    return References(path, tuple(images), split, source.skipped)


def _of_split(images, path, split) -> list[ReferenceImage]:
    wanted = canonical_split(split)
    splits = sorted({i.split for i in images if i.split is not None})
    if wanted not in splits:
        raise UserError(
            f"Expected --split to be a split of {path} "
            f"({', '.join(splits) or 'it has none'}). Received: {split!r}"
        )
    return [image for image in images if image.split == wanted]
