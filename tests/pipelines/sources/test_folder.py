"""A user's own folder with CSV or JSON Lines, by hand-made fixtures."""

import json

import pytest

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.sources import load_source
from pipelines.sources.hashed_splits import hashed_split


@pytest.fixture
def photos(tmp_path, write_images):
    write_images(tmp_path / "photos", "a.jpg", "cats/b.png", "c d.jpg")
    return tmp_path / "photos"


@pytest.fixture
def load(tmp_path, photos):
    def load(name, text):
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8"))
        return load_source("folder", str(photos), str(path))

    return load


def _brief(source):
    return [(image.id, image.split, image.captions) for image in source.images]


THREE = [
    ("a.jpg", "train", ('A "big", red dog.', "Un café.")),
    ("cats/b.png", "validation", ("A cat.",)),
    ("c d.jpg", "holdout", ("A bird.",)),
]
COMMA = "more fields than the header; quote what holds a comma"
CSV = (
    "{column},caption,split\n"
    'a.jpg,"A ""big"", red dog.",train\n'
    "cats/b.png,A cat.,dev\n"
    "c d.jpg,A bird.,holdout\n"
    "a.jpg,Un café.,train\n"
)


@pytest.mark.parametrize("column", ["file", "file_name", "filename", "Image"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv(load, photos, column, mark):
    source = load("mine.csv", mark + CSV.format(column=column))
    assert source.name == "folder"
    assert _brief(source) == THREE
    assert source.skipped == ()
    assert source.images[1].path == str(photos / "cats" / "b.png")


def test_json_lines(load):
    lines = [
        {"file": "a.jpg", "caption": 'A "big", red dog.', "split": "train"},
        {"image": "cats/b.png", "captions": ["A cat."], "split": "val"},
        {"file_name": "./c d.jpg", "captions": ["A bird."], "split": "holdout"},
        {"file": "a.jpg", "captions": ["Un café."], "split": "train"},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    source = load("mine.jsonl", text)
    assert _brief(source) == THREE
    assert source.skipped == ()


def test_captions_in_the_folder_are_read(photos):
    (photos / "captions.csv").write_text(CSV.format(column="file"))
    assert _brief(load_source("folder", str(photos))) == THREE


# By `printf NAME | sha256sum`; nine tenths of ffffffff are e6666665, and 95
# hundredths are f3333332.
@pytest.mark.parametrize(
    "name, split",
    [
        ("60.jpg", "train"),  # e524d4a3
        ("cats/1.jpg", "train"),  # dedaa2dc
        ("62.jpg", "validation"),  # e74e1e61
        ("110.jpg", "validation"),  # efb949ca
        ("f.jpg", "test"),  # ff803d0f
        ("15.jpg", "test"),  # f3dfdc9c
    ],
)
def test_splits_follow_the_hash_of_the_name(
    load, photos, write_images, name, split
):
    others = "1.jpg", "64.jpg"
    assert hashed_split(others[0]) == "train"
    assert hashed_split(others[1]) == "validation"
    write_images(photos, name, *others)
    assert hashed_split(name) == split
    rows = [f"{name},x", *(f"{other},y" for other in others), f"./{name},z"]
    source = load("mine.csv", "\n".join(["file,caption", *rows]))
    assert source.images[0] == source.split(split)[0]
    assert source.images[0].captions == ("x", "z")
    assert source.skipped == ()


def test_the_shares_of_the_hash_are_90_5_5():
    splits = [hashed_split(f"{number}.jpg") for number in range(10_000)]
    assert abs(splits.count("train") - 9000) < 100
    assert abs(splits.count("validation") - 500) < 70
    assert abs(splits.count("test") - 500) < 70


def test_each_doubtful_entry_is_named(load, photos, write_images):
    names = [f"{number}.jpg" for number in range(300)]
    write_images(photos, *names)
    write_images(photos.parent, "secret.jpg")
    rows = [f"{name},x,train" for name in names]
    rows += [
        "gone.jpg,x,train",  # line 302, after the header and 300 names
        "../secret.jpg,x,train",
        f"{photos.parent}/secret.jpg,x,train",
        "0.jpg,,train",  # line 305
        "0.jpg,leaked,test",
        "0.jpg,x,",
        ",x,train",
        "0.jpg,one, two,train",
    ]
    source = load("mine.csv", "\n".join(["file,caption,split", *rows]))
    assert [image.id for image in source.images] == names
    assert source.images[0].captions == ("x",)
    outside = "the name leads out of the image folder"
    assert source.skipped[:3] == (
        Skipped("gone.jpg", "no such image file"),
        Skipped("../secret.jpg", outside),
        Skipped(f"{photos.parent}/secret.jpg", outside),
    )
    assert source.skipped[3:] == (
        Skipped("mine.csv line 305", "the caption is empty"),
        Skipped("mine.csv line 306", "its image is in train already"),
        Skipped("mine.csv line 307", "no split, though others have one"),
        Skipped("mine.csv line 308", "no file name"),
        Skipped("mine.csv line 309", COMMA),
    )


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("mine.csv", "name,text\na.jpg,x\n", "header such as file,caption"),
        ("mine.csv", "", "name none"),
        ("mine.csv", 'file,caption\na.jpg,"x\n', "mine.csv, line 2"),
        ("mine.jsonl", '{"file": "a.jpg", "caption": "x"}\n{', "l, line 2"),
        ("mine.jsonl", "[]", "name none. Name images and captions in .*jsonl"),
        ("mine.jsonl", '{"file": "a.jpg"}\n[1]', "object in .*l, line 2"),
        ("mine.json", '[{"name": "a.jpg", "caption": "x"}]', "'name', 'cap"),
        ("mine.json", '{"license": 3}', "dict of .*'license'"),
    ],
)
def test_what_is_not_of_this_form_is_an_error(load, name, text, message):
    with pytest.raises(UserError, match=message):
        load(name, text)


def test_flags_that_are_missing(tmp_path):
    with pytest.raises(UserError, match="--data_dir="):
        load_source("folder", captions="mine.csv")
    with pytest.raises(UserError, match="captions.csv.*--captions=FILE"):
        load_source("folder", str(tmp_path))


PAIRS = [("a.jpg", "A dog."), ("cats/b.png", "A cat."), ("c d.jpg", "A bird.")]
ROWS = [{"file_name": name, "text": text} for name, text in PAIRS]
FORMS = {
    "list": json.dumps(ROWS, indent=1),
    "Hugging Face": "\n".join(map(json.dumps, ROWS)),
    "object": json.dumps({name: [text] for name, text in PAIRS}),
    "columns": json.dumps(
        {
            "file": {str(k): name for k, (name, _) in enumerate(PAIRS)},
            "text": {str(k): text for k, (_, text) in enumerate(PAIRS)},
        }
    ),
    "in an object": json.dumps({"annotations": ROWS}),
    "COCO": json.dumps(
        {
            "images": [
                {"id": k, "file_name": name}
                for k, (name, _) in enumerate(PAIRS)
            ],
            "annotations": [
                {"image_id": str(k), "caption": text}
                for k, (_, text) in enumerate(PAIRS)
            ],
        }
    ),
    "tokens": "".join(f"{name}#0\t{text}\n" for name, text in PAIRS),
    "tabs": "".join(f"{n}\t{t}\r" for n, t in [("file", "caption"), *PAIRS]),
    "semicolons": "".join(f"{n};{t}\n" for n, t in [("path", "title"), *PAIRS]),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_content_tells_the_form(load, form):
    source = load("captions.of_any_name", FORMS[form])
    assert [(i.id, i.captions) for i in source.images] == [
        (name, (text,)) for name, text in PAIRS
    ]
    assert source.splits == ("train", "validation")


@pytest.mark.parametrize("name", ["captions.json", "metadata.jsonl"])
def test_files_in_the_folder_by_other_names(photos, name):
    (photos / name).write_text(FORMS["Hugging Face"])
    assert len(load_source("folder", str(photos)).images) == 3


def test_karpathys_json_gives_its_splits(load):
    images = [
        {"filename": name, "split": "test", "sentences": [{"raw": text}]}
        for name, text in PAIRS
    ]
    assert load("x.json", json.dumps({"images": images})).splits == ("test",)


def test_a_table_of_windows_1252_is_noted(photos):
    path = photos / "captions.csv"
    path.write_bytes(
        "file;caption\r\na.jpg;Ein Hund läuft\r\n".encode("cp1252")
    )
    source = load_source("folder", str(photos))
    assert source.images[0].captions == ("Ein Hund läuft",)
    (skipped,) = source.skipped
    assert skipped.reason.startswith("read as Windows-1252")


def test_names_that_differ_in_spelling_are_one_image(
    photos, write_images, load
):
    write_images(photos, "Gru\u0308n.jpg")
    rows = ["Gr\u00fcn.jpg,x", "Gru\u0308n.jpg,y", "cats\\b.png,z"]
    source = load("mine.csv", "\n".join(["file,caption", *rows]))
    assert [(i.id, i.captions) for i in source.images] == [
        ("Gru\u0308n.jpg", ("x", "y")),  # as it is on the disk
        ("cats/b.png", ("z",)),
    ]


def test_rows_of_one_file_gather_under_each_spelling(photos, load):
    rows = ["A.JPG,x,train", "a.jpg,y,train", "a,z,train", "A.jpg,leaked,test"]
    rows += ["cats/b.png,u,train"] * 4
    source = load("mine.csv", "\n".join(["file,caption,split", *rows]))
    assert [(i.id, i.captions) for i in source.images] == [
        ("a.jpg", ("x", "y", "z")),
        ("cats/b.png", ("u",) * 4),
    ]
    assert source.skipped == (
        Skipped("mine.csv line 5", "its image is in train already"),
    )
