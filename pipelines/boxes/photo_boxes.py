"""Boxes that people drew in photos, and the words that name what they hold.

A box is left, top, right and bottom as fractions, of the photo where it was
drawn and of the square that the network sees after `fit_box`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipelines.images.decoding import resized_shape
from pipelines.sources.scenes.grammar import Box, Grounding


@dataclasses.dataclass(frozen=True)
class Named:
    """What one name means in one photo.

    Attributes:
        kind: Its class, such as `"people"` or `"animal"`.
        boxes: The box of each thing of that name, at least one.
    """

    kind: str
    boxes: tuple[Box, ...]


Names = Mapping[str, Named]  # What is named in one photo, by its name.


class PhotoBoxes:
    """What the words of captions name in photos.

    Args:
        photos: By the id of the image; boxes are fractions of the square
            that the network sees.
        names_in: Gives, for the words of a caption, each name in them: the
            position of its last word and the name, in order.
    """

    def __init__(
        self,
        photos: Mapping[str, Names],
        names_in: Callable[[Sequence[str]], Iterable[tuple[int, str]]],
    ):
        self._photos = photos
        self._names_in = names_in

    def __len__(self) -> int:
        return len(self._photos)

    def __contains__(self, id: str) -> bool:
        return id in self._photos

    def groundings(self, id: str, words: Sequence[str]) -> list[Grounding]:
        """Returns what the words of a caption name in its photo.

        A word that names nothing boxed in the photo is left out: it may be
        wrong, or nobody drew a box. Of names that stand side by side the
        last one counts alone, as "player" does in "football player".

        Args:
            id: The image; one without boxes has no groundings.
            words: The caption.

        Returns:
            One for each name that counts: its last word, class and boxes.
        """
        photo = self._photos.get(id, {})
        found = {
            position: photo[name]
            for position, name in self._names_in(words)
            if name in photo
        }
        return [
            Grounding(position, words[position], named.kind, named.boxes)
            for position, named in found.items()
            if position + 1 not in found
        ]


def cut_box(box: Box) -> Box | None:
    """Returns what of a box lies in the image; `None` if nothing does."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in box)
    return (left, top, right, bottom) if left < right and top < bottom else None


def fit_box(
    box: Box, shape: tuple[int, int], size: int, resize_mode: str
) -> Box | None:
    """Carries a box into the square that `pipelines.images.decoding.fit_image` makes.

    Args:
        box: As fractions of the photo.
        shape: Height and width of the photo.
        size: Side of the square in pixels.
        resize_mode: `"crop"` or `"squash"`.

    Returns:
        The box as fractions of the square, cut to it; `None` if it lies
        outside.
    """
    height, width = resized_shape(shape, size, resize_mode)
    x, y = (width - size) // 2, (height - size) // 2
    left, top, right, bottom = box
    return cut_box(
        (
            (left * width - x) / size,
            (top * height - y) / size,
            (right * width - x) / size,
            (bottom * height - y) / size,
        )
    )
