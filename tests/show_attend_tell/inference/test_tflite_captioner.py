"""Captioning with a .tflite equals Keras and needs no TensorFlow."""

import csv
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import show_attend_tell
from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from pipelines.words import join_words
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from show_attend_tell.inference.tflite_file import append_tail, read_tflite
from tests.conftest import ROOT
from tests.show_attend_tell.conftest import call_command
from tests.show_attend_tell.exporting import small
from tests.tflite_files import malformed_files, model_of

pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

HOST = ROOT / "examples" / "python" / "captioner.py"

# Runs a program where these cannot be imported, and prints what was.
BLOCKED = """
import runpy, sys, time
sys.modules.update(dict.fromkeys({blocked}))  # None: an ImportError.
sys.argv = {argv}
try:
    runpy.{run}
finally:
    print(sorted({{name.split(".")[0] for name in sys.modules}}))
"""
HEAVY = ("tensorflow", "keras", "keras_hub", "keras_nlp")
HEAVY += ("tensorflow_datasets", "matplotlib", "jax", "torch")


def run_without(blocked, run, *argv, isolated=False):
    """Returns the lines a program prints, and the packages it imported."""
    program = BLOCKED.format(
        blocked=list(blocked), argv=[str(x) for x in argv], run=run
    )
    command = [sys.executable, *(["-I"] if isolated else []), "-c", program]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    *lines, imported = done.stdout.splitlines()
    return lines, set(eval(imported)), done


def command(*argv):
    module = 'run_module("show_attend_tell.caption", run_name="__main__")'
    return run_without(HEAVY, module, "caption", *argv)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of many forms, from which the model sees the same by any way."""
    folder = tmp_path_factory.mktemp("photos")
    scenes = [image.read() for image in load_scenes(0, 0, 4, 0).images]
    picture = Image.open(io.BytesIO(scenes[0])).convert("RGB")
    picture.resize((301, 200)).save(folder / "wide.jpg")
    picture.resize((99, 256)).convert("L").save(folder / "tall.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.resize((90, 70)).save(folder / "turned.jpg", exif=exif)
    clear = Image.open(io.BytesIO(scenes[1])).convert("RGBA")
    clear.putalpha(100)
    clear.save(folder / "clear.png")
    Image.open(io.BytesIO(scenes[2])).convert("CMYK").save(folder / "cmyk.jpg")
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "sixteen.png")
    for n, square in enumerate(small.squares(4)):
        Image.fromarray(square).save(folder / f"square{n}.png")
    return folder


@pytest.fixture(scope="module")
def expected(photos):
    """Keras's captions."""
    names = sorted(os.listdir(photos))
    paths = [str(photos / name) for name in names]
    return dict(zip(paths, small.captioner().caption(paths), strict=True))


@pytest.fixture(scope="module")
def greedy(expected):
    """Keras's captions, word by word."""
    captions = small.captioner().caption(list(expected), method="greedy")
    return dict(zip(expected, captions, strict=True))


@pytest.fixture(scope="module")
def cropping(device_file, tmp_path_factory):
    """The same file, which wants its photos cropped."""
    path = tmp_path_factory.mktemp("devices") / "cropping.tflite"
    settings, vocabulary, _ = read_tflite(device_file)
    crop = dataclasses.replace(settings, resize_mode="crop")
    path.write_bytes(model_of(device_file))
    append_tail(path, crop, vocabulary)
    return path


def test_captions_equal_those_of_keras(device_file, expected, greedy):
    loaded = show_attend_tell.load(str(device_file))
    actual = loaded.caption(list(expected))
    assert len({one.text for one in actual}) > 2
    for one, (path, other) in zip(actual, expected.items(), strict=True):
        assert one.words == other.words and one.finished == other.finished
        assert one.photo == path and one.resize_mode == other.resize_mode
        assert one.locations is None and other.locations is None
        for name in ("log_probability", "score"):
            assert getattr(one, name) == pytest.approx(
                getattr(other, name), rel=1e-4
            )
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)
        np.testing.assert_allclose(one.gate, other.gate, atol=1e-5)
    picture = actual[0].draw()
    assert picture.size == next(iter(expected.values())).draw().size
    path, other = next(iter(greedy.items()))
    assert loaded.caption(path, method="greedy").words == other.words


