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
    assert folder.find("a.jpg") == "a.jpg"
    assert folder.find("cats/b.jpg") == "cats/b.jpg"
    assert folder.find("./cats\\b.jpg") == "cats/b.jpg"
    assert folder.find(str(tmp_path / "cats" / "b.jpg")) == "cats/b.jpg"


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


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("Gr\u00fc\u00dfe.jpg", "Gru\u0308\u00dfe.jpg"),
        ("Gru\u0308\u00dfe.jpg", "Gr\u00fc\u00dfe.jpg"),
        ("\u00e4/a.jpg", "a\u0308/a.jpg"),
        ("Photo.JPG", "photo.jpg"),
        ("cats/a.jpg", "Cats/A.JPG"),
        ("10_a", "10_a.jpeg"),
        ("cats\\a", "cats/a.png"),
    ],
)
def test_names_that_differ_in_spelling(tmp_path, write_images, listed, there):
    write_images(tmp_path, there, "other.jpg")
    assert ImageFolder(str(tmp_path)).find(listed) == there


def test_an_exact_name_goes_first_and_two_similar_ones_are_none(
    tmp_path, write_images
):
    write_images(tmp_path, "a.jpg", "A.jpg", "b.jpg", "b.png", "c.jpg.txt")
    folder = ImageFolder(str(tmp_path))
    assert (folder.find("a.jpg"), folder.find("A.jpg")) == ("a.jpg", "A.jpg")
    for name in ("a.JPG", "b"):
        with pytest.raises(DoubtfulName, match="several image files"):
            folder.find(name)
    with pytest.raises(DoubtfulName, match="no such image file"):
        folder.find("c.jpg")


def test_links_are_followed_inside_the_folder_only(tmp_path, write_images):
    write_images(
        tmp_path, "secret.jpg", "out/b.jpg", "in/a.jpg", "in/cats/c.jpg"
    )
    links = {
        "in/link.jpg": "secret.jpg",
        "in/folder": "out",
        "in/again.jpg": "in/a.jpg",
        "in/pets": "in/cats",
        "given": "in",
    }
    for link, target in links.items():
        os.symlink(tmp_path / target, tmp_path / link)
    folder = ImageFolder(str(tmp_path / "given"))  # The user's own link.
    assert folder.find("a.jpg") == "a.jpg"
    assert folder.find("again.jpg") == "again.jpg"
    assert folder.find("pets/c.jpg") == "pets/c.jpg"
    for name in ("link.jpg", "folder/b.jpg"):
        with pytest.raises(DoubtfulName, match="a link that leads out"):
            folder.find(name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("in/a.jpg", "in/a.jpg is a file below {}: give that --data_dir"),
        ("x/a.jpg", "a.jpg is in {}/in itself, not in x/"),
        ("b.jpg", "b.jpg is in {}/in/cats: give that --data_dir"),
        ("c.jpg", ""),
    ],
)
def test_advice_on_files_near_by(tmp_path, write_images, name, advice):
    write_images(tmp_path, "in/a.jpg", "in/cats/b.jpg")
    text = ImageFolder(str(tmp_path / "in")).advice(name)
    assert text.startswith(advice.format(tmp_path)) and bool(text) == bool(
        advice
    )
