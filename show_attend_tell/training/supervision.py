"""What attention is supervised by: boxes of what words name."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from pipelines.boxes import PhotoBoxes
from pipelines.boxes.coverage import coverage
from pipelines.boxes.photo_boxes import Phrase
from pipelines.captions import CaptionedImage
from pipelines.vocabulary import Vocabulary
from pipelines.words import words_of


def phrases_of(
    image: CaptionedImage, boxes: PhotoBoxes
) -> tuple[tuple[Phrase, ...], ...]:
    """Returns the phrases with boxes of each caption of an image."""
    return tuple(
        boxes.phrases(image.id, words_of(text)) for text in image.captions
    )


def coverage_of_samples(
    images: Sequence[CaptionedImage],
    vocabulary: Vocabulary,
    boxes: PhotoBoxes,
    grid: tuple[int, int],
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns the `cover` of `Objective.supervise`, for sampled captions.

    Args:
        images: The examples of training, in their order.
        vocabulary: The words of the tokens.
        boxes: The boxes of these images.
        grid: Rows and columns of the attention.
    """

    def cover(tokens, examples):
        n, k, length = tokens.shape
        covered = np.zeros((n, k, length - 1, math.prod(grid)), np.float32)
        for row, column in np.ndindex(n, k):
            if examples[row] < 0:
                continue
            words = vocabulary.decode(tokens[row, column])
            for word in boxes.groundings(images[examples[row]].id, words):
                share = coverage(word.boxes, grid).ravel()
                covered[row, column, word.position] = share
        return covered

    return cover
