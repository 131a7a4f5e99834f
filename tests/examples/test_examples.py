"""The example code for other programs, where it can be run."""

import importlib.util
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from pipelines.images.decoding import decode_image
from tests.conftest import ROOT
from tests.examples.native import MODEL, PHOTO, Native, needs_model

SOURCE = ROOT / "examples" / "cpp" / "caption.cc"

pytestmark = needs_model


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> pathlib.Path:
    """`caption.cc`, compiled as it says itself."""
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    found = importlib.util.find_spec("ai_edge_litert")
    if found is None:
        pytest.skip("ai_edge_litert is not installed")
    folder = pathlib.Path(found.origin).parent
    program = tmp_path_factory.mktemp("program") / "caption"
    done = subprocess.run(
        ["g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", SOURCE,
         "-o", program, folder / "libLiteRt.so", f"-Wl,-rpath,{folder}"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return program


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True
    )


@pytest.mark.parametrize("method", ["beam", "greedy"])
def test_cpp_says_what_python_says(program, tmp_path, method):
    native = Native(MODEL)
    photo = decode_image(PHOTO.read_bytes())
    Image.fromarray(photo).save(tmp_path / "photo.ppm")
    done = run(program, MODEL, tmp_path / "photo.ppm", method)
    assert done.returncode == 0, done.stderr
    caption, log_probability, *looks = done.stdout.splitlines()
    pixels = native.fitted(photo)
    expected = native.caption(method, pixels)
    words = native.words(method, pixels)
    assert caption == " ".join(words)
    assert float(log_probability.split()[1]) == pytest.approx(
        float(expected["logProbability"]), abs=1e-3
    )
    columns = native.settings["columns"]
    for word, attention, look in zip(
        words, expected["attention"], looks, strict=True
    ):
        row, column = divmod(int(attention.argmax()), columns)
        told, weight = look.rsplit(", ", 1)
        assert told == f"{word}: row {row}, column {column}"
        np.testing.assert_allclose(float(weight), attention.max(), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [(b"", "no captioner"), (b"PK" + bytes(99), "no captioner")],
)
def test_cpp_refuses_what_is_no_captioner(program, tmp_path, model, message):
    (tmp_path / "model.tflite").write_bytes(model)
    done = run(program, tmp_path / "model.tflite", tmp_path / "photo.ppm")
    assert done.returncode == 1
    assert message in done.stderr
