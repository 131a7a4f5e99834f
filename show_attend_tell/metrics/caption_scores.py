"""Every score of a set of captions, with its interval."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.errors import UserError
from pipelines.words import words_of
from show_attend_tell.metrics.bleu import (
    bleu_counts,
    bleu_of_counts,
    smoothed_bleu,
    undefined_bleu,
)
from show_attend_tell.metrics.bootstrap import Sums, interval, mean_of, resample
from show_attend_tell.metrics.cider import cider
from show_attend_tell.metrics.coco_scorers import rouge_l, spice
from show_attend_tell.metrics.external_programs import Unavailable
from show_attend_tell.metrics.meteor import meteor
from show_attend_tell.metrics.tokenization import Tokenized, tokenize

_SCORERS = {
    "METEOR": meteor,
    "ROUGE-L": rouge_l,
    "CIDEr": cider,
    "SPICE": spice,
}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The scores of captions.

    Attributes:
        ids: The images, in the order of what is per image.
        scores: Fractions by name: `"BLEU-1"` to `"BLEU-4"`, the same with
            `"_no_penalty"`, `"METEOR"`, `"ROUGE-L"`, `"CIDEr"` (up to 10),
            `"SPICE"`; `"words"`, the mean length; `"vocabulary"`, how many
            words are used; `"distinct"`, the share of captions left when
            equal ones count once and empty ones not; `"novel_captions"`, the
            share that has words and that no training caption equals. These
            four go by `words_of`, whatever the tokenizer, so that they are the
            same on every machine. None where a score is undefined.
        intervals: 95 % bootstrap intervals over images: low, high. None for
            one image, for what is undefined, and for `"vocabulary"` and
            `"distinct"`, which are no means: resampling repeats some images,
            and always counts fewer.
        per_image: `(images,)` of each image: `"BLEU-4"` (smoothed, see
            `smoothed_bleu`), `"METEOR"`, `"ROUGE-L"`, `"CIDEr"`, `"SPICE"`.
        tokenizer: `"PTB"`, pycocoevalcap's, or `"words_of"`, with which
            figures are not those of the literature.
        left_out: The reason by what could not be run: a metric, or `"PTB"`.
        undefined: The reason by what is undefined.
        wordless: How many captions, and references, have no words; they match
            nothing.
        sums: What resampling needs.
    """

    ids: tuple[int | str, ...]
    scores: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    per_image: dict[str, np.ndarray]
    tokenizer: str
    left_out: dict[str, str]
    undefined: dict[str, str]
    wordless: tuple[int, int]
    sums: tuple[Sums, ...]


@dataclasses.dataclass(frozen=True)
class Difference:
    """One score less another, with its 95 % paired bootstrap interval.

    Both are None where a score of either is undefined, the interval also where
    a score has none.
    """

    value: float | None
    interval: tuple[float, float] | None


