"""No name leads out of the folder, and a listing stands for many searches."""

import os

import pytest

from pipelines.errors import UserError
from pipelines.sources.image_folder import (
    DoubtfulName,
    ImageFolder,
    check_data_dir,
    first_existing,
)


def test_finds_files_and_files_in_subfolders(tmp_path, write_images):
    write_images(tmp_path, "a.jpg", "cats/b.jpg")
    folder = ImageFolder(str(tmp_path))
    assert folder.find("a.jpg") == str(tmp_path / "a.jpg")
    assert folder.find("cats/b.jpg") == str(tmp_path / "cats" / "b.jpg")
    assert folder.find("./a.jpg") == str(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg",
        "cats/../../secret.jpg",
        "/etc/passwd",
        "..",
        "..\\secret.jpg",
        "C:secret.jpg",
        "C:/secret.jpg",
        "a.jpg\0",
    ],
)
def test_refuses_names_that_lead_out(tmp_path, write_images, name):
    write_images(tmp_path, "secret.jpg", "in/a.jpg", "in/cats/b.jpg")
    with pytest.raises(DoubtfulName, match="leads out"):
        ImageFolder(str(tmp_path / "in")).find(name)


def test_the_reason_why_a_file_is_doubtful(tmp_path, write_images):
    write_images(tmp_path, "a.jpg", "folder.jpg/b.jpg")
    (tmp_path / "empty.jpg").touch()
    os.symlink(tmp_path / "nowhere.jpg", tmp_path / "broken.jpg")
    folder = ImageFolder(str(tmp_path))
    for name, reason in {
        "c.jpg": "no such image file",
        "no/a.jpg": "no such image file",
        "a.jpg/a.jpg": "no such image file",
        "": "no such image file",
        ".": "no such image file",
        "folder.jpg": "not a file",
        "empty.jpg": "the image file is empty",
        "broken.jpg": "not a file",
    }.items():
        with pytest.raises(DoubtfulName, match=reason):
            folder.find(name)


def test_lists_each_folder_once(tmp_path, write_images, monkeypatch):
    names = [f"{number}.jpg" for number in range(50)]
    write_images(tmp_path, *names)
    listed = []
    scandir = os.scandir

    def counted(path):
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    folder = ImageFolder(str(tmp_path))
    for name in names:
        folder.find(name)
    assert len(listed) == 1


def test_first_existing(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    assert first_existing(str(tmp_path), "a", "b", "c") == str(tmp_path / "b")
    assert first_existing(str(tmp_path), "a", "") == str(tmp_path)
    assert first_existing(str(tmp_path), "a") is None


@pytest.mark.parametrize("data_dir", [None, "nowhere"])
def test_a_missing_data_dir_is_an_error_with_its_flag(data_dir):
    with pytest.raises(UserError, match="my photos.*--data_dir=FOLDER"):
        check_data_dir(data_dir, "my photos")
