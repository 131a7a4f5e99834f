"""Which references belong to which prediction."""

import pytest

from pipelines.errors import UserError
from show_attend_tell.metrics.pairing import pair
from show_attend_tell.metrics.reference_files import (
    ReferenceImage,
    References,
    read_references,
)

DOGS, CAT, BIRD = ("A dog.", "A brown dog."), ("A cat.",), ("A bird.",)
COCO_NAME = "COCO_val2014_{:012d}.jpg"


def coco_image(number, captions, **names):
    names = {"id": number, "file name": COCO_NAME.format(number), **names}
    return ReferenceImage(names, captions)


COCO = [coco_image(42, DOGS), coco_image(7, CAT), coco_image(9, BIRD)]
FLICKR = [
    ReferenceImage({"file name": "10_a.jpg"}, DOGS),
    ReferenceImage({"file name": "20_b.jpg"}, CAT),
]
KARPATHY = [
    ReferenceImage({**image.names, "imgid": k}, image.captions, split)
    for k, (image, split) in enumerate(
        zip(COCO, ("test", "test", "train"), strict=True)
    )
]


def paired(images, *ids, split=None):
    references = References("truth", tuple(images), split)
    predictions = {id: f"caption {k}" for k, id in enumerate(ids)}
    return pair(predictions, "predictions.json", references)


@pytest.mark.parametrize(
    ("images", "ids", "way"),
    [
        (COCO, (42, 7), "id"),
        (COCO, ("42", "7"), "id"),
        (COCO, [COCO_NAME.format(n) for n in (42, 7)], "file name"),
        (
            COCO,
            ("val2014/COCO_val2014_000000000042", "COCO_val2014_000000000007"),
            "file name without folder and ending",
        ),
        (COCO, ("42.jpg", "7.png"), "number in the id"),
        (COCO, ("000000000042.jpg", "000000000007"), "number in the id"),
        (FLICKR, ("10_a.jpg", "20_b.jpg"), "file name"),
        (FLICKR, ("10_a", "20_b"), "file name without folder and ending"),
        (KARPATHY, (42, 7), "id"),
        (KARPATHY, (0, 1), "imgid"),
    ],
)
def test_ways_to_compare(images, ids, way):
    pairs = paired(images, *ids)
    assert pairs.matched_by == way
    assert pairs.ids == tuple(image.name for image in images[:2])
    assert pairs.candidates == ("caption 0", "caption 1")
    assert pairs.references == (DOGS, CAT)
    assert pairs.unpredicted == len(images) - 2
    assert pairs.warnings == ()


def test_coco_without_a_list_of_images(tmp_path):
    path = tmp_path / "truth.json"
    path.write_text(
        '{"annotations": [{"image_id": 42, "caption": "A dog."}, '
        '{"image_id": 7, "caption": "A cat."}]}'
    )
    pairs = pair({7: "a"}, "predictions.json", read_references(str(path)))
    assert (pairs.ids, pairs.references) == ((7,), (CAT,))
    assert pairs.matched_by == "id"


def test_a_file_name_goes_before_a_position():
    images = [
        ReferenceImage({"file name": "100.jpg", "imgid": 5}, DOGS),
        ReferenceImage({"file name": "5.jpg", "imgid": 100}, CAT),
    ]
    assert paired(images, 100, 5).ids == ("100.jpg", "5.jpg")


def test_a_split_predicted_in_part_is_a_warning():
    (warning,) = paired(KARPATHY, 42).warnings
    assert "1 of the 2 images of the split test" in warning
    with pytest.raises(UserError, match="in the split test.*image_id 9"):
        paired(KARPATHY[:2], 9, split="test")


def test_numbers_are_the_last_resort():
    images = [
        ReferenceImage({"id": "x", "file name": "0042.jpg"}, DOGS),
        ReferenceImage({"id": "y", "file name": "042.jpg"}, CAT),
    ]
    assert paired(images, "0042").ids == ("x",)
    # 42 could be either.
    with pytest.raises(UserError, match="several images.*image_id 42"):
        paired(images, 42)


def test_no_file_is_matched_half_by_one_way_and_half_by_another():
    # 42 and 7 are cocoids, 2 is an imgid.
    with pytest.raises(UserError) as caught:
        paired(KARPATHY, 42, 7, 2)
    assert "predictions.json[2] (image_id 2)" in str(caught.value)
    assert "the first of 1 of 3, comparing by id" in str(caught.value)


@pytest.mark.parametrize(
    ("images", "ids", "message"),
    [
        (COCO, (42, 8), r"s\.json\[1\] \(image_id 8\), the first of 1 of 2"),
        (FLICKR, ("10_a.jpg", "10_a.jpg#0"), r"\[1\]"),
        (
            FLICKR,
            ("10_a", "10_a.png"),
            r"\[1\] \(image_id '10_a.png'\) is the image of \[0\]",
        ),
    ],
)
def test_predictions_without_references(images, ids, message):
    with pytest.raises(UserError, match=message):
        paired(images, *ids)


@pytest.mark.parametrize(
    ("listed", "predicted", "way"),
    [
        ("Gr\u00fcn.jpg", "Gru\u0308n.jpg", "file name"),
        ("a/b.jpg", ".\\a\\b.jpg", "file name"),
        ("a/b.jpg", "b.tiff", "file name without folder and ending"),
        ("b.JPG", "B.jpg", "file name without folder, ending and case"),
    ],
)
def test_spellings_of_a_name(listed, predicted, way):
    images = [ReferenceImage({"file name": listed}, DOGS)]
    assert paired(images, predicted).matched_by == way


def test_one_name_in_two_folders():
    images = [
        ReferenceImage({"file name": "a/000.jpg"}, DOGS),
        ReferenceImage({"file name": "b/000.jpg"}, CAT),
    ]
    assert paired(images, "b/000.jpg", "a/000.jpg").references == (CAT, DOGS)
    with pytest.raises(UserError, match="several images.*image_id '000.jpg'"):
        paired(images, "000.jpg")


def test_images_without_references_are_left_out():
    images = [*COCO[:2], coco_image(9, ()), coco_image(11, ())]
    result = paired(images, 9, 7)
    assert (result.ids, result.candidates) == ((7,), ("caption 1",))
    assert (result.references, result.unpredicted) == ((CAT,), 1)
    (warning,) = result.warnings
    assert warning.startswith("1 predicted images are left out")
    assert warning.endswith("such as 9")
    with pytest.raises(UserError, match="none for predictions.json.*9"):
        paired(images, 9, 11)
