"""A caption, and where the model looked for each of its words."""

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from pipelines.images.decoding import Photo, load_image
from show_attend_tell.inference.attention_figure import draw_attention


@dataclasses.dataclass(frozen=True, eq=False)
class Caption:
    """What the model said of one image, and where it looked.

    Attributes:
        words: The words; T of them.
        log_probability: Natural logarithm of the probability of the words
            and the end.
        score: What hypotheses are ranked by: the log-probability with the
            length normalisation of the decoding, or what `ConsensusReranker.chosen`
            makes of it.
        finished: Whether the caption came to its end, or was cut.
        attention: `(T, rows, columns)` float32, where the model looked for
            each word; adds up to one.
        gate: `(T,)` float32 in [0, 1], how much it relied on the image.
        alternatives: The other hypotheses, best first, if any were asked
            for.
        photo: The photo as it was given, for `draw`.
        resize_mode: How the model saw the photo, `"crop"` or `"squash"`.
        locations: For each word the number of the one location that it was said
            from, counted row by row; `None` where it was said from all.
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
        return " ".join(self.words)

    def told(self, name: str) -> str:
        """Lays the caption of a named photo out in a line.

        With other hypotheses, a line for each, with its log-probability.
        """
        if not self.alternatives:
            return f"{name}: {self.text}"
        said = (self, *self.alternatives)
        lines = [f"  {one.log_probability:8.3f}  {one.text}" for one in said]
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
        own = {
            "gate": self.gate,
            "resize_mode": self.resize_mode,
            "locations": self.locations,
        }
        return draw_attention(
            load_image(photo), self.words, self.attention, **{**own, **style}
        )


class PhotoCaptioner:
    """What captions photos, wherever its model runs."""

    @typing.overload
    def caption(
        self, photos: Photo, batch_size: int = 8, **decoding
    ) -> Caption: ...

    @typing.overload
    def caption(
        self, photos: Sequence[Photo], batch_size: int = 8, **decoding
    ) -> list[Caption]: ...

    def caption(self, photos, batch_size=8, **decoding):
        """Captions a photo, or many.

        Args:
            photos: A photo (a path, the bytes of a file, a Pillow image, or
                a uint8 array `(H, W, 3)`), or a sequence of photos.
            batch_size: How many go through the networks together.
            **decoding: Settings of `Decoding` in place of those of the run,
                such as `beam_width=3, num_captions=3`.

        Returns:
            The `Caption` of a photo, or a list of them.

        Raises:
            UserError: A photo cannot be read, or a setting is out of range.
        """
        if isinstance(photos, Photo) or not isinstance(photos, Iterable):
            return self.caption([photos], 1, **decoding)[0]
        photos = list(photos)
        batch_size = min(batch_size, max(len(photos), 1))
        return list(self.stream(photos, batch_size, **decoding))

    def stream(
        self, photos: Iterable[Photo], batch_size: int = 8, **decoding
    ) -> Iterator[Caption]:
        """Captions photos one batch after the other, without end.

        Args:
            photos: As for `caption`; read when their turn comes.
            batch_size: How many go through the networks together.
            **decoding: As for `caption`.

        Yields:
            The captions, in order.

        Raises:
            UserError: A photo cannot be read, or a setting is out of range.
        """
        raise NotImplementedError
