"""References of three kinds, and which prediction they belong to."""

import json

import pytest

from pipelines.errors import UserError
from show_attend_tell.metrics.pairing import pair
from show_attend_tell.metrics.reference_files import read_references

COCO = {
    "images": [
        {"id": 42, "file_name": "COCO_val2014_000000000042.jpg"},
        {"id": 7, "file_name": "COCO_val2014_000000000007.jpg"},
        {"id": 9, "file_name": "COCO_val2014_000000000009.jpg"},
    ],
    "annotations": [
        {"image_id": 7, "id": 1, "caption": "A cat."},
        {"image_id": 42, "id": 2, "caption": "A dog."},
        {"image_id": 42, "id": 3, "caption": "A brown dog\nruns."},
        {"image_id": 9, "id": 4, "caption": "A bird."},
    ],
}
FLICKR = (
    "10_a.jpg#0\tA dog .\r\n10_a.jpg#1\tA brown\u2028dog .\r\n\r\n"
    "20_b.jpg#0\tA\tcat .\n"
)
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "cocoid": 42,
            "filename": "COCO_val2014_000000000042.jpg",
            "filepath": "val2014",
            "imgid": 0,
            "split": "test",
            "sentences": [{"raw": "A dog."}, {"tokens": ["a", "brown", "dog"]}],
        },
        {
            "cocoid": 7,
            "filename": "COCO_val2014_000000000007.jpg",
            "imgid": 1,
            "split": "test",
            "sentences": [{"raw": "A cat.", "tokens": ["cat"]}],
        },
        {
            "cocoid": 9,
            "filename": "COCO_train2014_000000000009.jpg",
            "imgid": 2,
            "split": "restval",
            "sentences": [{"raw": "A bird."}],
        },
    ],
}
DOG_AND_CAT = (("A dog.", "A brown dog\nruns."), ("A cat.",))


@pytest.fixture
def write(tmp_path):
    def write(content) -> str:
        path = tmp_path / "truth"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(text.encode())
        return str(path)

    return write


@pytest.fixture
def paired(write):
    def paired(content, *ids, split=None):
        references = read_references(write(content), split)
        said = {id: f"caption {k}" for k, id in enumerate(ids)}
        return pair(said, "said.json", references)

    return paired


@pytest.mark.parametrize(
    ("ids", "by"),
    [
        ((42, 7), "id"),
        (("42", "7"), "id"),
        (
            ("COCO_val2014_000000000042.jpg", "COCO_val2014_000000000007.jpg"),
            "file name",
        ),
        (
            ("val2014/COCO_val2014_000000000042", "COCO_val2014_000000000007"),
            "file name without folder and ending",
        ),
        (("42.jpg", "7.png"), "number in the id"),
        (("000000000042.jpg", "000000000007"), "number in the id"),
    ],
)
def test_coco(paired, ids, by):
    found = paired(COCO, *ids)
    assert found.matched_by == by
    assert found.ids == (42, 7)
    assert found.candidates == ("caption 0", "caption 1")
    assert found.references == DOG_AND_CAT
    assert found.unpredicted == 1
    assert found.warnings == ()


def test_coco_without_a_list_of_images(paired):
    content = {"annotations": COCO["annotations"]}
    assert paired(content, 42, 7).references == DOG_AND_CAT


@pytest.mark.parametrize(
    ("ids", "by"),
    [
        (("20_b.jpg", "10_a.jpg"), "file name"),
        (("20_b", "10_a"), "file name without folder and ending"),
    ],
)
def test_flickr(paired, ids, by):
    found = paired(FLICKR, *ids)
    assert found.matched_by == by
    assert found.ids == ("20_b.jpg", "10_a.jpg")
    assert found.references == (
        ("A\tcat .",),
        ("A dog .", "A brown\u2028dog ."),
    )
    assert found.unpredicted == 0


@pytest.mark.parametrize(
    ("ids", "by"),
    [
        ((7, 42), "id"),
        ((1, 0), "imgid"),
        (("COCO_val2014_000000000007", "COCO_val2014_000000000042"), None),
    ],
)
def test_karpathy(paired, ids, by):
    found = paired(KARPATHY, *ids)
    assert by in (None, found.matched_by)
    assert found.ids == (7, 42)
    assert found.references == (("A cat.",), ("A dog.", "a brown dog"))
    assert found.warnings == ()


def test_karpathys_flickr_has_no_cocoid(paired):
    images = [
        {
            "filename": "100.jpg",
            "imgid": 5,
            "split": "val",
            "sentences": [{"raw": "A dog."}],
        },
        {
            "filename": "5.jpg",
            "imgid": 100,
            "split": "val",
            "sentences": [{"raw": "A cat."}],
        },
    ]
    # A file name goes before a position.
    found = paired({"images": images}, 100, 5)
    assert found.ids == ("100.jpg", "5.jpg")


def test_a_split_predicted_in_part_is_told(paired):
    (warning,) = paired(KARPATHY, 42).warnings
    assert "1 of the 2 images of the split test" in warning
    assert paired(KARPATHY, 42, 7, split="test").warnings == ()


