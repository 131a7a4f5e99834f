"""COCO's instances as distributed, and damaged."""

import json
import os

import pytest

from pipelines.boxes import coco_instances, load_boxes
from pipelines.boxes.coco_instances import instance_files, load_instances
from pipelines.errors import UserError

NINE = "COCO_val2014_000000000009.jpg"
TEN = "COCO_val2014_000000000010.jpg"
IMAGES = [
    {"license": 3, "file_name": NINE, "height": 200, "width": 400, "id": 9},
    {"license": 3, "file_name": TEN, "height": 100, "width": 100, "id": 10},
]
CATEGORIES = [
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "animal", "id": 18, "name": "dog"},
    {"supercategory": "food", "id": 58, "name": "hot dog"},
]


def boxed(image, category, *bbox, crowd=0):
    return {
        "segmentation": [[1.0, 2.0, 3.0, 4.0]],
        "area": 10.5,
        "iscrowd": crowd,
        "image_id": image,
        "bbox": list(bbox),
        "category_id": category,
        "id": 1,
    }


ANNOTATIONS = [
    boxed(9, 18, 100.0, 50, 100, 100),
    boxed(10, 1, 0, 0, 50, 50),
    boxed(9, 18, 300, 150.0, 100.4, 50.2),  # Out by a fraction of a pixel.
    boxed(9, 58, 20, 20, 0, 10),  # Without width.
    boxed(9, 1, 0, 0, 400, 20, crowd=1),
    boxed(11, 999, -1, -1, "x", 0),  # Of a photo that is not requested.
]
LISTS = {
    "images": IMAGES,
    "annotations": ANNOTATIONS,
    "categories": CATEGORIES,
}
DOGS = ((0.25, 0.25, 0.5, 0.75), (0.75, 0.75, 1.0, 1.0))


def test_boxes_by_category(instances):
    path = instances(IMAGES, ANNOTATIONS, CATEGORIES)
    photos, _ = load_instances([path], [NINE])
    assert list(photos) == [NINE]
    assert {
        name: (named.kind, named.boxes) for name, named in photos[NINE].items()
    } == {
        "dog": ("animal", DOGS),
        "person": ("person", ((0.0, 0.0, 1.0, 0.1),)),
    }
    # COCO's names of another year.
    images = [{**IMAGES[0], "file_name": "000000000009.jpg"}]
    path = instances(images, ANNOTATIONS, CATEGORIES)
    assert list(load_instances([path], [NINE])[0]) == [NINE]
    path = instances(IMAGES, [], CATEGORIES)
    assert load_instances([path], [NINE])[0] == {NINE: {}}


def test_lists_in_any_order(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(dict(sorted(LISTS.items()))))
    photos, _ = load_instances([str(path)], [NINE, TEN])
    assert photos[NINE]["dog"].boxes == DOGS
    assert photos[TEN]["person"].boxes == ((0.0, 0.0, 0.5, 0.5),)


def test_words_of_a_caption(instances, tmp_path, photos):
    instances(IMAGES, ANNOTATIONS, CATEGORIES)
    images = photos(**{NINE.removesuffix(".jpg"): (200, 400)})
    # The folder above `annotations`.
    boxes = load_boxes(str(tmp_path), images, 224, "crop")
    words = "two men eat a hot dog with puppies".split()
    men, puppies = boxes.groundings(NINE, words)
    assert (men.position, men.word, men.kind) == (1, "men", "person")
    assert (puppies.position, puppies.kind) == (7, "animal")
    # 200 x 400 becomes 256 x 512; the square starts at x = 144 and y = 16.
    # From 128 to 256 across, cut at 144; the second dog is out of sight.
    (box,) = puppies.boxes
    expected = (0, (64 - 16) / 224, (256 - 144) / 224, (192 - 16) / 224)
    assert box == pytest.approx(expected)


def test_files_are_read_until_every_image_has_boxes(instances, tmp_path):
    val = instances(IMAGES, ANNOTATIONS, CATEGORIES)
    train = instances(
        [{**IMAGES[0], "file_name": "c.jpg"}],
        [*ANNOTATIONS, *[boxed(9, 18, 0, 0, 40, 20)] * 50],
        CATEGORIES,
        "instances_train2014.json",
    )
    files = instance_files(str(tmp_path))
    assert files == instance_files(os.path.dirname(val)) == [val, train]
    photos, _ = load_instances(files, [NINE, "c.jpg", "nowhere.jpg"])
    assert list(photos) == [NINE, "c.jpg"]
    assert len(photos["c.jpg"]["dog"].boxes) == 52
    with open(train, "w") as file:
        file.write("damaged")
    assert list(load_instances(files, [TEN])[0]) == [TEN]
    with pytest.raises(UserError, match="instances_train2014.json"):
        load_instances(files, [TEN, "c.jpg"])


