"""Captioning whatever people have, as a user does it."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from pipelines.sources.scenes import load_scenes
from tests.show_attend_tell.conftest import call_command


@pytest.fixture
def photos(tmp_path):
    """A folder with one picture in every form, and things that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (30, 40, 3), np.uint8)
    photo = Image.fromarray(small).resize((400, 300))
    photo.save(folder / "plain.jpg")
    photo.save(folder / "plain.png")
    photo.save(folder / "plain.webp")
    photo.save(folder / "plain.gif")
    photo.save(folder / "plain.bmp")
    photo.convert("L").save(folder / "grey.jpg")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("RGBA").save(folder / "alpha.png")
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "sixteen.png")
    Image.new("RGB", (1, 1), "red").save(folder / "one.png")
    complete = (folder / "plain.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(complete[: len(complete) // 2])
    (folder / "words.jpg").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("ignored")
    return folder


GOOD = {"alpha.png", "cmyk.jpg", "grey.jpg", "one.png", "plain.bmp"}
GOOD |= {"plain.gif", "plain.jpg", "plain.png", "plain.webp", "sixteen.png"}


def test_captions_what_can_be_read_and_names_the_rest(
    trained, photos, tmp_path
):
    pictures = tmp_path / "pictures"
    done = call_command(
        "caption",
        f"--workdir={trained}",
        f"--attention={pictures}",
        "--batch_size=4",
        str(photos),
        str(tmp_path / "missing.jpg"),
    )
    assert done.returncode == 1
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert {path.rpartition("/")[2] for path in lines} == GOOD
    for name in ("truncated.jpg", "words.jpg", "empty.png", "missing.jpg"):
        assert name in done.stderr
    assert "4 of 14 not captioned" in done.stderr
    assert "Traceback" not in done.stderr
    # Several photos are called "plain"; each has a picture of its own.
    assert len(list(pictures.glob("*.png"))) == len(GOOD)
    assert Image.open(pictures / "grey.png").width > 300


@pytest.mark.proof
def test_scenes_from_files_are_captioned_as_in_training(trained, tmp_path):
    """One preprocessing: pixels -> caption equals cache -> caption."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for image in load_scenes(0, 0, 12, 0).images:
        (folder / f"{image.id}.png").write_bytes(image.read())
    output = tmp_path / "captions.json"
    done = call_command(
        "caption", f"--workdir={trained}", f"--output={output}", str(folder)
    )
    assert done.returncode == 0, done.stderr
    here = {
        entry["image_id"].removesuffix(".png"): entry["caption"]
        for entry in json.loads(output.read_text())
    }
    there = {
        entry["image_id"]: entry["caption"]
        for entry in json.loads((trained / "captions_test.json").read_text())
    }
    assert set(here) == set(there)
    # The cache rounds annotations to 8 bits; now and then a word changes.
    assert sum(here[id] == there[id] for id in here) >= 10


def test_writes_every_hypothesis_to_csv(trained, photos, tmp_path):
    output = tmp_path / "captions.csv"
    photo = str(photos / "plain.png")
    done = call_command(
        "caption",
        f"--workdir={trained}",
        f"--output={output}",
        "--beam_width=3",
        "--num_captions=2",
        photo,
    )
    assert done.returncode == 0, done.stderr
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["rank"]) for row in rows] == [
        (photo, "1"),
        (photo, "2"),
    ]
    assert float(rows[1]["score"]) <= float(rows[0]["score"]) < 0
    assert all(float(row["log_probability"]) < 0 for row in rows)


def test_files_that_do_not_belong_together_are_refused(
    trained, photos, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    words = (copy / "vocabulary.txt").read_text().replace("red", "rot")
    (copy / "vocabulary.txt").write_text(words)
    photo = str(photos / "plain.png")
    done = call_command("caption", f"--workdir={copy}", photo)
    assert done.returncode == 1
    assert "vocabulary.txt" in done.stderr
    (copy / "best.keras").write_bytes(b"no model")
    done = call_command("caption", f"--workdir={copy}", photo)
    assert done.returncode == 1
    assert "best.keras cannot be loaded" in done.stderr
    done = call_command("caption", f"--workdir={tmp_path}", photo)
    assert done.returncode == 1
    assert "show_attend_tell.train" in done.stderr
    assert "Traceback" not in done.stderr
