"""Lists the images of a run and their shards, before work begins.

`images.jsonl` in the output folder has a line for each image, in the order
of the shards: shard k is lines k * size to (k + 1) * size. A worker reads
only the lines of its shard, so that no plan of a runner grows with images.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Sequence

import numpy as np

from pipelines.captions import CaptionedImage
from pipelines.ending import reason_of
from pipelines.errors import UserError
from pipelines.images.decoding import decode_image
from pipelines.sharded.files import (
    absolute,
    join,
    matching,
    read_file,
    read_image,
    write_file,
)

LIST_FILE = "images.jsonl"
# Versions that wrote a folder; the next run may have others.
_NOT_COMPARED = {"tensorflow", "keras"}


@dataclasses.dataclass(frozen=True)
class ListedImage:
    """One image of a run: its id, always Unicode, and its file."""

    id: str
    path: str


@dataclasses.dataclass(frozen=True)
class Span:
    """Where the lines of a shard lie in the list, in bytes."""

    shard: int
    shards: int
    first: int
    length: int


@dataclasses.dataclass(frozen=True)
class Shard:
    """The images of shard `number` of `count`."""

    number: int
    count: int
    images: tuple[ListedImage, ...]

    def file_name(self, kind: str, ending: str) -> str:
        """Returns such as `captions-00003-of-00028.jsonl`."""
        return f"{kind}-{self.number:05d}-of-{self.count:05d}.{ending}"


def images_of_glob(pattern: str) -> list[ListedImage]:
    """Lists the files of a glob such as `gs://bucket/photos/**`, by name.

    Ids are paths below the last folder that has no wildcard.
    """
    pattern = absolute(pattern)
    plain = re.split(r"[*?\[]", pattern)[0]
    folder = plain[: plain.rindex("/") + 1]
    paths = matching(pattern)
    if not paths:
        raise UserError(
            "Expected a glob that images match, such as 'photos/*.jpg' "
            f"('photos/**.jpg' with folders below). Received: {pattern!r}, "
            "which nothing matches"
        )
    return [
        ListedImage(_unicode(path.removeprefix(folder)), path) for path in paths
    ]


def images_of_source(images: Sequence[CaptionedImage]) -> list[ListedImage]:
    """Lists the images of a data set."""
    if any(image.path is None for image in images):
        raise UserError(
            "Expected a data set of files. Received: a rendered one. Take "
            "python -m pipelines.extract_features"
        )
    return [
        ListedImage(_unicode(image.id), absolute(image.path))
        for image in images
    ]


def begin(
    directory: str,
    images: Sequence[ListedImage],
    shard_size: int,
    name: str,
    manifest: dict,
) -> list[Span]:
    """Makes the folder one of this run, or checks that it is.

    `manifest`, in the file `name`, is what makes the output what it is, the
    images included.
    """
    path = join(directory, name)
    lines = [_line(image) for image in images]
    existing = read_file(path)
    if existing is None:
        listed = join(directory, LIST_FILE)
        files = matching(join(directory, "*"))
        others = [file for file in files if not file.startswith(listed)]
        if others:
            raise UserError(
                "Expected a new folder, or one of an earlier such run. "
                f"Received: {directory!r}, which holds {others[0]!r}"
            )
    else:
        _check_same(path, existing, manifest)
    write_file(join(directory, LIST_FILE), b"".join(lines))
    if existing is None:
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_file(path, text.encode())
    return _spans([len(line) for line in lines], shard_size)


def read_shard(directory: str, span: Span) -> Shard:
    """Reads which images a shard has."""
    path = join(directory, LIST_FILE)
    lines = read_file(path, span.first, span.length).splitlines()
    images = tuple(ListedImage(**json.loads(line)) for line in lines)
    return Shard(span.shard, span.shards, images)


def pixels_of(image: ListedImage) -> np.ndarray | str:
    """Returns an image as upright RGB (H, W, 3), or why there is none."""
    try:
        image.path.encode()
        return decode_image(read_image(image.path), image.path)
    except UnicodeEncodeError:
        return "Expected a name in Unicode. Rename the file."
    except Exception as error:  # Whatever it is, the others go on.
        return _unicode(reason_of(error))


def _line(image: ListedImage) -> bytes:
    # Only ASCII: no reader takes a part of a name for the end of the line.
    return json.dumps(dataclasses.asdict(image)).encode() + b"\n"


def _spans(lengths: Sequence[int], shard_size: int) -> list[Span]:
    ends = [0, *np.cumsum(lengths, dtype=np.int64).tolist()]
    borders = [*range(0, len(lengths), shard_size), len(lengths)]
    shards = len(borders) - 1
    return [
        Span(k, shards, ends[first], ends[last] - ends[first])
        for k, (first, last) in enumerate(itertools.pairwise(borders))
    ]


def _check_same(path: str, existing: bytes, manifest: dict) -> None:
    try:
        values = json.loads(existing)
        before = {name: values.get(name) for name in manifest}
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    for name in manifest.keys() - _NOT_COMPARED:
        if before[name] != manifest[name]:
            raise UserError(
                f"{path} is of a run with other settings or images: its "
                f"{name} is {before[name]!r}, expected {manifest[name]!r}. "
                "Choose another folder, or delete that one."
            )


def _unicode(text: str) -> str:
    """Spells out bytes of a name that are no Unicode."""
    return text.encode(errors="backslashreplace").decode()
