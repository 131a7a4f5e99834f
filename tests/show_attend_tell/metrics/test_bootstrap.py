"""The bootstrap against plain resampling and against known intervals."""

import dataclasses
import math

import numpy as np
import pytest

from show_attend_tell.metrics import bootstrap
from show_attend_tell.metrics.bleu import bleu, bleu_counts, bleu_of_counts
from show_attend_tell.metrics.bootstrap import Sums, interval, mean_of, resample

CANDIDATES = [
    text.split()
    for text in (
        "a dog runs on grass",
        "two cats sleep on a bed",
        "a man rides a red bike down the street",
        "a dog",
        "",
    )
]
REFERENCES = [
    [text.split() for text in texts]
    for texts in (
        ("a dog runs on the grass", "the dog is running on grass"),
        ("cats sleep on a bed",),
        ("a man rides a bike down a street", "a man on a red bike", "a man"),
        ("a brown dog runs", "a dog runs fast"),
        ("nobody is there",),
    )
]


def samples_of(images: int, samples: int, seed: int) -> list[list[int]]:
    """Returns the images of each sample, with repeats."""
    weights = np.random.default_rng(seed).multinomial(
        images, np.full(images, 1 / images), samples
    )
    return [list(np.repeat(np.arange(images), times)) for times in weights]


def test_bleu_is_that_of_the_chosen_images():
    measure = Sums(bleu_counts(CANDIDATES, REFERENCES), bleu_of_counts)
    scores = resample([measure], samples=50, seed=3)
    assert len(scores) == 8
    for k, chosen in enumerate(samples_of(5, 50, seed=3)):
        expected = bleu(
            [CANDIDATES[i] for i in chosen], [REFERENCES[i] for i in chosen]
        )
        for name, score in expected.items():
            assert scores[name][k] == pytest.approx(score, abs=1e-12)


def test_means_are_those_of_the_chosen_images():
    values = np.array([0.25, 1.5, -2.0, 7.0])
    scores = resample([mean_of("a", values), mean_of("b", -values)], 20, seed=1)
    expected = [values[chosen].mean() for chosen in samples_of(4, 20, seed=1)]
    np.testing.assert_allclose(scores["a"], expected)
    np.testing.assert_allclose(scores["b"], -np.array(expected))


def test_of_all_and_of_each():
    measure = mean_of("a", [1, 2, 6])
    assert measure.of_all() == {"a": 3.0}
    np.testing.assert_array_equal(measure.of_each()["a"], [1, 2, 6])


def test_samples_do_not_depend_on_how_many_fit_in_memory(monkeypatch):
    measure = mean_of("a", np.arange(10.0))
    complete = resample([measure], samples=100, seed=2)["a"]
    monkeypatch.setattr(bootstrap, "_MAX_WEIGHTS", 70)
    np.testing.assert_array_equal(
        resample([measure], 100, seed=2)["a"], complete
    )
    assert (resample([measure], 100, seed=3)["a"] != complete).any()


def test_interval_of_a_mean_is_that_of_theory():
    # 2,500 values with standard deviation 1: 1.96 / 50 to either side.
    values = np.random.default_rng(0).normal(size=2500)
    values = (values - values.mean()) / values.std()
    low, high = interval(resample([mean_of("a", values)], 4000)["a"])
    assert (low, high) == pytest.approx((-0.0392, 0.0392), abs=0.003)


def test_the_truth_is_covered_95_times_in_100():
    generator = np.random.default_rng(0)
    trials, covered = 400, 0
    for trial in range(trials):
        values = generator.exponential(size=100)  # Its mean is 1.
        scores = resample([mean_of("a", values)], 400, seed=trial)["a"]
        low, high = interval(scores)
        covered += low <= 1 <= high
    # Of a mean of 100 skewed values a percentile interval covers a little
    # less than 95 %; four standard errors of 400 trials are 4 %.
    error = math.sqrt(0.95 * 0.05 / trials)
    assert 0.95 - 5 * error < covered / trials < 0.95 + 4 * error


def test_one_image_leaves_no_doubt():
    assert interval(resample([mean_of("a", [0.5])], 10)["a"]) == (0.5, 0.5)


def test_what_resampling_is_off_is_taken_away():
    # Twenty classes of one image each: a sample lacks 1 / e of them.
    def share_of_classes(sums):
        return {"classes": (sums > 0).mean(axis=-1)}

    sums = Sums(np.eye(20), share_of_classes)
    lost = resample([sums])["classes"]
    assert lost.mean() == pytest.approx(1 - (1 - 1 / 20) ** 20, abs=0.01)
    shifted = resample([dataclasses.replace(sums, is_biased=True)])["classes"]
    np.testing.assert_allclose(shifted - lost, 1 - lost.mean())
