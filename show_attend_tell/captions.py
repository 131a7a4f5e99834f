"""A caption, and where the model looked for each of its words."""

import dataclasses

import numpy as np
from PIL import Image

from pipelines.images import Photo, load_image
from show_attend_tell.visualization import draw_attention


@dataclasses.dataclass(frozen=True, eq=False)
class Caption:
    """What the model said of one image, and where it looked.

    Attributes:
        words: The words; T of them.
        log_probability: Natural logarithm of the probability of the words
            and the end.
        score: What hypotheses are ranked by: the log-probability with the
            length normalisation of the decoding.
        finished: Whether the caption came to its end, or was cut.
        attention: `(T, rows, columns)` float32, where the model looked for
            each word; adds up to one.
        gate: `(T,)` float32 in [0, 1], how much it relied on the image.
        alternatives: The other hypotheses, best first, if any were asked
            for.
        photo: The photo as it was given, for `draw`.
        geometry: How the model saw the photo, `"crop"` or `"squash"`.
        places: For each word the number of the one location that it was said
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
    geometry: str = "crop"
    places: tuple[int, ...] | None = None

    @property
    def text(self) -> str:
        """The caption as a line."""
        return " ".join(self.words)

    def draw(self, photo: Photo | None = None, **style) -> Image.Image:
        """Draws the photo, and once more for each word with its attention.

        Args:
            photo: The photo, if the caption does not hold it (those of
                cached annotations do not).
            **style: As for `visualization.draw_attention`.

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
            "geometry": self.geometry,
            "places": self.places,
        }
        return draw_attention(
            load_image(photo), self.words, self.attention, **{**own, **style}
        )
