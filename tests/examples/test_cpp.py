"""The C++ example generates the captions of the native runtime."""

import hashlib
import importlib.util
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from pipelines.images.decoding import decode_image
from pipelines.words import join_words
from tests.conftest import ROOT
from tests.examples.native_runtime import (
    MODEL,
    PHOTO,
    NativeRuntime,
    needs_model,
)
from tests.tflite_files import malformed_files

SOURCE = ROOT / "examples" / "cpp" / "caption.cc"

pytestmark = needs_model


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> pathlib.Path:
    """`caption.cc`, compiled as its first lines say."""
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    package = importlib.util.find_spec("ai_edge_litert")
    if package is None:
        pytest.skip("ai_edge_litert is not installed")
    folder = pathlib.Path(package.origin).parent
    program = tmp_path_factory.mktemp("program") / "caption"
    done = run(
        *("g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", SOURCE),
        *("-o", program, folder / "libLiteRt.so", f"-Wl,-rpath,{folder}"),
    )
    assert done.returncode == 0, done.stderr
    return program


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True
    )


def test_words_are_joined_as_in_python(program, polyglot, tmp_path):
    photo = decode_image(PHOTO.read_bytes())
    Image.fromarray(photo).save(tmp_path / "photo.ppm")
    done = run(program, polyglot, tmp_path / "photo.ppm")
    native = NativeRuntime(polyglot)
    words = native.caption(native.fit(photo))["words"]
    assert join_words(words) != " ".join(words)
    assert done.stdout.splitlines()[0] == join_words(words)


@pytest.mark.parametrize("method", ["beam", "greedy"])
def test_caption_equals_that_of_the_native_runtime(
    program, native, tmp_path, method
):
    photo = decode_image(PHOTO.read_bytes())
    Image.fromarray(photo).save(tmp_path / "photo.ppm")
    done = run(program, MODEL, tmp_path / "photo.ppm", method)
    assert done.returncode == 0, done.stderr
    text, log_probability, *lines = done.stdout.splitlines()
    expected = native.caption(native.fit(photo), method)
    assert text == " ".join(expected["words"])
    assert float(log_probability.split()[1]) == pytest.approx(
        float(expected["logProbability"]), abs=1e-3
    )
    for word, attention, line in zip(
        expected["words"], expected["attention"], lines, strict=True
    ):
        row, column = np.unravel_index(attention.argmax(), native.grid)
        location, weight = line.rsplit(", ", 1)
        assert location == f"{word}: row {row}, column {column}"
        np.testing.assert_allclose(float(weight), attention.max(), atol=1e-4)


def test_malformed_models_are_refused_in_a_line(program, tmp_path):
    path = tmp_path / "model.tflite"
    for name, content in malformed_files(tmp_path).items():
        path.write_bytes(content)
        done = run(program, path, tmp_path / "photo.ppm")
        assert done.returncode == 1, name
        assert "export it again" in done.stderr, name
        assert done.stderr.count("\n") == 1, name


def test_changed_weights_are_refused(program, tmp_path):
    content = bytearray(MODEL.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.tflite").write_bytes(content)
    done = run(program, tmp_path / "model.tflite", tmp_path / "photo.ppm")
    assert done.returncode == 1
    assert "another SHA-256" in done.stderr


def test_digests_are_those_of_sha_256(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    (tmp_path / "digest.cc").write_text(
        '#include "sha256.h"\n#include <iostream>\n#include <iterator>\n'
        "int main() { std::string text(std::istreambuf_iterator<char>("
        "std::cin), {}); std::cout << sha256::digest(reinterpret_cast<"
        "const uint8_t*>(text.data()), text.size()); }"
    )
    done = run(
        *("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I"),
        *(SOURCE.parent, tmp_path / "digest.cc", "-o", tmp_path / "digest"),
    )
    assert done.returncode == 0, done.stderr
    # The examples of FIPS 180-4, and every way to end.
    texts = [b"", b"abc", b"a" * 1_000_000, *map(bytes, range(50, 130, 6))]
    for text in (*texts, bytes(range(64)), bytes(55), bytes(56), bytes(119)):
        done = subprocess.run(
            [tmp_path / "digest"], input=text, capture_output=True, check=True
        )
        assert done.stdout.decode() == hashlib.sha256(text).hexdigest()
