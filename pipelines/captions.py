"""Captioned images and their sources."""

import dataclasses
from collections.abc import Callable, Iterable


@dataclasses.dataclass(frozen=True)
class CaptionedImage:
    """One image with all its captions.

    Attributes:
        id: Name of the image, unique in its source and stable between runs.
        split: `"train"`, `"validation"`, `"test"`, or another named split.
        captions: The captions as their authors wrote them.
        path: The image file, or `None` where `load` returns the image.
        load: A picklable function that returns the encoded image.
    """

    id: str
    split: str
    captions: tuple[str, ...]
    path: str | None = None
    load: Callable[[], bytes] | None = None

    def read(self) -> bytes:
        """Returns the encoded image (JPEG, PNG, ...).

        Raises:
            OSError: The file cannot be read.
        """
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
    """Captioned images of all splits, in a stable order.

    Attributes:
        name: One of `pipelines.sources.SOURCES`, such as `"flickr8k"`.
        images: Every usable image of every split.
        skipped: What was skipped, with the reason.
    """

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

    Args:
        skipped: What a source or an extraction skipped.
        limit: How many reasons, and how many names for each, are listed.

    Returns:
        Lines without a newline at the end; empty if nothing was skipped.
    """
    names = {}
    for item in skipped:
        names.setdefault(item.reason, []).append(item.name)
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
