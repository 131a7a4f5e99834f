"""A caption with its attention, and the interface of all captioners."""

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from pipelines.images.decoding import Photo, load_image
from pipelines.words import join_words
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.attention_figure import draw_attention


@dataclasses.dataclass(frozen=True, eq=False)
class Caption:
    """The caption of an image, with the attention of each word.

    Attributes:
        words: The T words.
        log_probability: Natural logarithm of the probability of the words
            and the end.
        score: What captions are ranked by: the log-probability with length
            normalisation, or the score of `ConsensusReranker.rerank`.
        finished: Whether the end was reached, or the caption was cut.
        attention: `(T, rows, columns)` float32, the attention weights of
            each word; they add up to one.
        gate: `(T,)` float32 in [0, 1], the context gate of section 4.2.1.
        alternatives: Other captions, best first, if any were asked for.
        photo: The photo as it was given, for `draw`.
        resize_mode: How the photo was fitted, `"crop"` or `"squash"`.
        locations: For each word the one location its context came from,
            counted row by row; `None` if it came from all (eq. 13).
    """

    words: tuple[str, ...]
    log_probability: float
    score: float
    finished: bool
    attention: np.ndarray = dataclasses.field(repr=False)
    gate: np.ndarray = dataclasses.field(repr=False)
    alternatives: tuple["Caption", ...] = dataclasses.field(
        default=(), repr=False
    )
    photo: Photo | None = dataclasses.field(default=None, repr=False)
    resize_mode: str = "crop"
    locations: tuple[int, ...] | None = None

    @property
    def text(self) -> str:
        """The caption as a line."""
        return join_words(self.words)

    def format(self, name: str) -> str:
        """Formats the caption of a named photo as a line.

        With alternatives, a line for each, with its log-probability.
        """
        if not self.alternatives:
            return f"{name}: {self.text}"
        captions = (self, *self.alternatives)
        lines = [f"  {c.log_probability:8.3f}  {c.text}" for c in captions]
        return "\n".join([f"{name}:", *lines])

    def draw(self, photo: Photo | None = None, **style) -> Image.Image:
        """Draws the photo, and once more for each word with its attention.

        Args:
            photo: The photo, if the caption does not hold it (those of
                cached annotations do not).
            **style: As for `attention_figure.draw_attention`.

        Returns:
            A Pillow image; its `save` writes a file.

        Raises:
            ValueError: There is no photo.
            UserError: The photo can no longer be read.
        """
        photo = self.photo if photo is None else photo
        if photo is None:
            raise ValueError(
                "This caption does not hold its photo; give it. "
                "Received: photo=None"
            )
        defaults = {
            "gate": self.gate,
            "resize_mode": self.resize_mode,
            "locations": self.locations,
        }
        return draw_attention(
            load_image(photo), self.words, self.attention, **defaults | style
        )


class PhotoCaptioner:
    """Captions photos, whichever runtime its model runs in.

    Attributes:
        decoding: The settings that hold where a call gives no others.
    """

    decoding: Decoding

    @typing.overload
    def caption(
        self, photos: Photo, batch_size: int = 8, **decoding
    ) -> Caption: ...

    @typing.overload
    def caption(
        self, photos: Sequence[Photo], batch_size: int = 8, **decoding
    ) -> list[Caption]: ...

    def caption(self, photos, batch_size=8, **decoding):
        """Captions a photo, or several.

        Args:
            photos: A photo (a path, the bytes of a file, a Pillow image, or
                a uint8 array `(H, W, 3)`), or a sequence of photos.
            batch_size: How many go through the networks together.
            **decoding: Fields of `Decoding` to change, such as
                `beam_width=3, num_captions=3`. Exported captioners refuse
                values other than those of their export.

        Returns:
            The `Caption` of a photo, or a list of them.

        Raises:
            UserError: A photo cannot be read, or a setting is unknown, out
                of range or fixed.
        """
        if isinstance(photos, Photo) or not isinstance(photos, Iterable):
            return self.caption([photos], 1, **decoding)[0]
        photos = list(photos)
        batch_size = min(batch_size, max(len(photos), 1))
        return list(self.stream(photos, batch_size, **decoding))

    def stream(
        self, photos: Iterable[Photo], batch_size: int = 8, **decoding
    ) -> Iterator[Caption]:
        """Yields the captions of photos in order, reading a batch at a time.

        Args and errors are those of `caption`; `photos` may be endless.
        """
        raise NotImplementedError
