"""Attention of generated and of reference captions against people's boxes."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipelines.batches import evaluation_batches
from pipelines.boxes import PhotoBoxes
from pipelines.boxes.flickr30k_entities import NAMELESS
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.captions import CaptionedImage
from pipelines.vocabulary import PADDING, Vocabulary
from pipelines.words import words_of
from show_attend_tell.inference.attention_boxes import box_of
from show_attend_tell.inference.caption import Caption
from show_attend_tell.metrics.grounded_captions import (
    GroundedReference,
    enclosing,
    grounded_f1,
    object_classes,
)
from show_attend_tell.metrics.grounding import measure_grounding

_BATCH_SIZE = 25


def measure_captions(
    captions: Sequence[Caption],
    images: Sequence[CaptionedImage],
    boxes: PhotoBoxes,
) -> dict[str, Any]:
    """Measures the attention of generated captions.

    Returns:
        What `measure_grounding` returns, of the words that name something,
        and what `grounded_f1` returns.
    """
    groundings = [
        boxes.groundings(image.id, caption.words)
        for image, caption in zip(images, captions, strict=True)
    ]
    measured = measure_grounding([c.attention for c in captions], groundings)
    references = [_references(image, boxes) for image in images]
    classes = object_classes(references)
    predictions = [
        [
            (word, box_of(attention))
            for word, attention in zip(c.words, c.attention, strict=True)
            if word in classes
        ]
        for c in captions
    ]
    return {**measured, **grounded_f1(predictions, references, classes)}


def _references(
    image: CaptionedImage, boxes: PhotoBoxes
) -> list[GroundedReference]:
    """Returns the captions of an image that have phrases with boxes."""
    references = []
    for text in image.captions:
        words = words_of(text)
        objects, heads = {}, set()
        for phrase in boxes.phrases(image.id, words):
            name = words[phrase.stop - 1]
            if name not in NAMELESS:
                objects.setdefault(name, enclosing(phrase.boxes))
                heads.add(phrase.stop - 1)
        if objects:
            others = (w for i, w in enumerate(words) if i not in heads)
            references.append(GroundedReference(objects, frozenset(others)))
    return references


def measure_references(
    captioner: Any,
    vocabulary: Vocabulary,
    cache: AnnotationCache,
    images: Sequence[CaptionedImage],
    boxes: PhotoBoxes,
    grid: tuple[int, int],
) -> dict[str, Any]:
    """Measures the attention of reference captions, by teacher forcing.

    Args:
        captioner: A `Captioner`.
        vocabulary: Its words.
        cache: The annotations of the images.
        images: The images with their captions.
        boxes: The boxes of their phrases.
        grid: Rows and columns of the attention.

    Returns:
        What `measure_grounding` returns, of phrases.
    """
    phrases = [
        boxes.phrases(image.id, words_of(text))
        for image in images
        for text in image.captions
    ]
    attentions = _reference_attention(
        captioner, vocabulary, cache, images, grid
    )
    return measure_grounding(attentions, phrases)


def _reference_attention(
    captioner, vocabulary, cache, images, grid
) -> Iterator[np.ndarray]:
    """Yields the attention `(T, rows, columns)` of each caption, in order."""
    positions = [cache.position(image.id) for image in images]
    batches = evaluation_batches(cache, positions, _BATCH_SIZE)
    for number, annotations in enumerate(batches):
        first = number * _BATCH_SIZE
        chosen = images[first : first + _BATCH_SIZE]
        captions = [[vocabulary.encode(t) for t in i.captions] for i in chosen]
        tokens = _padded(captions, _BATCH_SIZE)
        inputs = {"annotations": annotations, "tokens": tokens}
        attention = np.asarray(captioner(inputs, training=False)["attention"])
        for row, each in enumerate(captions):
            for column, caption in enumerate(each):
                steps = attention[row, column, : len(caption) - 1]
                yield steps.reshape(-1, *grid)


def _padded(captions: Sequence[Sequence[np.ndarray]], rows: int) -> np.ndarray:
    """Returns tokens `(rows, K, T + 1)` int32."""
    most = max(map(len, captions))
    longest = max(len(caption) for each in captions for caption in each)
    tokens = np.full((rows, most, longest), PADDING, np.int32)
    for row, each in enumerate(captions):
        for column, caption in enumerate(each):
            tokens[row, column, : len(caption)] = caption
    return tokens