def evaluate_captions(
    ids: Sequence[int | str],
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    training_captions: Iterable[str] | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Scores a caption of each image against its references.

    Scores equal those of pycocoevalcap's `COCOEvalCap` on the same images. A
    caption without words matches nothing. What needs Java or pycocoevalcap
    is left out where these are missing.

        >>> evaluation = evaluate_captions(
        ...     [42], ["a dog runs"], [["A dog runs.", "The dog is running."]]
        ... )
        >>> round(evaluation.scores["BLEU-1"], 3)
        1.0

    Args:
        ids: The images.
        candidates: The caption of each.
        references: One or more references of each.
        training_captions: Those of training, for `"novel_captions"`.
        samples: How often images are resampled for the intervals.
        seed: Of the samples.

    Raises:
        ValueError: The three are not of the same length, empty, or an image
            has no reference.
        UserError: No reference has any word.
    """
    texts = _tokenize(ids, candidates, references)
    sums, per_image, left_out = _measure(texts)
    words = [tuple(words_of(text)) for text in candidates]
    sums.append(mean_of("words", [len(caption) for caption in words]))
    scores, undefined = {}, {}
    for measure in sums:
        scores.update(measure.of_all())
        undefined.update(measure.undefined)
    scores |= _diversity(words)
    if training_captions is not None:
        trained = {(), *(tuple(words_of(text)) for text in training_captions)}
        novel = [caption not in trained for caption in words]
        sums.append(mean_of("novel_captions", novel))
        scores.update(sums[-1].of_all())
    resampled = resample(sums, samples, seed) if len(ids) > 1 else {}
    return Evaluation(
        tuple(ids),
        scores,
        {k: interval(v) for k, v in resampled.items() if k not in undefined},
        per_image,
        texts.tokenizer,
        left_out,
        undefined,
        (
            texts.candidates.count(""),
            sum(image.count("") for image in texts.references),
        ),
        tuple(sums),
    )


def _measure(texts: Tokenized):
    """Returns the scorers' sums, scores of each image, and what is left out."""
    counts = bleu_counts(
        [text.split() for text in texts.candidates],
        [[text.split() for text in image] for image in texts.references],
    )
    undefined = undefined_bleu(counts.sum(axis=0))
    sums = [Sums(counts, bleu_of_counts, undefined)]
    per_image = {"BLEU-4": smoothed_bleu(counts)}
    left_out = {"PTB": texts.reason} if texts.reason else {}
    for name, scorer in _SCORERS.items():
        try:
            measure = scorer(texts.candidates, texts.references)
        except Unavailable as error:
            left_out[name] = str(error)
        else:
            sums.append(measure)
            if not measure.undefined:
                per_image.update(measure.of_each())
    return sums, per_image, left_out


def _diversity(captions: Sequence[tuple[str, ...]]) -> dict[str, float]:
    """Returns how many words there are, and the share of distinct captions."""
    return {
        "vocabulary": len({word for words in captions for word in words}),
        "distinct": len({*captions} - {()}) / len(captions),
    }


def _tokenize(ids, candidates, references) -> Tokenized:
    """Tokenizes captions, once they are known to be complete."""
    if not len(ids) == len(candidates) == len(references):
        raise ValueError(
            "Expected a caption and references for each image. Received: "
            f"{len(ids)} ids, {len(candidates)} captions, "
            f"{len(references)} sets of references"
        )
    if not len(ids) or not all(len(image) for image in references):
        raise ValueError(
            "Expected one image or more, each with a reference or more. "
            f"Received: {len(ids)} images, of which "
            f"{sum(not len(image) for image in references)} have none"
        )
    texts = tokenize(candidates, references)
    if not any(text for image in texts.references for text in image):
        raise UserError(
            "Expected references with words. Received: no word in any, by "
            f"the tokenizer {texts.tokenizer}"
        )
    return texts


def compare(
    first: Evaluation, second: Evaluation, samples: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """Returns how much better the first is than the second, score by score.

    Both are scored on the same samples of images (a paired bootstrap), so
    that images which are hard for both do not widen the intervals. The images
    may be in any order.

    Raises:
        UserError: The images or the tokenizers differ.
    """
    check_same_images(first.ids, second.ids)
    if first.tokenizer != second.tokenizer:
        raise UserError(
            "Expected the same tokenizer for both; score them again. "
            f"Received: {first.tokenizer} and {second.tokenizer}"
        )
    index = {id: i for i, id in enumerate(second.ids)}
    order = [index[id] for id in first.ids]
    same_order = [
        dataclasses.replace(sums, per_image=sums.per_image[order])
        for sums in second.sums
    ]
    ours = resample(first.sums, samples, seed)
    theirs = resample(same_order, samples, seed)
    differences = {}
    for name, score in first.scores.items():
        if name not in second.scores:
            continue
        if score is None or second.scores[name] is None:
            differences[name] = Difference(None, None)
            continue
        both = name in first.intervals and name in second.intervals
        differences[name] = Difference(
            score - second.scores[name],
            interval(ours[name] - theirs[name]) if both else None,
        )
    return differences


def check_same_images(
    first: Sequence[int | str], second: Sequence[int | str]
) -> None:
    """Raises a UserError unless two systems captioned the same images."""
    here, there = set(first), set(second)
    if here != there:
        example = next(i for i in (*first, *second) if i in here ^ there)
        raise UserError(
            "Expected captions of the same images to compare. Received: "
            f"{len(here - there)} images only in the first and "
            f"{len(there - here)} only in the second, such as {example!r}"
        )
