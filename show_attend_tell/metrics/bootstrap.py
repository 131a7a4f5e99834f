"""Bootstrap intervals: how far a score depends on the choice of images.

Images are resampled with replacement, as many as there are, and scored
(Efron and Tibshirani 1993; for BLEU Koehn 2004). A score that depends on its
images only through sums over them needs no rescoring: resampling images is
weighing the rows of a matrix.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

# Weights held at a time; with COCO's 40,504 images they would fill 300 MB.
_MAX_WEIGHTS = 2**22


@dataclasses.dataclass(frozen=True)
class Sums:
    """Scores that depend on images only through sums over them.

    Attributes:
        per_image: What is summed, `(images, k)`.
        scores: Takes sums `(..., k)` and returns scores `(...)` by name.
        undefined: By name of a score that these images do not define, why.
        is_biased: Whether resampled scores are off on average, as means over
            rare classes are, of which resampling loses some. They are shifted
            by what they are off.
    """

    per_image: np.ndarray
    scores: Callable[[np.ndarray], dict[str, np.ndarray]]
    undefined: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_biased: bool = False

    def of_all(self) -> dict[str, float | None]:
        """Returns the scores of all images together; None if undefined."""
        scores = self.scores(self.per_image.sum(axis=0))
        return {
            name: None if name in self.undefined else float(score)
            for name, score in scores.items()
        }

    def of_each(self) -> dict[str, np.ndarray]:
        """Returns the scores `(images,)` of each image."""
        return self.scores(self.per_image)


def mean_of(name: str, values: np.ndarray, undefined: str = "") -> Sums:
    """Returns the mean of a figure `(images,)` as a score.

    Args:
        name: Of the score.
        values: Of each image.
        undefined: Why the score is undefined, if it is.
    """
    values = np.asarray(values, np.float64)
    return Sums(
        np.stack([values, np.ones_like(values)], axis=-1),
        lambda sums: {name: sums[..., 0] / sums[..., 1]},
        {name: undefined} if undefined else {},
    )


def resample(
    measures: Sequence[Sums], samples: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Scores resampled images: float64 `(samples,)` by name of the score.

    The samples follow from the seed and the number of images, so that two
    systems are scored on the same ones.
    """
    per_image = np.concatenate([m.per_image for m in measures], axis=1)
    images = len(per_image)
    uniform = np.full(images, 1 / images)
    generator = np.random.default_rng(seed)
    batch = max(1, _MAX_WEIGHTS // images)
    sums = np.concatenate(
        [
            generator.multinomial(images, uniform, min(batch, samples - start))
            @ per_image
            for start in range(0, samples, batch)
        ]
    )
    ends = np.cumsum([m.per_image.shape[1] for m in measures])
    parts = np.split(sums, ends[:-1], axis=1)
    scores = {}
    for measure, part in zip(measures, parts, strict=True):
        resampled = measure.scores(part)
        if measure.is_biased:
            of_all = measure.scores(measure.per_image.sum(axis=0))
            resampled = {
                name: values + (of_all[name] - values.mean())
                for name, values in resampled.items()
            }
        scores.update(resampled)
    return scores


def interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the middle 95 % of resampled scores: low, high."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
