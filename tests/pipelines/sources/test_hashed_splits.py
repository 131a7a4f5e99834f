"""Splits of images that were given none, in sets of any size."""

import random

from pipelines.captions import CaptionedImage
from pipelines.sources.hashed_splits import hashed_split, with_hashed_splits


def split(names, given=None):
    images = [CaptionedImage(name, given, ("x",)) for name in names]
    images, moved = with_hashed_splits(images)
    return {i.id: i.split for i in images}, [image.id for image in moved]


def test_a_small_set_has_training_and_validation():
    random.seed(1)
    for count in range(2, 30):
        names = [f"{random.random()}.jpg" for _ in range(count)]
        splits, moved = split(names)
        assert {"train", "validation"} <= set(splits.values())
        assert split(names[::-1])[0] == splits
        others = {name: hashed_split(name) for name in names}
        assert {n for n in names if splits[n] != others[n]} == set(moved)
        assert len(moved) <= 2


def test_images_of_test_only():
    # ff803d0f and f3dfdc9c, see test_folder.py
    assert split(["f.jpg", "15.jpg"])[0] == {
        "f.jpg": "validation",
        "15.jpg": "train",
    }


def test_one_image_and_a_set_of_all_splits_stay():
    assert split(["f.jpg"]) == ({"f.jpg": "test"}, [])
    names = [f"{number}.jpg" for number in range(200)]
    assert split(names) == ({name: hashed_split(name) for name in names}, [])
    assert split(names[:9], "test") == (dict.fromkeys(names[:9], "test"), [])


def test_both_normalizations_of_a_name_have_one_split():
    for number in range(50):
        pair = f"\u00fc{number}.jpg", f"u\u0308{number}.jpg"
        assert hashed_split(pair[0]) == hashed_split(pair[1])