def test_settings_of_the_export_stay(device_file):
    loaded = TFLiteCaptioner(device_file)
    photo = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(UserError, match="beam_width=3. Received: beam_width=5"):
        loaded.caption(photo, beam_width=5)
    with pytest.raises(UserError, match="--method=beam or greedy"):
        loaded.caption(photo, method="sample")
    with pytest.raises(UserError, match="Received: width"):
        loaded.caption(photo, width=5)


def test_the_command_needs_no_tensorflow(
    device_file, photos, expected, tmp_path
):
    (tmp_path / "broken.png").write_bytes(b"no image")
    pictures = tmp_path / "pictures"
    lines, imported, done = command(
        f"--model={device_file}", f"--attention={pictures}", photos,
        tmp_path / "broken.png",
    )  # fmt: skip
    captions = dict(line.split(": ", 1) for line in lines)
    assert captions == {path: one.text for path, one in expected.items()}
    assert "broken.png" in done.stderr and done.returncode == 1
    assert "ai_edge_litert" in imported
    assert len(os.listdir(pictures)) == len(expected)


def test_captions_are_written_to_files(device_file, photos, expected, tmp_path):
    files = tmp_path / "captions.csv", tmp_path / "captions.json"
    for path in files:
        done = call_command(
            "caption", f"--model={device_file}", f"--output={path}", photos
        )
        assert done.returncode == 0, done.stderr
    captions = {path: one.text for path, one in expected.items()}
    with open(files[0], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"]: row["caption"] for row in rows} == captions
    entries = json.loads(files[1].read_text(encoding="utf-8"))
    assert [one["caption"] for one in entries] == list(captions.values())


def test_the_command_starts_at_once(device_file, photos):
    """In a second of the processor; the wall's clock has other work."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command(f"--model={device_file}", photos / "wide.jpg")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime < (
        before.ru_utime + before.ru_stime + 1.0
    )


def test_files_that_do_not_load_are_named(device_file, tmp_path):
    wrong = tmp_path / "wrong.tflite"
    with pytest.raises(UserError, match="wrong.tflite"):
        show_attend_tell.load(str(wrong))
    # A tail of ours behind a model that is damaged, or another's.
    settings, vocabulary, _ = read_tflite(device_file)
    wrong.write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    append_tail(wrong, settings, vocabulary)
    with pytest.raises(UserError, match="wrong.tflite"):
        TFLiteCaptioner(wrong)
    wrong.write_bytes(model_of(device_file))
    more = dataclasses.replace(settings, columns=settings.columns + 1)
    append_tail(wrong, more, vocabulary)
    with pytest.raises(UserError, match="does not fit its captioner.json"):
        TFLiteCaptioner(wrong)


def test_what_the_runtime_cannot_run_is_an_error_in_one_line(device_file):
    captioner = TFLiteCaptioner(device_file)
    with pytest.raises(UserError, match="small.tflite.* cannot be run: ") as e:
        captioner.run("greedy", image=np.zeros((2, 1, 1, 3), np.uint8))
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match="cannot be run: .*signature_key"):
        captioner.run("none")


@pytest.mark.parametrize(
    ("name", "value"), [("tokens", 99), ("tokens", -1), ("length", 9)]
)
def test_words_that_the_vocabulary_lacks_are_refused(device_file, name, value):
    captioner = TFLiteCaptioner(device_file)
    outputs = captioner.run("greedy", image=small.squares(1))
    outputs[name].flat[0] = value
    with pytest.raises(UserError, match="does not fit .*vocabulary.txt"):
        captioner.parse(outputs)


def test_a_file_that_changes_while_it_is_used_changes_nothing(
    device_file, tmp_path
):
    path = tmp_path / "used.tflite"
    shutil.copy(device_file, path)
    captioner, square = TFLiteCaptioner(path), small.squares(1)[0]
    path.write_bytes(bytes(path.stat().st_size))
    expected = TFLiteCaptioner(device_file).caption(square)
    assert captioner.caption(square).words == expected.words


def test_without_litert_the_error_names_the_package(device_file, photos):
    module = 'run_module("show_attend_tell.caption", run_name="__main__")'
    _, _, done = run_without(
        ("ai_edge_litert",), module, "caption", f"--model={device_file}", photos
    )
    assert done.returncode == 1
    assert "show-attend-tell[lite]" in done.stderr


def test_the_file_to_copy_needs_three_packages(device_file, expected, tmp_path):
    shutil.copy(HOST, tmp_path / "captioner.py")
    lines, imported, _ = run_without(
        (*HEAVY, "absl", "pipelines", "show_attend_tell"),
        f'run_path({str(tmp_path / "captioner.py")!r}, run_name="__main__")',
        "captioner.py", device_file, *expected, isolated=True,
    )  # fmt: skip
    captions = dict(line.split(": ", 1) for line in lines)
    assert captions == {path: one.text for path, one in expected.items()}
    assert {"ai_edge_litert", "numpy", "PIL"} <= imported


def test_the_file_to_copy_refuses_malformed_files_in_a_line(
    device_file, photos, tmp_path
):
    path = tmp_path / "malformed.tflite"
    for content in malformed_files(tmp_path).values():
        path.write_bytes(content)
        with pytest.raises(ValueError, match="malformed.tflite: .*again"):
            host_captioner(path)
    run_path = f'run_path({str(HOST)!r}, run_name="__main__")'
    argv = "captioner.py", path, photos / "wide.jpg"
    *_, done = run_without(HEAVY, run_path, *argv)
    assert done.returncode == 1 and "malformed.tflite" in done.stderr
    argv = "captioner.py", device_file, HOST, photos / "wide.jpg"
    (line,), _, done = run_without(HEAVY, run_path, *argv)
    assert done.returncode == 1 and str(HOST) in done.stderr
    assert line.startswith(str(photos / "wide.jpg"))


def host_captioner(path):
    import runpy

    return runpy.run_path(str(HOST))["Captioner"](str(path))


def test_the_file_to_copy_streams_words_and_shows_attention(
    device_file, greedy
):
    host = host_captioner(device_file)
    for path, expected in greedy.items():
        with Image.open(path) as photo:
            words, attention = zip(*host.stream(photo), strict=True)
            text, log_probability, all_attention = host.caption(photo)
        assert join_words(words) == text == expected.text
        np.testing.assert_allclose(all_attention, expected.attention, atol=1e-5)
        np.testing.assert_allclose(attention, all_attention, atol=1e-5)
        assert log_probability == pytest.approx(
            expected.log_probability, rel=1e-4
        )


@pytest.mark.parametrize("resize_mode", ["squash", "crop"])
def test_pixels_are_within_a_grey_level_of_tensorflow(
    device_file, cropping, photos, resize_mode
):
    """JPEGs decoded accurately and resized by TensorFlow, as in training."""
    import tensorflow as tf

    path = {"squash": device_file, "crop": cropping}[resize_mode]
    host, device = host_captioner(path), TFLiteCaptioner(path)
    for name in ("wide.jpg", "square1.png"):
        encoded = (photos / name).read_bytes()
        if name.endswith(".jpg"):
            pixels = tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE")
        else:
            pixels = tf.io.decode_png(encoded, channels=3)
        height, width = pixels.shape[:2]
        shape, size = (small.SIZE, small.SIZE), small.SIZE
        if resize_mode == "crop":  # 11 is 10 * 256 / 224.
            shorter = min(height, width)
            shape = [int(11 * x / shorter + 0.5) for x in (height, width)]
        resized = tf.image.resize(tf.cast(pixels, "float32"), shape).numpy()
        top, left = ((side - size) // 2 for side in shape)
        wanted = resized[top : top + size, left : left + size]
        with Image.open(photos / name) as photo:
            actual = host.pixels(photo)
        assert np.abs(actual - wanted).max() <= 1
        same = device.prepare(str(photos / name))[0]
        np.testing.assert_array_equal(actual, same)