def test_only_a_split(paired):
    assert paired(KARPATHY, 9, split="train").references == (("A bird.",),)
    with pytest.raises(UserError, match="in the split test.*image_id 9"):
        paired(KARPATHY, 9, split="test")
    with pytest.raises(UserError, match=r"\(test, train\). Received: 'val'"):
        paired(KARPATHY, 9, split="val")
    with pytest.raises(UserError, match="it knows none"):
        paired(COCO, 9, split="test")


def test_numbers_are_the_last_resort(paired):
    images = [
        {"id": "x", "file_name": "0042.jpg"},
        {"id": "y", "file_name": "042.jpg"},
    ]
    annotations = [
        {"image_id": "x", "caption": "X"},
        {"image_id": "y", "caption": "Y"},
    ]
    content = {"images": images, "annotations": annotations}
    assert paired(content, "0042").ids == ("x",)
    # 42 could be either.
    with pytest.raises(UserError, match="several images.*image_id 42"):
        paired(content, 42)


def test_no_file_is_matched_half_by_one_way_and_half_by_another(paired):
    # 42 and 7 are cocoids, 2 is an imgid.
    with pytest.raises(UserError) as caught:
        paired(KARPATHY, 42, 7, 2)
    assert "said.json[2] (image_id 2)" in str(caught.value)
    assert "the first of 1 of 3, comparing by id" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "ids", "message"),
    [
        (COCO, (42, 8), r"said\.json\[1\] \(image_id 8\), the first of 1 of 2"),
        (FLICKR, ("10_a.jpg", "10_a.jpg#0"), r"\[1\]"),
        (
            FLICKR,
            ("10_a", "10_a.png"),
            r"\[1\] \(image_id '10_a.png'\) is the image of \[0\]",
        ),
        (
            {**COCO, "annotations": COCO["annotations"][1:]},
            (42, 7),
            "a reference or more of the image 7 in .*truth. Received: none",
        ),
    ],
)
def test_predictions_that_have_no_references_of_their_own(
    paired, content, ids, message
):
    with pytest.raises(UserError, match=message):
        paired(content, *ids)


def annotation(image_id=42, **more):
    return {
        "annotations": [*COCO["annotations"], {"image_id": image_id, **more}]
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (annotation(), r"annotations\[4\] \(image_id 42\).*caption=None"),
        (annotation(caption=""), r"annotations\[4\].*an empty caption"),
        (annotation(caption=3), r"annotations\[4\].*caption=3"),
        (annotation(caption="\ud83d"), r"annotations\[4\].*surrogate"),
        (annotation(None, caption="x"), r"annotations\[4\].*image_id=None"),
        ({"annotations": [5]}, r"annotations\[0\]. Received: 5"),
        ({"annotations": 5}, "COCO's annotations, Flickr's token file or"),
        ([{"image_id": 42, "caption": "x"}], "Received: a list of 1"),
        (
            {"images": [{"id": 1}, {"id": 1}], "annotations": []},
            r"images\[1\] \(id 1\) again",
        ),
        (
            {"images": [{"file_name": "x"}], "annotations": []},
            r"images\[0\]. Received: no id",
        ),
        (
            {"images": [{"id": 1, "file_name": 1.5}], "annotations": []},
            "file_name=1.5",
        ),
        ({"images": [3]}, r"images\[0\]. Received: 3"),
        ({"images": [{"split": "test"}]}, "Received: no filename"),
        ({"images": [{"cocoid": 1.5}]}, "cocoid=1.5"),
        (
            {"images": [{"cocoid": 42, "sentences": ["x"]}]},
            r"images\[0\] \(42\) sentences\[0\].*caption=None",
        ),
        ({"images": [{"cocoid": 42, "sentences": "x"}]}, "Received: none"),
        ("{", "line 1, column 2"),
        ("[" * 100_000, "nested too deeply"),
        ("10_a.jpg A dog .", r"NAME\.jpg#k<TAB>caption, or JSON, at .* line 1"),
        ("10_a.jpg#0\tA dog .\n10_a.jpg\tA .", "line 2. Received: '10_a.jpg"),
        ("10_a.jpg#0\tA\n10_a.jpg#0\tB", r"line 2 \('10_a.jpg#0'\) again"),
        ("42.jpg#0\tA\n42.jpg#1\t", r"line 2 \('42.jpg#1'\).*empty caption"),
    ],
)
def test_bad_references_name_the_entry(paired, content, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        paired(content, 42)


def test_what_is_wrong_with_images_that_are_not_predicted_is_no_matter(paired):
    content = {
        "annotations": [{"image_id": 5, "caption": ""}, *COCO["annotations"]]
    }
    assert paired(content, 42).references == DOG_AND_CAT[:1]


def test_encodings(tmp_path):
    path = tmp_path / "truth"
    path.write_bytes(b"\xef\xbb\xbfa.jpg#0\tcaf\xc3\xa9")
    (image,) = read_references(str(path)).images
    assert image.captions[0][1] == "caf\u00e9"
    assert image.name == "a.jpg"
    path.write_bytes(b"a.jpg#0\tx\nb.jpg#0\tcaf\xe9")
    with pytest.raises(UserError, match="byte 0xe9 in line 2"):
        read_references(str(path))
    path.write_bytes("a.jpg#0\tx".encode("utf-16"))
    with pytest.raises(UserError, match="UTF-16"):
        read_references(str(path))
