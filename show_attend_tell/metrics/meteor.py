"""METEOR 1.5 (Denkowski and Lavie 2014): its program, and exact matches."""

from collections.abc import Sequence

import numpy as np

from show_attend_tell.metrics.bootstrap import Sums
from show_attend_tell.metrics.external_programs import (
    Unavailable,
    pycocoevalcap_folder,
    run_java,
)
from show_attend_tell.metrics.ngrams import Matches

# For English, of the task "rank", which is the program's default: recall
# against precision, shape and weight of the penalty for fragments, content
# against function words, and exact, stem, synonym, paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])
_STATISTICS = 23


def exact_meteor(matches: Matches) -> np.ndarray:
    """Computes METEOR of exact words, all weighed alike, of each caption.

    With m matches of the P = m / l(c) and R = m / l(r) and their chunks,

        METEOR = (1 - 0.6 (chunks / m)^0.2) P R / (0.85 P + 0.15 R)

    of the reference that gives most. Chunks are taken as the matches less
    the pairs of words that match, which they are but where words come twice.
    Returns `(B,)` float64, from 0 to 1.
    """
    words = matches.shared[:, :, 0]
    chunks = np.maximum(words - matches.shared[:, :, 1], 1)
    # m / (0.85 l(r) + 0.15 l(c)) is the mean of P and R.
    lengths = (
        _ALPHA * matches.reference_length
        + (1 - _ALPHA) * matches.length[:, None]
    )
    mean = words / np.maximum(lengths, 1)
    penalty = _GAMMA * (chunks / np.maximum(words, 1)) ** _BETA
    return np.max((1 - penalty) * mean, axis=1)


def meteor(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Computes METEOR of tokenized captions from sums of counts.

    The program aligns each caption with the reference that suits it best
    and prints 23 counts. From these the score follows as in its own
    `MeteorScorer.computeMetrics`: precision and recall of matches weighed by
    kind, their mean, less a penalty for matches that lie in many pieces.
    The score of a corpus is that of the summed counts.

    Raises:
        Unavailable: The program is not installed or does not run.
    """
    folder = pycocoevalcap_folder("meteor")
    from pycocoevalcap.meteor.meteor import METEOR_JAR

    # The bar is what separates captions in a line.
    lines = [
        " ||| ".join(
            ["SCORE", *(t.replace("|||", "") for t in (*texts, candidate))]
        )
        for candidate, texts in zip(candidates, references, strict=True)
    ]
    output = run_java(
        "METEOR",
        ["-jar", METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"],
        "".join(f"{line}\n" for line in lines),
        seconds=300 + len(lines),
        folder=folder,
    )
    try:
        counts = np.array([line.split() for line in output.splitlines()], float)
    except ValueError as error:
        raise Unavailable(f"METEOR printed no counts: {error}") from error
    if counts.shape != (len(lines), _STATISTICS):
        raise Unavailable(
            f"METEOR printed {counts.shape} counts for {len(lines)} captions"
        )
    return Sums(_sums(counts), _scores)


def _sums(counts: np.ndarray) -> np.ndarray:
    """Returns what the program adds up over captions, `(images, 6)`."""
    length, function = counts[:, 0:2], counts[:, 2:4]
    # Stage, content and function words; of candidate and reference.
    matches = counts[:, 4:20].reshape(-1, 4, 2, 2)
    kinds = np.array([_DELTA, 1 - _DELTA])
    matched = np.einsum("nskr,s,k->nr", matches, _STAGES, kinds)
    weight = _DELTA * (length - function) + (1 - _DELTA) * function
    chunks, words = counts[:, 20], counts[:, 21:23].mean(axis=1)
    # A caption that matches from end to end is not in pieces.
    complete = (matches.sum(axis=(1, 2)) == length).all(axis=1) & (chunks == 1)
    chunks = np.where(complete, 0, chunks)
    return np.column_stack([matched, weight, chunks, words])


def _scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(sums[..., 0:2] / sums[..., 2:4], -1, 0)
        mean = 1 / ((1 - _ALPHA) / precision + _ALPHA / recall)
        penalty = _GAMMA * (sums[..., 4] / sums[..., 5]) ** _BETA
        score = mean * (1 - penalty)
    # 0 / 0 where nothing matches.
    return {"METEOR": np.where(np.isnan(score), 0.0, np.maximum(score, 0.0))}
