"""CIDEr-D (Vedantam et al. 2015), as pycocoevalcap computes it."""

from collections.abc import Sequence

import numpy as np

from show_attend_tell.metrics.bootstrap import Sums, mean_of
from show_attend_tell.metrics.ngrams import Matches, match_words

# Of the Gaussian that compares lengths, and what the mean is multiplied by.
_SIGMA = 6.0
_SCALE = 10.0


def cider_d(matches: Matches) -> np.ndarray:
    """Computes the CIDEr-D of each caption.

    With `g(c)` the counts of a caption's n-grams, each times the log of the
    share of images that have it, negative,

        CIDEr-D_n = 10 / m sum_j exp(-(l(c) - l(r_j))^2 / (2 6^2))
                    min(g(c), g(r_j)) . g(r_j) / (|g(c)| |g(r_j)|)

    and CIDEr-D is the mean over n = 1 to 4. Lengths `l` are counted in pairs
    of words, as pycocoevalcap does. Returns `(B,)` float64, from 0 to 10.
    """
    norms = matches.norm[:, None] * matches.reference_norm
    # Where a norm is zero, so is the product.
    cosine = matches.product / np.where(norms > 0, norms, 1.0)
    pairs = np.maximum(matches.length - 1, 0)[:, None]
    apart = pairs - np.maximum(matches.reference_length - 1, 0)
    likeness = np.e ** (-(apart**2) / (2 * _SIGMA**2))
    total = np.sum(cosine * likeness[:, :, None], axis=1).mean(axis=-1)
    return total / matches.reference_count * _SCALE


def cider(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Computes CIDEr-D of tokenized captions; the corpus has the mean.

    How rare words are is counted over the references given, and stays as it
    is when images are resampled. The highest score is 10, and 1 is what the
    literature prints as 1.0 or 100.
    """
    matches = match_words(
        [text.split() for text in candidates],
        [[text.split() for text in texts] for texts in references],
    )
    return mean_of("CIDEr", cider_d(matches), undefined_cider(matches))


def undefined_cider(matches: Matches) -> str:
    """Returns why CIDEr-D of images is undefined; empty if it is defined."""
    if matches.reference_norm.any():
        return ""
    return (
        "it weighs words by how few images have them, and all images have the "
        "same words"
        if len(matches.length) > 1
        else "it weighs words by how few images have them, and there is one"
    )
