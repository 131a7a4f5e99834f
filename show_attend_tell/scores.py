"""Corpus BLEU, as pycocoevalcap and the paper count it."""

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]

ORDERS = (1, 2, 3, 4)

# The constants that keep pycocoevalcap's fractions defined at 0 / 0. With
# them, figures are the same as its figures in every digit that is printed.
_TINY = 1e-15
_SMALL = 1e-9


def bleu(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> dict[str, float]:
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

    Args:
        candidates: One caption per image, as words. A caption may be empty:
            it adds nothing to the matches, and is paid for in length.
        references: For each image its reference captions, each as words; at
            least one per image.

    Returns:
        Fractions in [0, 1] under the keys `"BLEU-1"` to `"BLEU-4"` and
        `"BLEU-1_no_penalty"` to `"BLEU-4_no_penalty"`.

    Raises:
        ValueError: There is no candidate, the numbers of candidates and of
            images with references differ, an image has no reference, or a
            caption is a string instead of a sequence of words.
    """
    _check(candidates, references)
    matches = dict.fromkeys(ORDERS, 0)
    total = dict.fromkeys(ORDERS, 0)
    length = closest = 0
    for candidate, others in zip(candidates, references, strict=True):
        length += len(candidate)
        closest += _closest_length(len(candidate), others)
        for n in ORDERS:
            total[n] += max(0, len(candidate) - n + 1)
            matches[n] += _matches(candidate, others, n)
    ratio = (length + _TINY) / (closest + _SMALL)
    penalty = math.exp(min(0.0, 1 - 1 / ratio))
    product, plain = 1.0, {}
    for n in ORDERS:
        product *= (matches[n] + _TINY) / (total[n] + _SMALL)
        plain[f"BLEU-{n}"] = product ** (1 / n)
    return {
        **{name: score * penalty for name, score in plain.items()},
        **{f"{name}_no_penalty": score for name, score in plain.items()},
    }


def leave_one_out_bleu(
    references: Sequence[Sequence[Words]],
) -> dict[str, float]:
    """Computes what one reference scores against the others of its image.

    The k-th caption of every image is taken as the candidate and the
    image's other captions as its references; this gives one corpus BLEU for
    each k. The result is their mean over k. Where some images have more
    captions than others, each k weighs by the number of images that have a
    k-th caption. It tells how well people agree; note that a person is
    compared with one reference fewer than a model is.

    Args:
        references: For each image its reference captions, each as words.
            Images with fewer than two are left out.

    Returns:
        Fractions under the keys of `bleu`.

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
    means, weight = Counter(), 0
    for k in range(max(len(captions) for captions in groups)):
        having = [captions for captions in groups if len(captions) > k]
        scores = bleu(
            [captions[k] for captions in having],
            [[*captions[:k], *captions[k + 1 :]] for captions in having],
        )
        weight += len(having)
        for name, score in scores.items():
            means[name] += (score - means[name]) * len(having) / weight
    return dict(means)


def _ngrams(words: Words, n: int) -> Counter:
    """Counts the n-grams of a caption."""
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _matches(candidate: Words, references: Sequence[Words], n: int) -> int:
    """Counts the candidate's n-grams that the references have as well."""
    counts = _ngrams(candidate, n)
    found = dict.fromkeys(counts, 0)
    for reference in references:
        in_reference = _ngrams(reference, n)
        for ngram in counts.keys() & in_reference.keys():
            found[ngram] = max(found[ngram], in_reference[ngram])
    return sum(min(count, found[ngram]) for ngram, count in counts.items())


def _closest_length(length: int, references: Sequence[Words]) -> int:
    """Returns the reference length closest to `length`; ties: the shorter."""
    lengths = (len(reference) for reference in references)
    return min(lengths, key=lambda other: (abs(other - length), other))


def _check(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> None:
    """Refuses what `bleu` cannot score, naming the image."""
    if len(candidates) != len(references):
        raise ValueError(
            "Each candidate needs the references of its image. Received: "
            f"len(candidates)={len(candidates)}, "
            f"len(references)={len(references)}"
        )
    if not len(candidates):
        raise ValueError(
            "A corpus has at least one caption. Received: len(candidates)=0"
        )
    for index, captions in enumerate(references):
        if isinstance(captions, str) or not len(captions):
            raise ValueError(
                "Each image needs a sequence of at least one reference. "
                f"Received: references[{index}]={captions!r}"
            )
        for k, caption in enumerate(captions):
            if isinstance(caption, str):
                raise ValueError(
                    "A reference is a sequence of words, not a string. "
                    f"Received: references[{index}][{k}]={caption!r}"
                )
    for index, candidate in enumerate(candidates):
        if isinstance(candidate, str):
            raise ValueError(
                "A candidate is a sequence of words, not a string. "
                f"Received: candidates[{index}]={candidate!r}"
            )
