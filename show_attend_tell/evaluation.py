"""How good captions are: scores of a split."""

from collections.abc import Sequence

from pipelines.batches import evaluation_batches
from pipelines.captions import CaptionedImage
from pipelines.features import AnnotationCache
from pipelines.vocabulary import words_of
from show_attend_tell.captioning import Caption, Speaker
from show_attend_tell.decoding import Decoding
from show_attend_tell.scores import bleu, leave_one_out_bleu
from show_attend_tell.truth import measure_truth


def caption_split(
    speaker: Speaker,
    cache: AnnotationCache,
    images: Sequence[CaptionedImage],
    decoding: Decoding,
    batch_size: int = 50,
    verbose: bool = True,
) -> list[Caption]:
    """Captions images from their cached annotations, in order."""
    batches = evaluation_batches(
        cache, [cache.position(image.id) for image in images], batch_size
    )
    return speaker.all_captions(batches, len(images), decoding, verbose)


def score(
    captions: Sequence[Caption],
    images: Sequence[CaptionedImage],
    grid: tuple[int, int],
    scenes: bool,
) -> dict[str, float]:
    """Returns the scores of captions against all references of each image.

    Args:
        captions: One for each image.
        images: With their references.
        grid: Rows and columns of the locations.
        scenes: Whether the images are drawn scenes, whose captions can be
            checked.

    Returns:
        `BLEU-1` to `BLEU-4`, and without brevity penalty; `words`, the mean
        length; `distinct`, the share of captions that differ; and of scenes
        what `measure_truth` gives.
    """
    references = _references(images)
    scores = bleu([caption.words for caption in captions], references)
    words = sum(len(caption.words) for caption in captions)
    scores["words"] = words / len(captions)
    scores["distinct"] = len({c.words for c in captions}) / len(captions)
    if scenes:
        scores.update(measure_truth(captions, images, grid))
    return scores


def reference_bleu(images: Sequence[CaptionedImage]) -> float | None:
    """Returns the BLEU-4 of one reference against the others.

    `None` where no image has two references.
    """
    references = [r for r in _references(images) if len(r) > 1]
    return leave_one_out_bleu(references)["BLEU-4"] if references else None


def _references(images):
    return [[words_of(text) for text in image.captions] for image in images]
