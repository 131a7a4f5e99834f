"""Captioned images and their sources."""

import dataclasses
from collections.abc import Callable, Iterable

from pipelines.printing import printable


@dataclasses.dataclass(frozen=True)
class CaptionedImage:
    """One image with all its captions.

    Its id is unique in its source and stable between runs. Where there is no
    `path`, `load` is a picklable function that returns the encoded image.
    """

    id: str
    split: str
    captions: tuple[str, ...]
    path: str | None = None
    load: Callable[[], bytes] | None = None

    def read(self) -> bytes:
        """Returns the encoded image (JPEG, PNG, ...)."""
        if self.load is not None:
            return self.load()
        with open(self.path, "rb") as file:
            return file.read()


@dataclasses.dataclass(frozen=True)
class Skipped:
    """What a source or an extraction skipped, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Source:
    """Captioned images of all splits, in a stable order; and those skipped."""

    name: str
    images: tuple[CaptionedImage, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in order of appearance."""
        return tuple(dict.fromkeys(image.split for image in self.images))

    def split(self, name: str) -> tuple[CaptionedImage, ...]:
        """Returns the images of one split; an empty tuple if it has none."""
        return tuple(image for image in self.images if image.split == name)


def summarize_skipped(skipped: Iterable[Skipped], limit: int = 5) -> str:
    """Formats what was skipped in a few lines, most frequent reason first.

    At most `limit` reasons are listed, and as many names for each.
    """
    names = {}
    for item in skipped:
        reason, name = printable(item.reason), printable(item.name)
        names.setdefault(reason, []).append(name)
    if not names:
        return ""
    total = sum(len(group) for group in names.values())
    lines = [f"left out or noted: {total}"]
    groups = sorted(names.items(), key=lambda group: -len(group[1]))
    for reason, group in groups[:limit]:
        shown = ", ".join(group[:limit])
        rest = f", and {len(group) - limit} more" if len(group) > limit else ""
        lines.append(f"  {reason} ({len(group)}): {shown}{rest}")
    if len(groups) > limit:
        others = sum(len(group) for _, group in groups[limit:])
        lines.append(f"  for other reasons: {others}")
    return "\n".join(lines)
