"""The noun phrases of a caption, each with the box that it attends to."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.boxes.coverage import coverage
from pipelines.boxes.photo_boxes import Box
from pipelines.noun_phrases import find_noun_phrases
from pipelines.printing import printable
from pipelines.words import join_words
from show_attend_tell.inference.attention_boxes import box_of


@dataclasses.dataclass(frozen=True)
class CaptionPhrase:
    """A noun phrase of a caption, and where its words attend to.

    Attributes:
        words: Its words, `caption.words[start:stop]`.
        start: Position of its first word.
        stop: That of the word behind its last one.
        box: Left, top, right and bottom as fractions of the square that the
            network sees, see `attention_boxes.box_of`.
        attention: The share of its words' attention that lies in the box.
    """

    words: tuple[str, ...]
    start: int
    stop: int
    box: Box
    attention: float

    @property
    def text(self) -> str:
        """Its words as a line."""
        return join_words(self.words)


def ground_phrases(
    words: Sequence[str], attention: np.ndarray
) -> tuple[CaptionPhrase, ...]:
    """Returns the noun phrases of a caption, in order.

    The attention of a phrase is the mean of that of its words.

    Args:
        words: The caption's T words.
        attention: `(T, rows, columns)`, adding up to one for each word.
    """
    phrases = []
    for start, stop in find_noun_phrases(words):
        weights = np.asarray(attention[start:stop], np.float64).mean(axis=0)
        box = box_of(weights)
        share = float((coverage([box], weights.shape) * weights).sum())
        phrase = CaptionPhrase(
            tuple(words[start:stop]), start, stop, box, share
        )
        phrases.append(phrase)
    return tuple(phrases)


def phrases_as_json(
    phrases: Sequence[CaptionPhrase],
) -> list[dict[str, Any]]:
    """Returns phrases as they are written beside a caption in JSON."""
    return [
        {
            "phrase": printable(phrase.text),
            "start": phrase.start,
            "stop": phrase.stop,
            "box": [round(edge, 4) for edge in phrase.box],
            "attention": round(phrase.attention, 4),
        }
        for phrase in phrases
    ]
