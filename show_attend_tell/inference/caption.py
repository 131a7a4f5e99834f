"""A caption with its attention, and the interface of all captioners."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from pipelines.errors import UserError
from pipelines.images.decoding import Photo, load_image
from pipelines.printing import printable
from pipelines.words import join_words
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.attention_figure import draw_attention
from show_attend_tell.inference.caption_phrases import (
    CaptionPhrase,
    ground_phrases,
)


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

    @functools.cached_property
    def phrases(self) -> tuple[CaptionPhrase, ...]:
        """The noun phrases of an English caption, each with its box."""
        return ground_phrases(self.words, self.attention)

    def format(self, name: str) -> str:
        """Formats the caption of a named photo as a line.

        With alternatives, a line for each, with its log-probability. Nothing
        in it controls a terminal, see `pipelines.printing`.
        """
        if not self.alternatives:
            return printable(f"{name}: {self.text}")
        captions = (self, *self.alternatives)
        lines = [f"  {c.log_probability:8.3f}  {c.text}" for c in captions]
        return "\n".join(map(printable, [f"{name}:", *lines]))

    def draw(self, photo: Photo | None = None, **style) -> Image.Image:
        """Draws the photo with boxes of phrases, and each word's attention.

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
            "boxes": [
                (f"{phrase.text}  {phrase.attention:.0%}", phrase.box)
                for phrase in self.phrases
            ],
        }
        return draw_attention(
            load_image(photo), self.words, self.attention, **defaults | style
        )


class CaptionerError(UserError):
    """A captioner that fails whatever the photo, such as an absent server."""


class PhotoCaptioner:
    """Captions photos, whichever runtime its model runs in.

    Attributes:
        decoding: The settings that hold where a call gives no others.
        batch_size: How many photos go through the networks together, where a
            call gives no other number.
    """

    decoding: Decoding
    batch_size: int = 8

    @typing.overload
    def caption(
        self, photos: Photo, batch_size: int | None = None, **decoding
    ) -> Caption: ...

    @typing.overload
    def caption(
        self, photos: Sequence[Photo], batch_size: int | None = None, **decoding
    ) -> list[Caption]: ...

    def caption(self, photos, batch_size=None, **decoding):
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
        batch_size = min(batch_size or self.batch_size, max(len(photos), 1))
        return list(self.stream(photos, batch_size, **decoding))

    def stream(
        self,
        photos: Iterable[Photo],
        batch_size: int | None = None,
        **decoding,
    ) -> Iterator[Caption]:
        """Yields the captions of photos in order, reading a batch at a time.

        Args and errors are those of `caption`; `photos` may be endless.
        """
        for one in self.captions_or_errors(photos, batch_size, **decoding):
            if isinstance(one, Exception):
                raise one
            yield one

    def captions_or_errors(
        self,
        photos: Iterable[Photo],
        batch_size: int | None = None,
        **decoding,
    ) -> Iterator[Caption | Exception]:
        """Yields for each photo, in order, its caption or why there is none.

        One photo that fails, for whatever reason, leaves the others as they
        are. Args are those of `caption`.

        Raises:
            UserError: A setting is unknown, out of range or fixed.
            CaptionerError: The captioner fails whatever the photo.
        """
        size = batch_size or self.batch_size
        settings = self.decoding_of(**decoding)
        generate = functools.partial(
            self.generate, batch_size=size, decoding=settings
        )
        number, batch = 0, []  # of photos, each as prepared or with its error
        for photo in photos:
            batch.append((photo, _attempt(self.prepare, photo)))
            good = [one for _, one in batch if not isinstance(one, Exception)]
            if not good or self.is_full(good, size):
                yield from _captioned(batch, good, generate, number)
                number, batch = number + len(good), []
        good = [one for _, one in batch if not isinstance(one, Exception)]
        yield from _captioned(batch, good, generate, number)

    def decoding_of(self, **changes) -> Decoding:
        """Returns the settings of a call, or raises UserError."""
        raise NotImplementedError

    def prepare(self, photo: Photo) -> typing.Any:
        """Returns a photo as the model takes it.

        Raises:
            UserError: It cannot be read.
        """
        raise NotImplementedError

    def is_full(self, photos: Sequence, batch_size: int) -> bool:
        """Whether prepared photos are to be captioned without waiting."""
        return len(photos) == batch_size

    def generate(
        self, photos: Sequence, first: int, batch_size: int, decoding: Decoding
    ) -> Sequence[Caption | Exception]:
        """Captions at most `batch_size` prepared photos.

        Args:
            photos: What `prepare` returned.
            first: The number of the first of them, from 0 on; samples follow
                from a photo's number and the seed.
            batch_size: Of the call.
            decoding: Its settings.
        """
        raise NotImplementedError


def _captioned(
    batch: Sequence[tuple], good: Sequence, generate: Callable, number: int
) -> Iterator[Caption | Exception]:
    """Yields captions and errors of a batch in the order of its photos."""
    captions = iter(_generate_each(generate, good, number))
    for photo, one in batch:
        if not isinstance(one, Exception):
            one = next(captions)
        if isinstance(one, Caption):
            one = dataclasses.replace(one, photo=photo)
        yield one


def _generate_each(
    generate: Callable, photos: Sequence, first: int
) -> Sequence[Caption | Exception]:
    """Captions photos together, or where that fails one by one."""
    if not photos:
        return []
    captions = _attempt(generate, photos, first)
    if not isinstance(captions, Exception):
        return captions
    if len(photos) == 1:
        return [captions]
    return [
        _generate_each(generate, [photo], first + n)[0]
        for n, photo in enumerate(photos)
    ]


def _attempt(function: Callable, *arguments):
    """Returns what a function returns, or the exception that it raises."""
    try:
        return function(*arguments)
    except CaptionerError:
        raise
    except MemoryError as error:
        return error.with_traceback(None)  # Which holds what took the memory.
    except Exception as error:
        return error
