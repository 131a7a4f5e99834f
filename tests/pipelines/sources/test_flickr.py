"""Flickr8k and Flickr30k in every layout, by hand-made fixtures."""

import json

import pytest

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.sources import load_source

TRAIN, DEV, TEST = (
    "Flickr_8k.trainImages.txt",
    "Flickr_8k.devImages.txt",
    "Flickr_8k.testImages.txt",
)
NO_TEST = Skipped(TEST, "no such list, so the test split is empty")


def _token(captions: dict[str, list[str]]) -> str:
    return "".join(
        f"{name}#{k}\t{text}\n"
        for name, texts in captions.items()
        for k, text in enumerate(texts)
    )


@pytest.fixture
def flickr8k(tmp_path, write_images):
    """Four photos: two of train, one of dev, one of test."""
    write_images(
        tmp_path / "Flicker8k_Dataset", "a.jpg", "b.jpg", "c.jpg", "d.jpg"
    )
    (tmp_path / "Flickr8k.token.txt").write_text(
        _token(
            {
                "a.jpg": ["A dog .", "It runs , fast ."],
                "b.jpg": ["B dog ."],
                "c.jpg": ["C cat ."],
                "d.jpg": ["D cat ."],
            }
        )
    )
    (tmp_path / TRAIN).write_text("b.jpg\na.jpg\n")
    (tmp_path / DEV).write_text("c.jpg\n\n")
    (tmp_path / TEST).write_text("d.jpg")
    return tmp_path


def _brief(source):
    return [(image.id, image.split, image.captions) for image in source.images]


FOUR = [
    ("b.jpg", "train", ("B dog .",)),
    ("a.jpg", "train", ("A dog .", "It runs , fast .")),
    ("c.jpg", "validation", ("C cat .",)),
    ("d.jpg", "test", ("D cat .",)),
]


def test_as_distributed(flickr8k):
    source = load_source("flickr8k", str(flickr8k))
    assert source.name == "flickr8k"
    assert source.splits == ("train", "validation", "test")
    assert _brief(source) == FOUR
    assert source.skipped == ()
    path = flickr8k / "Flicker8k_Dataset" / "b.jpg"
    assert source.images[0].path == str(path)
    assert source.images[0].read()[:2] == b"\xff\xd8"  # as a JPEG starts


@pytest.mark.parametrize("name", ["images", "Images", "Flickr8k_Dataset", ""])
def test_other_image_folders(flickr8k, name):
    folder = flickr8k / "Flicker8k_Dataset"
    if name:
        folder.rename(flickr8k / name)
    else:
        for photo in folder.iterdir():
            photo.rename(flickr8k / photo.name)
        folder.rmdir()
    assert _brief(load_source("flickr8k", str(flickr8k))) == FOUR


def test_text_in_a_subfolder_and_windows_newlines(flickr8k):
    (flickr8k / "Flickr8k_text").mkdir()
    for path in list(flickr8k.glob("*.txt")):
        content = path.read_bytes().replace(b"\n", b"\r\n")
        (flickr8k / "Flickr8k_text" / path.name).write_bytes(content)
        path.unlink()
    assert _brief(load_source("flickr8k", str(flickr8k))) == FOUR


def test_captions_as_csv(flickr8k):
    (flickr8k / "Flickr8k.token.txt").unlink()
    rows = "image,caption\na.jpg,A dog .\n{}\n"
    rows += "b.jpg,B dog .\nc.jpg,C cat .\nd.jpg,D cat .\n"
    path = flickr8k / "captions.txt"
    path.write_text(rows.format('a.jpg,"It runs , fast ."'))
    assert _brief(load_source("flickr8k", str(flickr8k))) == FOUR
    path.write_text(rows.format("a.jpg,It runs , fast ."))
    source = load_source("flickr8k", str(flickr8k), captions=str(path))
    assert source.images[1].captions == ("A dog .",)
    (skipped,) = source.skipped
    assert skipped.name == "captions.txt line 3"
    assert skipped.reason.startswith("more fields than the header")


def test_an_absent_list_leaves_its_split_empty(flickr8k):
    (flickr8k / TEST).unlink()
    source = load_source("flickr8k", str(flickr8k))
    assert source.splits == ("train", "validation")
    assert _brief(source) == FOUR[:3]
    unused = Skipped(
        "d.jpg (first of 1)", "captioned, but in no split list, so unused"
    )
    assert source.skipped == (NO_TEST, unused)


def test_the_stray_name_and_unlisted_photos_are_noted(flickr8k):
    with open(flickr8k / "Flickr8k.token.txt", "a") as file:
        file.write(_token({"s.jpg.1": ["x"] * 5}))
        file.write(_token({"u.jpg": ["x"], "v.jpg": ["x"]}))
    source = load_source("flickr8k", str(flickr8k))
    assert _brief(source) == FOUR
    assert source.skipped == (
        Skipped("s.jpg.1", "captioned, but no image file name"),
        Skipped(
            "u.jpg (first of 2)",
            "captioned, but in no split list, so unused",
        ),
    )


