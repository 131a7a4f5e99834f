"""COCO's annotation JSON, by hand-made fixtures."""

import json

import pytest

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.sources import load_source


def _write(path, images, captions):
    path.parent.mkdir(exist_ok=True)
    content = {
        "info": {},
        "images": [
            {"id": key, "file_name": name} for key, name in images.items()
        ],
        "annotations": [
            {"image_id": key, "id": number, "caption": text}
            for number, (key, text) in enumerate(captions)
        ],
    }
    path.write_text(json.dumps(content))


@pytest.fixture
def coco(tmp_path, write_images):
    """COCO 2014 with two images for training and one for validation."""
    write_images(tmp_path, "train2014/1.jpg", "train2014/2.jpg")
    write_images(tmp_path, "val2014/3.jpg")
    _write(
        tmp_path / "annotations" / "captions_train2014.json",
        {11: "1.jpg", 12: "2.jpg"},
        [(12, "Two .\n"), (11, "One ."), (12, "2 .")],
    )
    _write(
        tmp_path / "annotations" / "captions_val2014.json",
        {13: "3.jpg"},
        [(13, "Three .")],
    )
    return tmp_path


def _brief(source):
    return [(image.id, image.split, image.captions) for image in source.images]


THREE = [
    ("1.jpg", "train", ("One .",)),
    ("2.jpg", "train", ("Two .", "2 .")),
    ("3.jpg", "validation", ("Three .",)),
]


def test_as_distributed(coco):
    source = load_source("coco", str(coco))
    assert source.name == "coco"
    assert _brief(source) == THREE
    assert source.skipped == ()
    assert source.images[2].path == str(coco / "val2014" / "3.jpg")


def test_other_image_folders(coco):
    (coco / "images").mkdir()
    for part in ("train2014", "val2014"):
        (coco / part).rename(coco / "images" / part)
    assert _brief(load_source("coco", str(coco))) == THREE
    for path in coco.glob("images/*/*.jpg"):
        path.rename(coco / "images" / path.name)
        if not list(path.parent.iterdir()):
            path.parent.rmdir()
    assert _brief(load_source("coco", str(coco))) == THREE


def test_either_year(coco, write_images):
    write_images(coco, "train2017/9.jpg")
    path = coco / "annotations" / "captions_train2017.json"
    _write(path, {9: "9.jpg"}, [(9, "Nine .")])
    nine = [("9.jpg", "train", ("Nine .",))]
    assert _brief(load_source("coco", str(coco))) == THREE
    assert _brief(load_source("coco", str(coco), year=2017)) == nine
    for name in ("captions_train2014.json", "captions_val2014.json"):
        (coco / "annotations" / name).unlink()
    source = load_source("coco", str(coco))
    assert _brief(source) == nine
    assert source.skipped == (
        Skipped("captions_train2017.json", "the only split here"),
    )


def test_one_file_with_its_image_folder(coco):
    source = load_source(
        "coco",
        str(coco / "val2014"),
        captions=str(coco / "annotations" / "captions_val2014.json"),
        split="val",
    )
    assert _brief(source) == [THREE[2]]
    assert source.skipped == ()


def test_each_doubtful_entry_is_named(tmp_path, write_images):
    names = {number: f"{number}.jpg" for number in range(200)}
    write_images(tmp_path, *names.values(), "bare.jpg")
    path = tmp_path / "c.json"
    captions = [(number, "x") for number in range(200)]
    captions += [(0, ""), (999, "of nothing"), (201, "of what is missing")]
    images = {**names, 200: "bare.jpg", 201: "gone.jpg", None: "0.jpg"}
    _write(path, images, [*captions, ("0x", "wrong type")])
    source = load_source("coco", str(tmp_path), captions=str(path))
    assert len(source.images) == 200
    assert source.skipped == (
        Skipped("gone.jpg", "no such image file"),
        Skipped("c.json images[202]", "no id of its own"),
        Skipped("0.jpg", "the caption is empty"),
        Skipped("c.json annotations[201]", "of an image that is not named"),
        Skipped("c.json annotations[203]", "of an image that is not named"),
        Skipped("bare.jpg", "no caption"),
    )


@pytest.mark.parametrize("content", ["[]", '{"images": []}', '{"images": 3}'])
def test_what_is_not_of_this_form_is_an_error(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(UserError, match='"annotations".*--captions=FILE'):
        load_source("coco", str(tmp_path), captions=str(path))


def test_a_folder_without_annotations(tmp_path):
    with pytest.raises(UserError, match="captions_train2014.json.*--data_dir="):
        load_source("coco", str(tmp_path))
    with pytest.raises(UserError, match="captions_train2014.json.*--data_dir="):
        load_source("coco")


@pytest.mark.parametrize(
    ("ids", "annotated"),
    [
        (("1", "2"), ("1", "2")),
        ((1, 2), ("1", "2")),
        (("1", "2"), (1, 2)),
        ((1, "2"), (1.0, 2)),
        ((1, 2), ("000001", "02")),
        (("a", "b"), ("a", "b")),
        (("01", "1"), ("01", "1")),
    ],
)
def test_ids_as_numbers_and_as_text(tmp_path, write_images, ids, annotated):
    write_images(tmp_path, "1.jpg", "2.jpg")
    path = tmp_path / "c.json"
    images = dict(zip(ids, ("1.jpg", "2.jpg"), strict=True))
    captions = zip(annotated, ("One .", "Two ."), strict=True)
    _write(path, images, list(captions))
    source = load_source("coco", str(tmp_path), captions=str(path))
    assert [image.captions for image in source.images] == [
        ("One .",),
        ("Two .",),
    ]
    assert source.skipped == ()


def test_other_files_are_named(tmp_path):
    path = tmp_path / "c.json"
    content = {"images": [], "annotations": [{"image_id": 1, "bbox": [1]}]}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="not its instances.*image_id, bbox"):
        load_source("coco", str(tmp_path), captions=str(path))
    path.write_text('[{"file": "1.jpg", "caption": "x"}]')
    with pytest.raises(UserError, match="with --dataset=folder. Received: a t"):
        load_source("coco", str(tmp_path), captions=str(path))


def test_captions_of_an_id_that_two_files_have_are_of_neither(
    tmp_path, write_images
):
    write_images(tmp_path, *(f"{number}.jpg" for number in range(13)))
    path = tmp_path / "c.json"
    _write(
        path, {n: f"{n}.jpg" for n in range(12)}, [(n, "x") for n in range(12)]
    )
    content = json.loads(path.read_text())
    content["images"] += [
        {"id": "11", "file_name": "12.jpg"},
        {"id": 7, "file_name": "7.jpg"},  # A list that was joined twice.
    ]
    content["annotations"] += [{"image_id": 7, "caption": "y"}] * 3
    path.write_text(json.dumps(content))
    source = load_source("coco", str(tmp_path), captions=str(path))
    assert [i.id for i in source.images] == [f"{n}.jpg" for n in range(11)]
    assert source.images[7].captions == ("x", "y", "y", "y")
    assert source.skipped == (
        *(
            Skipped(f"c.json images[{n}]", "no id of its own")
            for n in (11, 12, 13)
        ),
        Skipped("c.json annotations[11]", "of an image that is not named"),
    )
