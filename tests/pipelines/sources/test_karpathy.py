"""Karpathy's split JSON, by hand-made fixtures."""

import json

import pytest

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.sources import load_source


def _image(name, split="train", *texts, **more):
    sentences = [{"raw": text, "tokens": text.split()} for text in texts]
    return {"filename": name, "split": split, "sentences": sentences, **more}


@pytest.fixture
def load(tmp_path):
    def load(images, content=None):
        path = tmp_path / "dataset_coco.json"
        content = {"images": images, "dataset": "coco"}
        path.write_text(json.dumps(content))
        return load_source("karpathy", str(tmp_path / "photos"), str(path))

    return load


def test_splits_captions_and_paths(tmp_path, write_images, load):
    photos = tmp_path / "photos"
    write_images(photos, "val2014/1.jpg", "2.jpg", "train2014/3.jpg", "4.jpg")
    source = load(
        [
            _image("1.jpg", "test", "One .", filepath="val2014", cocoid=1),
            _image("2.jpg", "val", "Two .", "2 .", filepath="val2014"),
            _image("3.jpg", "restval", "Three .", filepath="train2014"),
            _image("4.jpg", "train", "Four .", imgid=4),
        ]
    )
    assert source.name == "karpathy"
    assert [
        (image.id, image.split, image.captions, image.path)
        for image in source.images
    ] == [
        ("val2014/1.jpg", "test", ("One .",), str(photos / "val2014/1.jpg")),
        ("2.jpg", "validation", ("Two .", "2 ."), str(photos / "2.jpg")),
        (
            *("train2014/3.jpg", "train", ("Three .",)),
            str(photos / "train2014" / "3.jpg"),
        ),
        ("4.jpg", "train", ("Four .",), str(photos / "4.jpg")),
    ]
    assert source.skipped == ()


def test_tokens_stand_in_for_a_missing_raw(tmp_path, write_images, load):
    write_images(tmp_path / "photos", "1.jpg")
    image = _image("1.jpg")
    image["sentences"] = [{"tokens": ["a", "dog"]}]
    assert load([image]).images[0].captions == ("a dog",)


def test_each_doubtful_entry_is_named(tmp_path, write_images, load):
    names = [f"{number}.jpg" for number in range(400)]
    write_images(tmp_path / "photos", *names, "bare.jpg", "split.jpg")
    write_images(tmp_path, "secret.jpg")
    outside = "the name leads out of the image folder"
    doubtful = {
        # name: (image, reason)
        "gone.jpg": (_image("gone.jpg", "train", "x"), "no such image file"),
        "bare.jpg": (_image("bare.jpg"), "no caption"),
        "split.jpg": (_image("split.jpg", "../x", "x"), "no split"),
        "0.jpg": (
            _image("0.jpg", "test", "leaked"),
            "named in train and again in test; the first counts",
        ),
        "../secret.jpg": (_image("../secret.jpg", "train", "x"), outside),
        "None": ({"split": "train"}, "not a name of an image"),
        "images[406]": ("a string", "not an object"),
    }
    images = [_image(name, "train", "x") for name in names]
    source = load(images + [image for image, _ in doubtful.values()])
    assert [image.id for image in source.images] == names
    assert source.images[0].captions == ("x",)  # not also "leaked"
    assert set(source.skipped) == {
        Skipped(name, reason) for name, (_, reason) in doubtful.items()
    }
    assert len(source.skipped) == 7


def test_a_filepath_cannot_lead_out(tmp_path, write_images, load):
    write_images(tmp_path, "secret.jpg", "photos/1.jpg")
    images = [
        _image("1.jpg", "train", "x"),
        _image("secret.jpg", "train", "x", filepath=".."),
    ]
    with pytest.raises(
        UserError, match="1 of 2, first ../secret.jpg: the name leads"
    ):
        load(images)


def test_what_is_not_of_this_form_is_an_error(tmp_path, load):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match='"images".*--captions=.*dict'):
        load({"a": 1})
    with pytest.raises(UserError, match="name none"):
        load([])


def test_flags_that_are_missing(tmp_path):
    with pytest.raises(UserError, match="--data_dir="):
        load_source("karpathy", captions="dataset_coco.json")
    with pytest.raises(UserError, match="--captions=dataset_coco.json"):
        load_source("karpathy", str(tmp_path))
    with pytest.raises(UserError, match="no.json"):
        load_source("karpathy", str(tmp_path), str(tmp_path / "no.json"))


def test_the_same_name_in_two_folders(tmp_path, write_images, load):
    images = [
        _image("1.jpg", "train", "A dog.", filepath="a"),
        _image("1.jpg", "val", "A cat.", filepath="b"),
        _image("2.jpg", "val", "A bird.", filepath=""),
    ]
    write_images(tmp_path / "photos", "a/1.jpg", "b/1.jpg", "2.jpg")
    source = load(images)
    assert [(i.id, i.split, i.captions) for i in source.images] == [
        ("a/1.jpg", "train", ("A dog.",)),
        ("b/1.jpg", "validation", ("A cat.",)),
        ("2.jpg", "validation", ("A bird.",)),
    ]
    # One file without its folder could be either.
    for name in ("a", "b"):
        (tmp_path / "photos" / name / "1.jpg").unlink()
    write_images(tmp_path / "photos", "1.jpg")
    with pytest.raises(UserError, match=r"2 of 3.*not in a/: take that out"):
        load(images)


def test_a_list_of_images_is_read_and_another_form_named(
    tmp_path, write_images, load
):
    write_images(tmp_path / "photos", "1.jpg")
    path = tmp_path / "list.json"
    path.write_text(json.dumps([_image("1.jpg", "train", "A dog.")]))
    source = load_source("karpathy", str(tmp_path / "photos"), str(path))
    assert source.images[0].captions == ("A dog.",)
    path.write_text('{"images": [], "annotations": []}')
    with pytest.raises(UserError, match="with --dataset=coco. Received: COCO"):
        load_source("karpathy", str(tmp_path / "photos"), str(path))
