"""Images and captions, as lists name them, gathered into a `Source`.

Lists come from others and may be wrong or malicious. What is doubtful is left
out and named; where more than a small share is doubtful, it is an error.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pipelines.captions import CaptionedImage, Skipped, Source
from pipelines.errors import UserError
from pipelines.printing import printable
from pipelines.sources.hashed_splits import with_hashed_splits
from pipelines.sources.image_folder import (
    LEADS_OUT,
    MISSING,
    DoubtfulName,
    ImageFolder,
    canonical_name,
)
from pipelines.words import words_of

# The share of the named images, and of the captions, that may be left out.
MAX_SKIPPED_SHARE = 0.02
# In a set too small for that share: this many, but at most a quarter.
SMALL_SET_ALLOWANCE = 3
MAX_CAPTION_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 1024

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# In a caption, spaces of all kinds may stand.
_DAMAGE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_ASCII_WORD = re.compile("[A-Za-z0-9]")

# The names of splits in the distributed data sets, and ours.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",  # the rest of COCO's validation, used for training
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
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
    `source` at the end. An image goes by the path of its file below the image
    folder, and, before that is known, by every spelling of the name that the
    list gives. Where no folder is given, `numbers` keeps other names of images.

    Args:
        name: Of the source.
        hint: For messages; mends a wrong folder.
        files: The lists, for messages.
    """

    def __init__(self, name: str, hint: str, *files: str):
        self._name = name
        self._hint = hint
        self._files = files
        self._images = {}
        self._listed = {}  # images by name, as listed and as spelled best
        self._advice = ""
        self.numbers = {}
        # Whether images without a split get one by the hash of their names.
        self.hashes_splits = False
        self._skipped = []
        self._named = {"image": 0, "caption": 0}
        self._doubtful = {"image": [], "caption": []}

    def _find(self, name):
        # As listed first: of most images five captions follow.
        return self._listed.get(name) or self._listed.get(canonical_name(name))

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def split(self, name: str) -> str | None:
        """Returns the split of an image that was added."""
        return self._find(name).split

    def add_image(
        self,
        name: Any,
        split: str | None,
        folder: ImageFolder | None,
        *files: str,
        numbers: Mapping[str, int | str] = MappingProxyType({}),
        merge: bool = False,
    ) -> bool:
        """Takes an image that a list names; returns whether it is usable.

        Its file is the first of `files`, by default `name`, that is in
        `folder`. Without `folder` captions alone are of interest; an image
        without any is then no mistake. With `merge`, another name of a file
        that was named is no mistake, but the same image.
        """
        if not self._is_new(name, split):
            return False
        if folder is None:
            self._add(name, canonical_name(name), _Named(split, True))
            self.numbers[canonical_name(name)] = numbers
            return True
        reason = ""
        for file in files or (name,):
            try:
                id = folder.find(file)
            except DoubtfulName as error:
                reason = reason or str(error)
                continue
            if merge and id in self._images:
                self._listed[name] = self._images[id]
                return True
            if id in self._images:
                self.doubt("image", name, f"its file is that of {id}, too")
                return False
            path = os.path.join(folder.path, id)
            self._add(name, id, _Named(split, True, path))
            return True
        if reason == MISSING and not self._advice:
            self._advice = folder.advice((files or (name,))[0])
        self._add(name, canonical_name(name), _Named(split, False))
        self._leave_out("image", name, reason)
        return False

    def add_record(self, id: Any, split: str, load: Callable) -> bool:
        """Takes an image that `load` returns; as `add_image` otherwise."""
        if not self._is_new(id, split):
            return False
        self._add(id, id, _Named(split, True, load=load))
        return True

    def add_caption(
        self, name: str, text: Any, where: str | None = None
    ) -> None:
        """Takes a caption of an image; `where` names it when it is doubtful."""
        text = text.strip() if isinstance(text, str) else text
        problem = _problem(text)
        if problem:
            return self.doubt("caption", where or name, problem)
        self._named["caption"] += 1
        self._find(name).captions.append(text)

    def doubt(self, kind: str, name: Any, reason: str) -> None:
        """Counts an `"image"` or `"caption"` that cannot be used, and why."""
        self._named[kind] += 1
        self._leave_out(kind, name, reason)

    def note(self, name: str, reason: str) -> None:
        """Names something that is unused but not doubtful."""
        self._skipped.append(Skipped(_shown(name), reason))

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
        # Captions first: an image may be without, because they are doubtful.
        for kind in ("caption", "image"):
            self._check_share(kind)
        if not images:
            raise UserError(
                f"Expected images with captions for {self._name}, but the "
                f"lists name none. {self._mend_none()}"
            )
        if self.hashes_splits:
            images, moved = with_hashed_splits(images)
            for image in moved:
                self.note(image.id, f"for {image.split}, which had no image")
        return Source(self._name, tuple(images), tuple(self._skipped))

    def _is_new(self, name, split):
        if not isinstance(name, str) or not _is_clean(name):
            self.doubt("image", name, "not a name of an image")
        elif name in self:
            first = self.split(name)
            named = f"named in {first} and again in {split}"
            if first == split:
                named = "named twice" + (f" in {split}" if split else "")
            self.doubt("image", name, f"{named}; the first counts")
        else:
            return True
        return False

    def _add(self, name, id, image):
        self._named["image"] += 1
        self._listed[name] = self._listed[canonical_name(name)] = image
        self._images[id] = image

    def _leave_out(self, kind, name, reason):
        skipped = Skipped(_shown(name), reason)
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
            f"{len(doubtful)} of {named}, first {first}. "
            f"{self._mend(doubtful, named)}"
        )

    def _mend_none(self):
        if not self._files:
            return self._hint
        return f"Name images and captions in {', '.join(self._files)}"

    def _mend(self, doubtful, named):
        """Says what to do about the most frequent reason."""
        reasons = collections.Counter(item.reason for item in doubtful)
        ((reason, count),) = reasons.most_common(1)
        lists = ", ".join(self._files)
        if reason == LEADS_OUT:
            return f"Name files below the image folder in {lists}"
        if reason == MISSING and self._advice:
            return self._advice
        if not lists or reason == MISSING and count == named:
            return self._hint
        if reason == MISSING:
            return f"Add them, or take them out of {lists}"
        return f"Correct that in {lists}"


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
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _is_clean(name):
    return (
        0 < len(name) <= MAX_NAME_CHARACTERS
        and not _CONTROL_CHARACTERS.search(name)
        and is_encodable(name)
    )


def _problem(text):
    """Says why something is no caption; nothing if it is one."""
    if not isinstance(text, str) or not is_encodable(text):
        return "the caption is not text"
    if not text:
        return "the caption is empty"
    if len(text) > MAX_CAPTION_CHARACTERS:
        return f"the caption is over {MAX_CAPTION_CHARACTERS} characters"
    if not text.isprintable() and _DAMAGE.search(text):
        return "the caption has control characters"
    if not _ASCII_WORD.search(text) and not words_of(text):
        return "the caption has no word"
    return None


def _shown(name):
    """A name for messages, which may come from a malicious list."""
    text = printable(name if isinstance(name, str) else repr(name))
    return text if len(text) <= 200 else f"{text[:200]}..."
