"""Images and captions, as lists name them, gathered into a `Source`.

Lists come from others and may be wrong or malicious. What is doubtful is left
out and named; where more than a small share is doubtful, it is an error.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pipelines.captions import CaptionedImage, Skipped, Source
from pipelines.errors import UserError
from pipelines.sources.image_folder import DoubtfulName, ImageFolder

# The share of the named images, and of the captions, that may be left out.
MAX_SKIPPED_SHARE = 0.02
# In a set too small for that share: this many, but at most a quarter.
SMALL_SET_ALLOWANCE = 3
MAX_CAPTION_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 1024

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# The names of splits in the distributed data sets, and ours.
SPLIT_NAMES = {
    "train": "train",
    "restval": "train",  # the rest of COCO's validation, used for training
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclasses.dataclass
class _Named:
    """An image that a list named, usable or not."""

    split: str | None
    usable: bool
    path: str | None = None
    load: Callable[[], bytes] | None = None
    captions: list[str] = dataclasses.field(default_factory=list)


class Gathering:
    """Gathers the images that lists name, and then the captions of each.

    Call `add_image` for every image, `add_caption` for every caption, and
    `source` at the end. Where no folder is given, `numbers` keeps other names
    of images. The `hint`, for error messages, mends a wrong folder or list.
    """

    def __init__(self, name: str, hint: str):
        self._name = name
        self._hint = hint
        self._images = {}
        self.numbers = {}
        self._skipped = []
        self._named = {"image": 0, "caption": 0}
        self._doubtful = {"image": [], "caption": []}

    def __contains__(self, id: str) -> bool:
        return id in self._images

    def split(self, id: str) -> str:
        """Returns the split of an image that was added."""
        return self._images[id].split

    def add_image(
        self,
        id: Any,
        split: str | None,
        folder: ImageFolder | None,
        *files: str,
        numbers: Mapping[str, int | str] = MappingProxyType({}),
    ) -> bool:
        """Takes an image that a list names; returns whether it is usable.

        Its file is the first of `files`, by default `id`, that is in `folder`.
        Without `folder` captions alone are of interest; an image without any is
        then no mistake.
        """
        if not self._is_new(id, split):
            return False
        if folder is None:
            self.numbers[id] = numbers
            return self._add(id, _Named(split, True))
        for file in files or (id,):
            try:
                return self._add(id, _Named(split, True, folder.find(file)))
            except DoubtfulName as error:
                reason = str(error)
        self._add(id, _Named(split, False))
        self._leave_out("image", id, reason)
        return False

    def add_record(self, id: Any, split: str, load: Callable) -> bool:
        """Takes an image that `load` returns; as `add_image` otherwise."""
        if not self._is_new(id, split):
            return False
        return self._add(id, _Named(split, True, load=load))

    def add_caption(self, id: str, text: Any, where: str | None = None) -> None:
        """Takes a caption of an image; `where` names it when it is doubtful."""
        text = text.strip() if isinstance(text, str) else text
        problem = None
        if not isinstance(text, str) or not is_encodable(text):
            problem = "the caption is not text"
        elif not text:
            problem = "the caption is empty"
        elif len(text) > MAX_CAPTION_CHARACTERS:
            problem = f"the caption is over {MAX_CAPTION_CHARACTERS} characters"
        if problem:
            return self.doubt("caption", where or id, problem)
        self._named["caption"] += 1
        self._images[id].captions.append(text)

    def doubt(self, kind: str, name: Any, reason: str) -> None:
        """Counts an `"image"` or `"caption"` that cannot be used, and why."""
        self._named[kind] += 1
        self._leave_out(kind, name, reason)

    def note(self, name: str, reason: str) -> None:
        """Names something that is unused but not doubtful."""
        self._skipped.append(Skipped(_printable(name), reason))

    def source(self) -> Source:
        """Returns the images that have a file and a caption, if enough have."""
        images = []
        for id, image in self._images.items():
            if not image.usable:
                continue
            if image.captions:
                captions = tuple(image.captions)
                one = id, image.split, captions, image.path, image.load
                images.append(CaptionedImage(*one))
            elif id in self.numbers:
                self.note(id, "no caption")
            else:
                self._leave_out("image", id, "no caption")
        for kind in ("image", "caption"):
            self._check_share(kind)
        if not images:
            raise UserError(
                f"Expected images with captions for {self._name}, but the "
                f"lists name none. {self._hint}"
            )
        return Source(self._name, tuple(images), tuple(self._skipped))

    def _is_new(self, id, split):
        if not isinstance(id, str) or not _is_clean(id):
            self.doubt("image", id, "not a name of an image")
        elif id in self._images:
            first = self._images[id].split
            named = f"named in {first} and again in {split}"
            if first == split:
                named = "named twice" + (f" in {split}" if split else "")
            self.doubt("image", id, f"{named}; the first counts")
        else:
            return True
        return False

    def _add(self, id, image):
        self._named["image"] += 1
        self._images[id] = image
        return True

    def _leave_out(self, kind, name, reason):
        skipped = Skipped(_printable(name), reason)
        self._doubtful[kind].append(skipped)
        self._skipped.append(skipped)

    def _check_share(self, kind):
        named, doubtful = self._named[kind], self._doubtful[kind]
        small = min(SMALL_SET_ALLOWANCE, named // 4)
        if len(doubtful) <= max(MAX_SKIPPED_SHARE * named, small):
            return
        first = "; ".join(f"{it.name}: {it.reason}" for it in doubtful[:5])
        raise UserError(
            f"Expected at most {MAX_SKIPPED_SHARE:.0%} of the {kind}s of "
            f"{self._name} to be missing or doubtful. Received: "
            f"{len(doubtful)} of {named}, first {first}. {self._hint}"
        )


def canonical_split(name: Any) -> str | None:
    """Returns our name of a split, or `None` for what cannot be one.

    Names that we do not know stay as they are.
    """
    name = name.strip() if isinstance(name, str) else ""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        return None
    return SPLIT_NAMES.get(name.lower(), name)


def is_encodable(text: str) -> bool:
    """Whether text can be written: JSON can hold half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_clean(name):
    return (
        0 < len(name) <= MAX_NAME_CHARACTERS
        and not _CONTROL_CHARACTERS.search(name)
        and is_encodable(name)
    )


def _printable(name):
    """A name for messages, which may come from a malicious list."""
    text = name if isinstance(name, str) else repr(name)
    doubtful = _CONTROL_CHARACTERS.search(text) or not is_encodable(text)
    text = ascii(text) if doubtful else text
    return text if len(text) <= 200 else f"{text[:200]}..."
