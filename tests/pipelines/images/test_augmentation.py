"""Augmentation: mild, repeatable, and never a mirrored left."""

import numpy as np
import pytest

from pipelines.images.augmentation import (
    Augmentation,
    can_mirror,
    seen_boxes,
)

SIZE = 16


def images_of(count=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.float32)


def augmented(images, step=0, mirrors=None, **kinds):
    if mirrors is None:
        mirrors = np.ones(len(images), bool)
    return np.asarray(Augmentation(**kinds)(images, mirrors, step))


@pytest.mark.parametrize(
    ("caption", "mirrors"),
    [
        ("A dog runs .", True),
        ("A bright light upright on copyright paper", True),
        ("A dog on the LEFT .", False),
        ("The leftmost dog", False),
        ("a left-handed player", False),
        ("in the top-right corner", False),
        ("on the right, a cat", False),
        ("rightmost", False),
    ],
)
def test_what_may_be_mirrored(caption, mirrors):
    assert can_mirror([caption]) == mirrors
    assert can_mirror(["a cat", caption]) == mirrors


@pytest.mark.parametrize("kind", ["crop", "flip", "colour"])
def test_all_randomness_follows_from_seed_and_step(kind):
    images = images_of(8)
    first = augmented(images, 3, **{kind: True})
    np.testing.assert_array_equal(augmented(images, 3, **{kind: True}), first)
    assert np.any(augmented(images, 4, **{kind: True}) != first)
    assert np.any(augmented(images, 3, **{kind: True}, seed=1) != first)
    assert first.min() >= 0 and first.max() <= 255
    np.testing.assert_array_equal(augmented(images), images)


def test_flip_mirrors_half_of_those_that_may_be():
    images, mirrors = images_of(4), np.array([True, False, True, False])
    flipped = np.zeros(4)
    for step in range(200):
        result = augmented(images, step, mirrors, flip=True)
        for i in range(4):
            turned = np.any(result[i] != images[i])
            expected = images[i][:, ::-1] if turned else images[i]
            np.testing.assert_array_equal(result[i], expected)
            flipped[i] += turned
    assert (flipped[[1, 3]] == 0).all()
    # Six standard deviations of a fair coin thrown 200 times.
    assert (np.abs(flipped[[0, 2]] - 100) < 43).all()


def test_crop_takes_a_box_and_resizes_it():
    # Red is the column, green the row: a crop of it says where it is.
    side = np.linspace(0, 1, SIZE, dtype=np.float32)
    image = np.stack([*np.meshgrid(side, side), np.ones((SIZE, SIZE))], -1)
    areas = []
    for step in range(100):
        (result,) = augmented(image[None].astype(np.float32), step, crop=True)
        left, right = result[0, 0, 0], result[0, -1, 0]
        top, bottom = result[0, 0, 1], result[-1, 0, 1]
        columns = left + (right - left) * side
        rows = top + (bottom - top) * side
        # The last channel is one: nothing comes from outside.
        expected = np.stack([*np.meshgrid(columns, rows), image[..., 2]], -1)
        np.testing.assert_allclose(result, expected, atol=1e-5)
        width, height = right - left, bottom - top
        assert 0.9 < width / height < 1.12
        areas.append(width * height)
    assert 0.66 < min(areas) < 0.75 and 0.95 < max(areas) <= 1


def test_windows_say_what_is_seen():
    # Red is the column, green the row: an image says where it is from.
    side = np.linspace(0, 1, SIZE, dtype=np.float32)
    image = np.stack([*np.meshgrid(side, side), np.ones((SIZE, SIZE))], -1)
    images = np.repeat(image[None].astype(np.float32), 4, axis=0)
    mirrors = np.array([True, True, False, True])
    for kinds in ({"flip": True}, {"crop": True}, {"crop": True, "flip": True}):
        for step in range(20):
            seen = augmented(images, step, mirrors, **kinds)
            windows = Augmentation(**kinds).windows(mirrors, step)
            edges = [seen[:, 0, 0, 0], seen[:, 0, 0, 1]]
            edges += [seen[:, -1, -1, 0], seen[:, -1, -1, 1]]
            np.testing.assert_allclose(windows, np.stack(edges, 1), atol=1e-5)
    windows = Augmentation(colour=True).windows(mirrors, 0)
    np.testing.assert_array_equal(windows, [[0, 0, 1, 1]] * 4)


def test_boxes_follow_crop_and_flip_by_hand():
    box = (0.25, 0.5, 0.5, 0.75)
    assert seen_boxes([box], (0.0, 0.0, 1.0, 1.0)) == [box]
    mirrored = (0.5, 0.5, 0.75, 0.75)
    assert seen_boxes([box], (1.0, 0.0, 0.0, 1.0)) == [mirrored]
    # The right half, mirrored: the box lies outside, to the right.
    assert seen_boxes([box], (1.0, 0.0, 0.5, 1.0)) == [(1.0, 0.5, 1.5, 0.75)]
    # The upper left quarter.
    assert seen_boxes([box], (0.0, 0.0, 0.5, 0.5)) == [(0.5, 1.0, 1.0, 1.5)]


def test_colour_by_hand():
    # Grey has no saturation, and an even image no contrast.
    even = np.full((1, SIZE, SIZE, 3), 100, np.float32)
    values = [augmented(even, step, colour=True) for step in range(100)]
    for result in values:
        np.testing.assert_allclose(result, result[0, 0, 0, 0], rtol=1e-5)
    means = [result.mean() for result in values]
    assert 79.9 < min(means) < 85 and 115 < max(means) < 120.1
    # Two greys keep their mean, and differ more or less: |c - 1| < 0.2.
    two = np.where(np.arange(SIZE)[None, :, None, None] % 2, 110.0, 90.0)
    two = np.broadcast_to(two, even.shape).astype(np.float32)
    ratios = []
    for step in range(100):
        result = augmented(two, step, colour=True)
        spread = result.max() - result.min()
        ratios.append(spread / result.mean() / (20 / 100))
    assert 0.79 < min(ratios) < 0.85 and 1.15 < max(ratios) < 1.21
    # A colour keeps its hue: the order of its channels.
    red = np.broadcast_to(np.float32([150, 80, 60]), even.shape)
    for step in range(20):
        pixel = augmented(red, step, colour=True)[0, 0, 0]
        assert pixel[0] > pixel[1] > pixel[2]
