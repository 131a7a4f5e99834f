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


BoxesByName = Mapping[str, NamedBoxes]  # Of one photo.


class PhotoBoxes:
    """The boxes of photos by id, to be named by the words of captions.

    `find_names` gives, for the words of a caption, each name in them: the
    position of its last word and the name, in order.
    """

    def __init__(
        self,
        photos: Mapping[str, BoxesByName],
        find_names: Callable[[Sequence[str]], Iterable[tuple[int, str]]],
    ):
        self._photos = photos
        self._find_names = find_names

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
