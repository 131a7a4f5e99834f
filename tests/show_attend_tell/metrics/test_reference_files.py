"""References are read as training reads captions, and refused as clearly."""

import json

import pytest

from pipelines.errors import UserError
from pipelines.sources import load_source
from show_attend_tell.metrics.reference_files import read_references

NAMES = [f"{number}.jpg" for number in range(300)]


def annotations(*captions):
    return {
        "images": [
            *({"id": n, "file_name": name} for n, name in enumerate(NAMES)),
            {"id": "x", "file_name": 3},
        ],
        "annotations": [
            *({"image_id": n, "caption": f" {n} .\n"} for n in range(300)),
            *({"image_id": 0, "caption": text} for text in captions),
            {"image_id": 777, "caption": "of no image"},
        ],
    }


def karpathy(*captions):
    images = [
        {
            "filename": name,
            "split": "val",
            "imgid": n,
            "sentences": [
                {"raw": f"{n} ."},
                *({"raw": text} for text in captions if not n),
            ],
        }
        for n, name in enumerate(NAMES)
    ]
    return {"images": [*images, "a string"]}


def token_lines(*captions):
    lines = [f"{name}#0\t{n} .\r" for n, name in enumerate(NAMES)]
    lines += [f"0.jpg#{k}\t{text}" for k, text in enumerate(captions) if text]
    return "\n".join([*lines, "", "0.jpg and no tab", "0.jpg#1\t"])


def csv_lines(*captions):
    rows = [f"./{name},{n} .,dev" for n, name in enumerate(NAMES)]
    rows += [f"0.jpg,{text or ''},val" for text in captions]
    return "\n".join(["image,caption,split", *rows, "1.jpg,a, b,dev", ",x,dev"])


def json_lines(*captions):
    rows = [{"file": name, "caption": f"{n} ."} for n, name in enumerate(NAMES)]
    rows += [{"image": "0.jpg", "captions": captions}, {"caption": "x"}]
    return "\n".join(map(json.dumps, rows))


# Of these only the first can be used.
CAPTIONS = ("A dog \u2028 runs .", "", "x" * 2001)


@pytest.mark.parametrize(
    ("dataset", "name", "content"),
    [
        ("coco", "a.json", annotations(*CAPTIONS, None, "\ud83d")),
        ("karpathy", "a.json", karpathy(*CAPTIONS, None, "\ud83d")),
        ("flickr8k", "a.txt", token_lines(*CAPTIONS)),
        ("flickr8k", "a.csv", csv_lines(*CAPTIONS)),
        ("folder", "a.csv", csv_lines(*CAPTIONS)),
        ("folder", "a.jsonl", json_lines(*CAPTIONS, None, "\ud83d")),
        ("folder", "a.json", json_lines(*CAPTIONS, None, "\ud83d")),
    ],
)
def test_every_file_of_training(tmp_path, write_images, dataset, name, content):
    photos = tmp_path / "photos"
    write_images(photos, *NAMES)
    (photos / "Flickr_8k.devImages.txt").write_text("\n".join(NAMES))
    path = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    training = load_source(dataset, str(photos), str(path))
    references = read_references(str(path))
    assert [(i.names["file name"], i.captions) for i in references.images] == [
        (image.id, image.captions) for image in training.images
    ]
    assert references.images[0].captions == ("0 .", "A dog \u2028 runs .")
    splits = [image.split for image in references.images]
    if "split" in text or dataset == "folder":
        assert splits == [image.split for image in training.images]
    else:
        assert set(splits) == {None}
    lists = ("Flickr_8k.trainImages.txt", "Flickr_8k.testImages.txt")
    skipped = [s for s in training.skipped if s.name not in lists]
    assert references.skipped == tuple(skipped) != ()


@pytest.fixture
def read(tmp_path):
    def read(content, split=None):
        path = tmp_path / "truth"
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
        return read_references(str(path), split)

    return read


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": [5]}, r"1 of 1, .*annotations\[0\]: of an image"),
        ({"annotations": 5}, "Received: .* annotations of int"),
        ([{"image_id": 42, "caption": "x"}], "Received: list"),
        (
            {"images": [{"id": 1}, {"id": 1}], "annotations": []},
            r"images\[1\]: no id of its own",
        ),
        (
            {"images": [{"file_name": "x"}], "annotations": []},
            r"images\[0\]: no id of its own",
        ),
        (
            {"images": [{"id": 1, "file_name": 1.5}], "annotations": []},
            "1.5: not a name of an image",
        ),
        (
            {"annotations": [{"image_id": 42, "caption": "\ud83d"}]},
            "first 42: the caption is not text",
        ),
        ({"images": [3]}, r"images\[0\]: not an object"),
        ({"images": [{"split": "test"}]}, "None: not a name"),
        ({"images": [{"cocoid": 1.5}]}, "None: not a name"),
        (
            {"images": [{"cocoid": 42, "sentences": ["x"]}]},
            "first 42: the caption is not text",
        ),
        ({"images": [{"cocoid": 42, "sentences": "x"}]}, "name none"),
        ("{", "truth, line 1, column 2"),
        ("[" * 100_000, "nested too deeply"),
        ("a.jpg A dog .\nb.jpg A cat .", "header such as file,caption"),
        ("", "name none"),
        ("a.jpg#0\tA dog .\na.jpg\tA .", "line 2: not NAME.jpg#k<TAB>caption"),
        ("42.jpg#0\tA\n42.jpg#1\t", "42.jpg#1: the caption is empty"),
        (b"a.jpg#0\tx\nb.jpg#0\tcaf\xb9", "line 2.*byte 0xb9"),
        ("a.jpg#0\tx".encode("utf-16")[:-1], "UTF-16"),
    ],
)
def test_what_is_wrong_is_named(read, content, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        read(content)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="--references=FILE.*nowhere"):
        read_references(str(tmp_path / "nowhere"))


def test_images_without_captions_are_noted(read):
    references = read(
        {
            "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2}, {"id": 3}],
            "annotations": [{"image_id": 1, "caption": "A dog."}],
        }
    )
    assert [(image.name, image.captions) for image in references.images] == [
        (1, ("A dog.",)),
        (2, ()),
        (3, ()),
    ]
    assert [s.reason for s in references.skipped] == ["no caption"] * 2


def test_only_a_split(read):
    rows = "file,caption,split\na.jpg,x,restval\nb.jpg,y,test\n"
    assert [i.name for i in read(rows, "train").images] == ["a.jpg"]
    with pytest.raises(UserError, match=r"\(test, train\). Received: 'val'"):
        read(rows, "val")
    with pytest.raises(UserError, match="it has none"):
        read("a.jpg#0\tx", "test")
