"""Captioning whatever people have, as a user does it."""

import csv
import importlib.util
import json
import os
import pathlib
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from pipelines.sources.scenes import load_scenes
from tests.conftest import ROOT
from tests.show_attend_tell.conftest import call_command, run_command


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
    shutil.copy(trained / "vocabulary.txt", copy)
    (copy / "best.keras").write_bytes(b"no model")
    done = call_command("caption", f"--workdir={copy}", photo)
    assert done.returncode == 1
    assert "best.keras with the SHA-256" in done.stderr
    done = call_command("caption", f"--workdir={tmp_path}", photo)
    assert done.returncode == 1
    assert "show_attend_tell.train" in done.stderr
    assert "Traceback" not in done.stderr


SHIPPED = pathlib.Path(ROOT, "savedmodels", "flickr8k.tflite")
shipped = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="needs ai-edge-litert",
)


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder with photos, one of them bad, that is the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a/x.png", "b/x.png", "b/y.png"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).resize((400, 300)).save(path)
    (tmp_path / "album" / "b" / "w.jpg").write_bytes(b"\xff\xd8\xff no more")
    return tmp_path / "album"


def caption(*arguments):
    return call_command("caption", f"--model={SHIPPED}", *arguments)


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@shipped
def test_pictures_replace_no_photo_and_no_file(album):
    folder = album / "b"
    before = contents(album)
    (album / "link").symlink_to(folder / "y.png")
    photos = ["album/a/x.png", "album/b/x.png", "album/b/y.png", "album/link"]
    done = caption("--attention=album/b", *photos)
    assert done.returncode == 0, done.stderr
    assert {p: p.read_bytes() for p in before} == before
    with open(folder / "pictures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = {row["file"]: row["picture"] for row in rows}
    assert pictures == {
        "album/a/x.png": "x-2.png",
        "album/b/x.png": "x-3.png",
        "album/b/y.png": "y-2.png",
        "album/link": "link.png",
    }
    assert "4 pictures of attention, " in done.stderr
    assert "album/b" in done.stderr
    # Its own pictures it replaces, unless they are the photos.
    assert caption("--attention=album/b", *photos).returncode == 0
    assert len(contents(album)) == len(before) + 6
    # In a folder they are no photos.
    done = caption("album/b")
    assert len(done.stdout.splitlines()) == 2
    assert "a picture of attention" in done.stderr and "(4):" in done.stderr
    picture = "album/b/link.png"
    assert caption("--attention=album/b", picture).returncode == 0
    assert (folder / "link-2.png").exists()


@shipped
@pytest.mark.parametrize("ending", ["csv", "json"])
def test_outputs_are_checked_before_the_work(album, ending, monkeypatch):
    def load(*_):
        raise AssertionError("the work begins")

    from show_attend_tell.inference import loading

    monkeypatch.setattr(loading, "load", load)
    theirs = pathlib.Path(f"theirs.{ending}")
    theirs.write_text('[{"image_id": 1, "caption": "a"}]')
    pathlib.Path("folder.csv").mkdir()
    pathlib.Path("folder.json").mkdir()
    for flag in (
        f"--output={theirs}",
        f"--output=folder.{ending}",
        f"--output={theirs}/below.{ending}",
        f"--output={'n' * 300}.{ending}",
        "--output=captions.txt",
        f"--attention={theirs}",
        f"--attention={theirs}/below",
    ):
        done = caption(flag, "album")
        assert done.returncode == 1
        assert flag.partition("=")[0] in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    assert theirs.read_text() == '[{"image_id": 1, "caption": "a"}]'


@shipped
def test_ids_are_paths_below_the_folder(album):
    done = caption("--output=captions.json", "album")
    assert done.returncode == 1  # Of the bad photo.
    entries = json.loads(pathlib.Path("captions.json").read_text())
    ids = [entry["image_id"] for entry in entries]
    assert ids == ["a/x.png", "b/x.png", "b/y.png"]
    for entry in entries:
        words = entry["caption"].split()
        for phrase in entry["phrases"]:
            part = words[phrase["start"] : phrase["stop"]]
            assert phrase["phrase"].split() == part
            left, top, right, bottom = phrase["box"]
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
            assert 0 < phrase["attention"] <= 1
    assert any(entry["phrases"] for entry in entries)
    assert "b/w.jpg" in done.stderr and "1 of 4 not captioned" in done.stderr
    # It may be written again.
    assert caption("--output=captions.json", "album/a").returncode == 0
    assert len(json.loads(pathlib.Path("captions.json").read_text())) == 1


@shipped
def test_no_photo_ends_the_others(album, monkeypatch):
    """Whatever it raises, and wherever."""
    from show_attend_tell.inference import tflite_captioner

    os.mkdir("empty")
    load_image = tflite_captioner.load_image

    def fail(photo):
        if photo.endswith("a/x.png"):
            raise MemoryError
        if photo.endswith("b/x.png"):
            raise ZeroDivisionError("a fault")
        return load_image(photo)

    monkeypatch.setattr(tflite_captioner, "load_image", fail)
    done = caption("--output=captions.csv", "empty", "missing.jpg", "album")
    assert done.returncode == 1
    with open("captions.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [
            "album/b/y.png"
        ]
    lines = done.stderr.splitlines()
    for expected in (
        "error: Expected photos",
        "missing.jpg",
        "error: album/a/x.png: there is not enough memory",
        "error: album/b/x.png: ZeroDivisionError: a fault",
        "album/b/w.jpg",
    ):
        assert sum(expected in line for line in lines) == 1
    assert lines[-1] == "5 of 6 not captioned"
    assert "Traceback" not in done.stderr


@shipped
def test_names_control_neither_terminals_nor_spreadsheets(album):
    names = [b"=1+1.png", b"-x\n0 errors.png", b"caf\xe9\x1b[2J.png"]
    for name in names:
        shutil.copy("album/a/x.png", os.fsdecode(name))
    done = caption("--", *map(os.fsdecode, names))
    assert done.returncode == 0
    printed = [line.split(": ")[0] for line in done.stdout.splitlines()]
    assert printed == [
        "=1+1.png",
        "-x\\n0 errors.png",
        "caf\\xe9\\x1b[2J.png",
    ]
    for output in ("o.csv", "o.json"):
        done = caption(f"--output={output}", "--", *map(os.fsdecode, names))
        assert done.returncode == 0, done.stderr
    with open("o.csv", newline="", encoding="utf-8") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert files == [f"'{printed[0]}", f"'{printed[1]}", printed[2]]
    entries = json.loads(pathlib.Path("o.json").read_text(encoding="utf-8"))
    assert [entry["image_id"] for entry in entries] == printed


@shipped
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_leaves_what_is_captioned(album, monkeypatch, number, code):
    from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner

    prepare = TFLiteCaptioner.prepare

    def stop(self, photo):
        if photo.endswith("y.png"):
            os.kill(os.getpid(), number)
        return prepare(self, photo)

    monkeypatch.setattr(TFLiteCaptioner, "prepare", stop)
    done = caption("--output=captions.csv", "--attention=pictures", "album")
    assert done.returncode == code
    with open("captions.csv", newline="") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert files == ["album/a/x.png", "album/b/x.png"]
    assert "2 captions written: captions.csv" in done.stderr
    assert "2 pictures of attention" in done.stderr
    assert done.stderr.endswith("stopped\n")


@shipped
def test_a_full_disk_and_a_pipe(album):
    for link, target in (("full.csv", "full"), ("out.csv", "stdout")):
        os.symlink(f"/dev/{target}", link)
    done = caption("--output=full.csv", "album/a")
    assert done.returncode == 1
    assert "error: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_command(
        "caption", f"--model={SHIPPED}", "--output=/dev/stdout", "album/a"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("file,rank,caption,log_probability,score\n")
    assert "\nalbum/a/x.png,1," in done.stdout
