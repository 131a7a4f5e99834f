"""Pixels of rendered scenes against what is in the scene."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.sources.scenes.layout import make_scene
from pipelines.sources.scenes.rendering import (
    COLOURS,
    SHAPES,
    TEXTURES,
    covered,
    encode_scene,
    render_scene,
)
from pipelines.sources.scenes.scene import Scene, Thing, overlap


def pixels(scene):
    return np.asarray(render_scene(scene)).astype(int)


def changed(scene, other):
    """Where two scenes differ, as a mask."""
    return np.abs(pixels(scene) - pixels(other)).max(axis=-1) > 0


def test_encoded_scene_is_a_png_of_the_rendered_one():
    scene = make_scene("test", 5)
    image = Image.open(io.BytesIO(encode_scene(scene)))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (224, 224))
    np.testing.assert_array_equal(np.asarray(image), pixels(scene))


@pytest.mark.parametrize("width", [48, 90])
@pytest.mark.parametrize("shape", SHAPES)
def test_box_is_where_the_thing_changes_the_picture(shape, width):
    for number, texture in enumerate(TEXTURES):
        thing = Thing(shape, "blue", texture, "small", 100, 90, width)
        mask = changed(Scene((thing,), number), Scene((), number))
        rows, columns = np.nonzero(mask)
        low, high = (columns.min(), rows.min()), (columns.max(), rows.max())
        rendered = [*low, *np.add(high, 1)]
        half = width // 2
        expected = (100 - half, 90 - half, 100 + half, 90 + half)
        assert np.abs(np.subtract(rendered, expected)).max() <= 2
        np.testing.assert_allclose(thing.box, np.divide(expected, 224))


def test_boxes_of_made_scenes_hold_their_things():
    for index in range(20):
        scene = make_scene("train", index)
        for thing in scene.things:
            rest = tuple(t for t in scene.things if t is not thing)
            without = dataclasses.replace(scene, things=rest)
            rows, columns = np.nonzero(changed(scene, without))
            left, top, right, bottom = thing.corners
            assert left <= columns.min() and columns.max() < right
            assert top <= rows.min() and rows.max() < bottom


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_plain_thing_has_its_colour(colour, shape):
    thing = Thing(shape, colour, "plain", "large", 112, 112, 96)
    scene = Scene((thing,), 3)
    inside = pixels(scene)[changed(scene, Scene((), 3))]
    names = list(COLOURS)
    distances = np.abs(
        np.median(inside, axis=0) - np.array([COLOURS[n] for n in names])
    ).sum(axis=-1)
    assert names[int(distances.argmin())] == colour


def test_textures_are_pale_marks_on_the_colour():
    for texture in ("striped", "spotted"):
        thing = Thing("cube", "blue", texture, "small", 112, 112, 48)
        inside = pixels(Scene((thing,), 0))[100:124, 92:112]
        assert 0.15 < (inside.min(axis=-1) > 200).mean() < 0.6


def test_a_later_thing_hides_an_earlier_one():
    back = Thing("cube", "red", "plain", "large", 100, 112, 90)
    front = Thing("ball", "blue", "plain", "small", 140, 112, 48)
    assert pixels(Scene((back, front)))[112, 130, 2] > 150
    assert pixels(Scene((front, back)))[112, 130, 2] < 150


def test_overlap_by_hand():
    a = Thing("ball", "red", "plain", "small", 50, 50, 40)
    b = Thing("ball", "red", "plain", "small", 80, 60, 40)
    apart = Thing("ball", "red", "plain", "small", 90, 50, 40)
    assert overlap(a, b) == overlap(b, a) == 10 * 30
    assert overlap(a, apart) == 0


def test_covered_share_agrees_with_the_pixels():
    for index, (front_shape, back_shape) in enumerate(
        [("ball", "cone"), ("star", "cube"), ("moon", "ring"), ("heart",) * 2]
    ):
        back = Thing(back_shape, "red", "plain", "large", 100, 110, 90)
        front = Thing(front_shape, "blue", "plain", "small", 140, 120, 50)
        shown = changed(Scene((back,), index), Scene((), index))
        hides = changed(Scene((front,), index), Scene((), index))
        expected = (shown & hides).sum() / shown.sum()
        assert covered(front, back) == pytest.approx(expected, abs=0.03)
        assert 0.03 < expected


def test_backgrounds_vary_and_stay_muted():
    pictures = [pixels(Scene((), seed)) for seed in range(40)]
    tints = np.array([picture.mean(axis=(0, 1)) for picture in pictures])
    assert (tints.std(axis=0) > 8).all()
    assert (np.ptp(tints, axis=1) < 80).all() and tints.min() > 100
