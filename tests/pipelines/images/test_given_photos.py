"""The ids of photos, and arguments without any."""

import os

import pytest

from pipelines.errors import UserError
from pipelines.images.given_photos import given_photos


@pytest.fixture
def folder(tmp_path, write_images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path, "one/a/0.jpg", "one/b/0.jpg", "two/a/0.jpg", "0.jpg")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["one"], ["a/0.jpg", "b/0.jpg"]),
        (["one/"], ["a/0.jpg", "b/0.jpg"]),
        (["one/a/0.jpg"], ["0.jpg"]),
        (["", "missing/"], ["", "missing/"]),
        # Different photos of one name are known by their paths.
        (["one/a/0.jpg", "two/a/0.jpg"], ["one/a/0.jpg", "two/a/0.jpg"]),
        (["one", "two"], ["one/a/0.jpg", "b/0.jpg", "two/a/0.jpg"]),
        # The same photo twice is one.
        (["0.jpg", "./0.jpg"], ["0.jpg", "0.jpg"]),
        (["one", "one/a/0.jpg", "0.jpg"], ["a/0.jpg", "b/0.jpg"]),
    ],
)
def test_ids(folder, arguments, ids):
    photos, failed = given_photos(arguments)
    assert [photo.id for photo in photos][: len(ids)] == ids
    assert failed == 0
    of_id = {}
    for photo in photos:
        of_id.setdefault(photo.id, set()).add(os.path.abspath(photo.path))
    assert all(len(paths) == 1 for paths in of_id.values())


def test_names_that_look_the_same_stay_different(folder, write_images):
    write_images(folder, "odd/\n.jpg", "odd/\\n.jpg")
    photos, _ = given_photos(["odd"])
    assert {photo.path for photo in photos} == {"odd/\n.jpg", "odd/\\n.jpg"}
    assert len({photo.id for photo in photos}) == 2


def test_what_has_no_photo_counts_and_the_others_go_on(folder, capsys):
    os.mkdir("empty")
    (folder / "one" / "notes\x1b.txt").write_text("no photo")
    photos, failed = given_photos(["empty", "one", "0.jpg"])
    assert [photo.id for photo in photos] == ["a/0.jpg", "b/0.jpg", "0.jpg"]
    assert failed == 1
    output, errors = capsys.readouterr()
    assert not output
    assert "error: Expected photos" in errors and "'empty'" in errors
    assert "left out or noted: 1" in errors and "notes\\x1b.txt" in errors


def test_no_arguments():
    with pytest.raises(UserError, match="Received: none"):
        given_photos([])
