"""Boxes that people drew in photos, and the words that name what they hold.

A box is left, top, right and bottom as fractions, of the photo where it was
drawn and of the square that the network sees after `fit_box`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipelines.images.decoding import resized_shape
from pipelines.sources.scenes.grammar import Box, Grounding


@dataclasses.dataclass(frozen=True)
class NamedBoxes:
    """The boxes of all things of one name in one photo, at least one.

    Their `kind` is a class, such as `"people"` or `"animal"`.
    """

    kind: str
    boxes: tuple[Box, ...]


@dataclasses.dataclass(frozen=True)
class Phrase:
    """Words of a caption, side by side, that name things with boxes.

    They are `words[start:stop]`; `kind` and `boxes` as in `NamedBoxes`.
    """

    start: int
    stop: int
    kind: str
    boxes: tuple[Box, ...]

    @property
    def positions(self) -> range:
        """Of its words."""
        return range(self.start, self.stop)


BoxesByName = Mapping[str, NamedBoxes]  # Of one photo.
# Of captions of one photo, as words, that people marked.
PhrasesByCaption = Mapping[tuple[str, ...], tuple[Phrase, ...]]


class PhotoBoxes:
    """The boxes of photos by id, to be named by the words of captions.

    `find_names` gives, for the words of a caption, each name in them: the
    position of its last word and the name, in order. `marked` are the phrases
    of captions, by the photo's id, where people marked them.
    """

    def __init__(
        self,
        photos: Mapping[str, BoxesByName],
        find_names: Callable[[Sequence[str]], Iterable[tuple[int, str]]],
        marked: Mapping[str, PhrasesByCaption] | None = None,
    ):
        self._photos = photos
        self._find_names = find_names
        self._marked = marked

    def __len__(self) -> int:
        return len(self._photos)

    def __contains__(self, id: str) -> bool:
        return id in self._photos

    def groundings(self, id: str, words: Sequence[str]) -> list[Grounding]:
        """Returns what the words of a caption name in its photo.

        A word that names nothing boxed in the photo is left out: it may be
        wrong, or the thing has no box. Of names that are neighbours only the
        last one counts, as "player" does in "football player".
        """
        photo = self._photos.get(id, {})
        named = {
            position: photo[name]
            for position, name in self._find_names(words)
            if name in photo
        }
        return [
            Grounding(position, words[position], things.kind, things.boxes)
            for position, things in named.items()
            if position + 1 not in named
        ]

    def phrases(self, id: str, words: Sequence[str]) -> tuple[Phrase, ...]:
        """Returns the phrases of a photo's own caption that have boxes.

        Where people marked phrases, those of captions that are word for word
        one of theirs, and none of others; elsewhere each word that
        `groundings` returns.
        """
        if self._marked is not None:
            return self._marked.get(id, {}).get(tuple(words), ())
        return tuple(
            Phrase(word.position, word.position + 1, word.kind, word.boxes)
            for word in self.groundings(id, words)
        )


def cut_box(box: Box) -> Box | None:
    """Returns the part of a box in the image; `None` if there is none."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in box)
    return (left, top, right, bottom) if left < right and top < bottom else None


def fit_box(
    box: Box, shape: tuple[int, int], size: int, resize_mode: str
) -> Box | None:
    """Maps a box of a photo to the square that `fit_image` makes of it.

    Boxes are fractions; `shape` is the photo's height and width, `size` the
    side of the square in pixels. Returns `None` for a box outside the square.
    """
    height, width = resized_shape(shape, size, resize_mode)
    x, y = (width - size) // 2, (height - size) // 2
    left, top, right, bottom = box
    left, right = ((edge * width - x) / size for edge in (left, right))
    top, bottom = ((edge * height - y) / size for edge in (top, bottom))
    return cut_box((left, top, right, bottom))