@pytest.mark.parametrize(
    "bbox",
    [[10, 10, -5, 5], [10, 10, 5, -5], [500, 10, 5, 5], [10, -20, 5, 10]]
    + [[0, 0, 10**18, 1], [0, 0, True, 1], [0, 0, "5", 1], [0, 0, 1]]
    + [{"x": 1}, None],
)
def test_impossible_boxes(instances, bbox):
    annotations = [ANNOTATIONS[0], {**ANNOTATIONS[0], "bbox": bbox}]
    path = instances(IMAGES, annotations, CATEGORIES)
    message = r"400 x 200 in .*instances_val2014.json annotations\[1\]"
    with pytest.raises(UserError, match=message):
        load_instances([path], [NINE])
    assert load_instances([path], [TEN])[0] == {TEN: {}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_numbers_that_json_or_64_bits_have_not(instances, value):
    annotations = [ANNOTATIONS[0], boxed(9, 18, 0, 0, value, 1)]
    path = instances(IMAGES, annotations, CATEGORIES)
    with pytest.raises(UserError, match=r"val2014.json.*annotations\[1\]"):
        load_instances([path], [NINE])


def changed(records, **values):
    return [records[0], {**records[1], **values}]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"images": [3]}, r"images\[0\]. Received: 3"),
        ({"images": changed(IMAGES, id="10")}, r"id in .*images\[1\]"),
        ({"images": changed(IMAGES, id=[1])}, r"id in .*images\[1\]"),
        ({"images": changed(IMAGES, width=0)}, "width=0, height=100"),
        ({"images": changed(IMAGES, height=10**7)}, "height=10000000"),
        ({"images": changed(IMAGES, height=None)}, r"height in .*images\[1\]"),
        ({"images": changed(IMAGES, width=2.5)}, r"width in .*images\[1\]"),
        ({"annotations": [[]]}, r"annotations\[0\]. Received: \[\]"),
        (
            {"annotations": changed(ANNOTATIONS, image_id=[1])},
            r"image_id in .*annotations\[1\]. Received: \[1\]",
        ),
        (
            {"annotations": changed(ANNOTATIONS, category_id=None)},
            r"category_id in .*annotations\[1\]. Received: None",
        ),
        (
            {"annotations": changed(ANNOTATIONS, category_id=7)},
            r"annotations\[1\]. Received: category_id=7",
        ),
        ({"categories": changed(CATEGORIES, name=5)}, r"categories\[1\].*=5"),
        ({"categories": changed(CATEGORIES, name="?")}, r"name='\?'"),
        ({"categories": changed(CATEGORIES, id=1.5)}, r"Received: 1.5"),
        ({"categories": []}, r"Received: \['annotations', 'images'\]"),
        ({"images": []}, r"Received: \['annotations', 'categories'\]"),
    ],
)
def test_damaged_files(instances, lists, message):
    path = instances(**{**LISTS, **lists})
    with pytest.raises(UserError, match=message):
        load_instances([path], [NINE, TEN])


def test_too_many_records(instances, monkeypatch):
    monkeypatch.setattr(coco_instances, "_MAX_RECORDS", 3)
    path = instances(IMAGES, ANNOTATIONS, CATEGORIES)
    with pytest.raises(UserError, match="at most 3 boxes"):
        load_instances([path], [NINE])


def test_captions_are_no_instances(tmp_path, photos):
    path = tmp_path / "captions.json"
    captions = [{"image_id": 9, "caption": "A dog ."}]
    path.write_text(json.dumps({"images": IMAGES, "annotations": captions}))
    with pytest.raises(UserError, match="category_id|instances_val2014.json"):
        load_instances([str(path)], [NINE])


def test_neither_of_the_two(tmp_path, photos):
    with pytest.raises(UserError, match="Annotations/ and Sentences/.*--boxes"):
        load_boxes(str(tmp_path / "none"), photos(a=(9, 9)), 224, "crop")


def test_a_photo_that_is_gone(instances, tmp_path, photos):
    path = instances(IMAGES, ANNOTATIONS, CATEGORIES)
    images = photos(**{NINE.removesuffix(".jpg"): (200, 400)})
    os.remove(images[0].path)
    assert len(load_boxes(path, images, 224, "squash")) == 1
    with pytest.raises(UserError, match=f"cannot read the photo {NINE}"):
        load_boxes(path, images, 224, "crop")