def test_each_doubtful_entry_is_named(flickr8k, write_images):
    names = [f"{number}.jpg" for number in range(20)]
    write_images(flickr8k / "Flicker8k_Dataset", *names)
    (flickr8k / "Flicker8k_Dataset" / "empty.jpg").touch()
    with open(flickr8k / "Flickr8k.token.txt", "a") as file:
        file.write(_token({name: ["x"] for name in names}))
        file.write(_token({"empty.jpg": ["x"], "gone.jpg": ["x"]}))
        file.write("0.jpg#1\t \n0.jpg x\n0.jpg#k\tx\n")
    with open(flickr8k / TRAIN, "a") as file:
        file.write("\n".join([*names, "empty.jpg", "gone.jpg"]))
    with open(flickr8k / DEV, "a") as file:
        file.write("\na.jpg\n")
    source = load_source("flickr8k", str(flickr8k))
    assert len(source.split("train")) == 22
    assert len(source.split("validation")) == 1
    # Lines 1-5 are the fixture's, 6-25 the twenty, 26-27 the two, 28 the blank.
    assert source.skipped == (
        Skipped("empty.jpg", "the image file is empty"),
        Skipped("gone.jpg", "no such image file"),
        Skipped(
            "a.jpg", "named in train and again in validation; the first counts"
        ),
        Skipped("0.jpg#1", "the caption is empty"),
        Skipped("Flickr8k.token.txt line 29", "not NAME.jpg#k<TAB>caption"),
        Skipped("Flickr8k.token.txt line 30", "not NAME.jpg#k<TAB>caption"),
    )


def test_an_incomplete_folder_is_an_error_that_names_what_belongs_there(
    flickr8k,
):
    with pytest.raises(UserError, match="Flickr8k.token.txt.*--data_dir="):
        load_source("flickr8k")
    for name in (TRAIN, DEV, TEST):
        (flickr8k / name).unlink()
    with pytest.raises(UserError, match="no split list"):
        load_source("flickr8k", str(flickr8k))
    (flickr8k / "Flickr8k.token.txt").unlink()
    with pytest.raises(UserError) as error:
        load_source("flickr8k", str(flickr8k))
    for part in (
        "Flickr8k.token.txt",
        TRAIN,
        "Flicker8k_Dataset/",
        "--data_dir=",
        "no captions file",
        str(flickr8k),
    ):
        assert part in str(error.value)


@pytest.fixture
def flickr30k(tmp_path, write_images):
    """Three photos, one of each split; the lists hold bare ids."""
    write_images(tmp_path / "flickr30k-images", "1.jpg", "22.jpg", "3.jpg")
    (tmp_path / "results_20130124.token").write_text(
        _token({"1.jpg": ["One ."], "22.jpg": ["Two ."], "3.jpg": ["Three ."]})
    )
    (tmp_path / "train.txt").write_text("22\n")
    (tmp_path / "val.txt").write_text("1\n")
    (tmp_path / "test.txt").write_text("3.jpg\n")
    return tmp_path


THREE = [
    ("22.jpg", "train", ("Two .",)),
    ("1.jpg", "validation", ("One .",)),
    ("3.jpg", "test", ("Three .",)),
]


def test_flickr30k_with_lists(flickr30k):
    source = load_source("flickr30k", str(flickr30k))
    assert source.name == "flickr30k"
    assert _brief(source) == THREE
    assert source.skipped == ()


def test_flickr30k_with_karpathys_json_instead_of_lists(flickr30k):
    for name in ("train.txt", "val.txt", "test.txt"):
        (flickr30k / name).unlink()
    with pytest.raises(UserError, match="dataset_flickr30k.json"):
        load_source("flickr30k", str(flickr30k))
    images = [
        {"filename": id, "split": split[:5], "sentences": [{"raw": texts[0]}]}
        for id, split, texts in THREE
    ]
    images[1]["split"] = "val"
    (flickr30k / "dataset_flickr30k.json").write_text(
        json.dumps({"images": images, "dataset": "flickr30k"})
    )
    source = load_source("flickr30k", str(flickr30k))
    assert source.name == "flickr30k"
    assert _brief(source) == THREE


def test_the_real_flickr8k(flickr8k_dir):
    source = load_source("flickr8k", flickr8k_dir)
    assert len(source.split("train")) == 6000
    assert len(source.split("validation")) == 1000
    assert sum(len(image.captions) for image in source.images) == 35_000
    assert source.skipped == (NO_TEST,)
    first = source.images[0]
    assert first.id == "2513260012_03d33305cf.jpg"
    assert first.captions[0] == (
        "A black dog is running after a white dog in the snow ."
    )
    assert first.read()[:2] == b"\xff\xd8"
