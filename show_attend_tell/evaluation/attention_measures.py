"""Attention of generated and of reference captions against people's boxes."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pipelines.batches import evaluation_batches
from pipelines.boxes import PhotoBoxes
from pipelines.boxes.flickr30k_entities import NAMELESS
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.captions import CaptionedImage
from pipelines.sources.scenes.grammar import Grounding
from pipelines.vocabulary import PADDING, Vocabulary
from pipelines.words import words_of
from show_attend_tell.inference.attention_boxes import box_of
from show_attend_tell.inference.caption import Caption
from show_attend_tell.metrics.bootstrap import Sums, interval, resample
from show_attend_tell.metrics.caption_scores import Evaluation
from show_attend_tell.metrics.grounded_captions import (
    GroundedReference,
    box_accuracy,
    enclosing,
    grounded_f1,
    object_classes,
)
from show_attend_tell.metrics.grounding import MeasuredWords, measure_words

_BATCH_SIZE = 25


def evaluate_attention(
    captions: Sequence[Caption],
    images: Sequence[CaptionedImage],
    boxes: PhotoBoxes,
) -> tuple[Evaluation, dict[str, Any]]:
    """Measures the attention of generated captions, to compare it, too.

    Returns:
        The scores, for `caption_scores.compare`, and the figures: what
        `measure_grounding` returns, of the words that name something;
        `box_accuracy`, the share of these whose box overlaps people's by more
        than a half; and what `grounded_f1` returns. Of these also those of
        the boxes of the mean map of each caption, `_mean_map`, and those of
        boxes as large as the image, `_entire_image`.
    """
    words = measure_named_words(captions, images, boxes)
    sums = [words.sums, *_box_sums(captions, images, boxes)]
    evaluation = evaluate_sums([image.id for image in images], sums)
    figures = {**words.figures, **evaluation.scores}
    return evaluation, {**figures, "intervals": evaluation.intervals}


def evaluate_sums(ids: Sequence[str], sums: Sequence[Sums]) -> Evaluation:
    """Returns the scores of images from their sums, with intervals."""
    scores, undefined, intervals = {}, {}, {}
    for one in sums:
        scores.update(one.of_all())
        undefined.update(one.undefined)
        if len(ids) > 1:
            # One by one, because those of boxes are large.
            resampled = resample([one])
            intervals |= {k: interval(v) for k, v in resampled.items()}
    intervals = {k: v for k, v in intervals.items() if k not in undefined}
    return Evaluation(
        ids=tuple(ids),
        scores=scores,
        intervals=intervals,
        per_image={},
        tokenizer="words_of",
        left_out={},
        undefined=undefined,
        wordless=(0, 0),
        sums=tuple(sums),
    )


def measure_named_words(
    captions: Sequence[Caption],
    images: Sequence[CaptionedImage],
    boxes: PhotoBoxes,
) -> MeasuredWords:
    """Measures the words of generated captions that name something boxed."""
    groundings = _groundings(captions, images, boxes)
    return measure_words([c.attention for c in captions], groundings)


def _groundings(captions, images, boxes: PhotoBoxes) -> list[list[Grounding]]:
    return [
        boxes.groundings(image.id, caption.words)
        for image, caption in zip(images, captions, strict=True)
    ]


def _box_sums(captions, images, boxes: PhotoBoxes) -> list[Sums]:
    """Returns `box_accuracy` and F1, and the same of other boxes."""
    references = [_references(image, boxes) for image in images]
    classes = object_classes(references)
    groundings = _groundings(captions, images, boxes)
    makers = {
        "": lambda caption, n: box_of(caption.attention[n]),
        "_mean_map": lambda caption, _: box_of(caption.attention.mean(axis=0)),
        "_entire_image": lambda *_: (0.0, 0.0, 1.0, 1.0),
    }
    sums = []
    for suffix, maker in makers.items():
        predictions = [
            [
                (word, maker(caption, n))
                for n, word in enumerate(caption.words)
                if word in classes
            ]
            for caption in captions
        ]
        pairs = [
            [
                (maker(caption, word.position), enclosing(word.boxes))
                for word in words
            ]
            for caption, words in zip(captions, groundings, strict=True)
        ]
        f1 = grounded_f1(predictions, references, classes)
        sums.append(box_accuracy(pairs, f"box_accuracy{suffix}"))
        sums.append(_renamed(f1, suffix) if suffix else f1)
    return sums


def _renamed(sums: Sums, suffix: str) -> Sums:
    """Returns the F1 scores alone, with a suffix to their names."""

    def renamed(named):
        return {f"{k}{suffix}": v for k, v in named.items() if k[:2] == "F1"}

    return dataclasses.replace(
        sums,
        scores=lambda totals: renamed(sums.scores(totals)),
        undefined=renamed(sums.undefined),
    )


def _references(
    image: CaptionedImage, boxes: PhotoBoxes
) -> list[GroundedReference]:
    """Returns the captions of an image that have phrases with boxes."""
    references = []
    for text in image.captions:
        words = words_of(text)
        objects, heads = [], set()
        for phrase in boxes.phrases(image.id, words):
            name = words[phrase.stop - 1]
            if name not in NAMELESS:
                objects.append((name, enclosing(phrase.boxes)))
                heads.add(phrase.stop - 1)
        if objects:
            others = (w for i, w in enumerate(words) if i not in heads)
            references.append(
                GroundedReference(tuple(objects), frozenset(others))
            )
    return references


def measure_references(
    captioner: Any,
    vocabulary: Vocabulary,
    cache: AnnotationCache,
    images: Sequence[CaptionedImage],
    boxes: PhotoBoxes,
    grid: tuple[int, int],
) -> MeasuredWords:
    """Measures the attention of reference captions, by teacher forcing.

    Args:
        captioner: A `Captioner` or an `Ensemble`.
        vocabulary: Its words.
        cache: The annotations of the images.
        images: The images with their captions.
        boxes: The boxes of their phrases.
        grid: Rows and columns of the attention.

    Returns:
        The figures of their phrases, by image.
    """
    attentions = _reference_attention(
        captioner, vocabulary, cache, images, grid
    )
    return measure_phrases(attentions, images, boxes)


def measure_phrases(
    attentions: Iterable[np.ndarray],
    images: Sequence[CaptionedImage],
    boxes: PhotoBoxes,
) -> MeasuredWords:
    """Measures the attention of all reference captions of images, in order.

    Returns:
        The figures of their phrases, by image.
    """
    numbered = [
        (number, boxes.phrases(image.id, words_of(text)))
        for number, image in enumerate(images)
        for text in image.captions
    ]
    numbers, phrases = zip(*numbered, strict=True)
    return measure_words(attentions, phrases).by_image(numbers, len(images))


def _reference_attention(
    captioner, vocabulary, cache, images, grid
) -> Iterator[np.ndarray]:
    """Yields the attention `(T, rows, columns)` of each caption, in order."""
    positions = [cache.position(image.id) for image in images]
    batches = evaluation_batches(cache, positions, _BATCH_SIZE)
    members = getattr(captioner, "members", (captioner,))
    for number, annotations in enumerate(batches):
        first = number * _BATCH_SIZE
        chosen = images[first : first + _BATCH_SIZE]
        captions = [[vocabulary.encode(t) for t in i.captions] for i in chosen]
        tokens = _padded(captions, _BATCH_SIZE)
        inputs = {"annotations": annotations, "tokens": tokens}
        attention = np.mean(
            [one(inputs, training=False)["attention"] for one in members],
            axis=0,
        )
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
