"""One name chooses a source."""

import pytest

from pipelines.errors import UserError
from pipelines.sources import SOURCES, load_source


def test_an_unknown_name_lists_the_sources():
    with pytest.raises(UserError) as error:
        load_source("flicker8k")
    for name in SOURCES:
        assert name in str(error.value)
    assert "Received: 'flicker8k'" in str(error.value)


@pytest.mark.parametrize("name", SOURCES)
def test_every_name_is_taken(name, tmp_path):
    if name == "scenes":
        counts = {"train": 2, "validation": 1, "test": 0, "novel": 0}
        source = load_source(name, **counts, seed=3)
        assert [image.split for image in source.images] == [
            "train",
            "train",
            "validation",
        ]
    else:  # An empty folder: the source itself tells what it expects.
        with pytest.raises(UserError, match="--captions|--data_dir"):
            load_source(name, str(tmp_path))


def test_home_is_spelled_out(tmp_path, monkeypatch, write_images):
    write_images(tmp_path / "photos", "a.jpg")
    (tmp_path / "mine.csv").write_text("file,caption\na.jpg,A dog.\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    source = load_source("folder", "~/photos", "~/mine.csv")
    assert source.images[0].path == str(tmp_path / "photos" / "a.jpg")


@pytest.mark.parametrize("name", ["scenes", "coco_captions"])
def test_captions_where_none_are_taken_are_refused(name):
    with pytest.raises(UserError, match="no --captions"):
        load_source(name, captions="mine.csv")
