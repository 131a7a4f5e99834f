"""Bootstrap intervals: how far a score depends on which images were there.

Images are drawn again with replacement, as many as there are, and scored
(Efron and Tibshirani 1993; for BLEU Koehn 2004). A score that depends on its
images only through sums over them needs no rescoring: drawing images is
weighing the rows of a matrix.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

# Weights held at a time; with COCO's 40,504 images they would fill 300 MB.
_MOST_WEIGHTS = 2**22


@dataclasses.dataclass(frozen=True)
class Sums:
    """Scores that depend on images only through sums over them.

    Attributes:
        per_image: What is summed, `(images, k)`.
        scores: Takes sums `(..., k)` and returns scores `(...)` by name.
    """

    per_image: np.ndarray
    scores: Callable[[np.ndarray], dict[str, np.ndarray]]

    def of_all(self) -> dict[str, float]:
        """Returns the scores of all images together."""
        scores = self.scores(self.per_image.sum(axis=0))
        return {name: float(score) for name, score in scores.items()}

    def of_each(self) -> dict[str, np.ndarray]:
        """Returns the scores `(images,)` of each image alone."""
        return self.scores(self.per_image)


def mean_of(name: str, values: np.ndarray) -> Sums:
    """Returns the mean of a figure `(images,)` as a score."""
    values = np.asarray(values, np.float64)
    return Sums(
        np.stack([values, np.ones_like(values)], axis=-1),
        lambda sums: {name: sums[..., 0] / sums[..., 1]},
    )


def resample(
    measures: Sequence[Sums], samples: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Scores images drawn again and again.

    The draws follow from the seed and the number of images, so that two
    systems are scored on the same ones.

    Args:
        measures: What to score, all of the same images.
        samples: How many draws.
        seed: Chooses the draws.

    Returns:
        float64 `(samples,)` by the name of the score.
    """
    per_image = np.concatenate([m.per_image for m in measures], axis=1)
    images = len(per_image)
    chances = np.full(images, 1 / images)
    generator = np.random.default_rng(seed)
    at_once = max(1, _MOST_WEIGHTS // images)
    sums = np.concatenate(
        [
            generator.multinomial(
                images, chances, min(at_once, samples - start)
            )
            @ per_image
            for start in range(0, samples, at_once)
        ]
    )
    ends = np.cumsum([m.per_image.shape[1] for m in measures])
    scores = {}
    for measure, part in zip(
        measures, np.split(sums, ends[:-1], axis=1), strict=True
    ):
        scores.update(measure.scores(part))
    return scores


def interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the middle 95 % of resampled scores: low, high."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
