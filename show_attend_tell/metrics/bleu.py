"""Corpus BLEU, as pycocoevalcap and the paper count it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from show_attend_tell.metrics.ngrams import (
    ORDERS,
    Matches,
    Words,
    match_words,
)

# The constants that keep pycocoevalcap's fractions defined at 0 / 0. With
# them, figures are the same as its figures in every digit that is printed.
_TINY = 1e-15
_SMALL = 1e-9

# Lin and Och's smoothing in terms of `bleu_counts`: one more match and one
# more n-gram of each order above the first.
_ONE_MORE = np.array([0, 0, 0, 1, 1, 1, 0, 1, 1, 1])


def bleu(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> dict[str, float | None]:
    """Computes corpus BLEU-1 to BLEU-4, with and without brevity penalty.

    With `matches[n]` the candidates' n-grams that are found in the
    references (each n-gram counted at most as often as in the one reference
    that has most of it) and `total[n]` all n-grams of the candidates, both
    summed over the corpus:

        precision[n] = matches[n] / total[n]
        BLEU-N_no_penalty = (precision[1] ... precision[N]) ** (1 / N)
        BLEU-N = BLEU-N_no_penalty * min(1, exp(1 - r / c))

    where `c` is the length of all candidates, and `r` sums the length of
    the reference closest to each candidate, the shorter one on a tie. The
    paper's figures are those without the penalty; later work reports the
    others. There is no smoothing.

        >>> scores = bleu([["a", "dog"]], [[["a", "dog"], ["the", "dog"]]])
        >>> round(scores["BLEU-1"], 3)
        1.0

    Args:
        candidates: One caption per image, as words; it may be empty.
        references: For each image its reference captions, one or more, each
            as words.

    Returns:
        Fractions in [0, 1] under the keys `"BLEU-1"` to `"BLEU-4"` and
        `"BLEU-1_no_penalty"` to `"BLEU-4_no_penalty"`; None where
        `undefined_bleu` says so.

    Raises:
        ValueError: There is no candidate, the numbers of candidates and of
            images with references differ, an image has no reference, or a
            caption is a string instead of a sequence of words.
    """
    counts = bleu_counts(candidates, references).sum(axis=0)
    undefined = undefined_bleu(counts)
    return {
        name: None if name in undefined else float(score)
        for name, score in bleu_of_counts(counts).items()
    }


def undefined_bleu(counts: np.ndarray) -> dict[str, str]:
    """Returns by name of a BLEU that counts `(10,)` do not define, why."""
    return {
        f"BLEU-{n}{form}": f"no caption has {n} words"
        if n > 1
        else "no caption has a word"
        for form in ("", "_no_penalty")
        for n in ORDERS
        if not counts[5 + n]
    }


def bleu_counts(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> np.ndarray:
    """Counts for each image what `bleu` needs of it, see `counts_of_matches`.

    Sums of rows are the counts of a corpus.
    """
    _check(candidates, references)
    return counts_of_matches(match_words(candidates, references))


def counts_of_matches(matches: Matches) -> np.ndarray:
    """Returns int64 `(B, 10)`, the counts that BLEU follows from.

    These are the length of the caption, the length of the closest reference,
    the matches of each order, and the n-grams of each order.
    """
    length = matches.length[:, None]
    columns = [
        length,
        matches.closest_length[:, None],
        matches.best,
        np.maximum(length + 1 - np.array(ORDERS), 0),
    ]
    return np.concatenate(columns, axis=1).astype(np.int64)


def bleu_of_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the BLEU `(...)` of counts `(..., 10)`, under `bleu`'s keys."""
    length, closest = counts[..., 0], counts[..., 1]
    ratio = (length + _TINY) / (closest + _SMALL)
    penalty = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    precision = (counts[..., 2:6] + _TINY) / (counts[..., 6:] + _SMALL)
    product = np.cumprod(precision, axis=-1)
    plain = {f"BLEU-{n}": product[..., n - 1] ** (1 / n) for n in ORDERS}
    return {
        **{name: score * penalty for name, score in plain.items()},
        **{f"{name}_no_penalty": score for name, score in plain.items()},
    }


def smoothed_bleu(counts: np.ndarray) -> np.ndarray:
    """Computes BLEU-4 `(images,)` of single captions from their counts.

    Few captions share four words in a row with a reference, so that plain
    BLEU-4 is zero for most. As in Lin and Och (2004) one is added to the
    matches and the n-grams of the orders 2 to 4; the brevity penalty stays.
    """
    return bleu_of_counts(counts + _ONE_MORE)["BLEU-4"]


def leave_one_out_bleu(
    references: Sequence[Sequence[Words]],
) -> dict[str, float | None]:
    """Computes what one reference scores against the others of its image.

    The k-th caption of every image is taken as the candidate and the
    image's other captions as its references; this gives one corpus BLEU for
    each k. The result is their mean over k, weighed by the number of images
    that have a k-th caption. It measures how well people agree; note that a
    person is compared with one reference fewer than a model is.

    Args:
        references: For each image its reference captions, each as words.
            Images with fewer than two are left out.

    Returns:
        Fractions under the keys of `bleu`; None where it has none.

    Raises:
        ValueError: No image has two captions, or a caption is a string
            instead of a sequence of words.
    """
    groups = [captions for captions in references if len(captions) >= 2]
    if not groups:
        raise ValueError(
            "At least one image must have two reference captions or more. "
            f"Received: {len(references)} images, each with fewer than two"
        )
    means, weights = {}, Counter()
    for k in range(max(len(captions) for captions in groups)):
        having = [captions for captions in groups if len(captions) > k]
        scores = bleu(
            [captions[k] for captions in having],
            [[*captions[:k], *captions[k + 1 :]] for captions in having],
        )
        for name, score in scores.items():
            mean = means.setdefault(name, None)
            if score is None:
                continue
            weights[name] += len(having)
            mean = mean or 0.0
            share = len(having) / weights[name]
            means[name] = mean + (score - mean) * share
    return means


def _check(candidates, references) -> None:
    """Refuses what cannot be scored, naming the image."""
    if not 0 < len(candidates) == len(references):
        raise ValueError(
            "Expected one candidate or more, and references for each. "
            f"Received: len(candidates)={len(candidates)}, "
            f"len(references)={len(references)}"
        )
    for index, captions in enumerate(references):
        if isinstance(captions, str) or not len(captions):
            raise ValueError(
                "Each image needs a sequence of at least one reference. "
                f"Received: references[{index}]={captions!r}"
            )
    captions = {f"candidates[{i}]": c for i, c in enumerate(candidates)}
    for index, texts in enumerate(references):
        captions |= {
            f"references[{index}][{k}]": c for k, c in enumerate(texts)
        }
    for where, caption in captions.items():
        if isinstance(caption, str):
            raise ValueError(
                "A caption is a sequence of words, not a string. "
                f"Received: {where}={caption!r}"
            )
