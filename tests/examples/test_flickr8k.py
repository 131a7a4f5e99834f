"""The captioner that ships: says what is in a photo, without training."""

import os
import subprocess
import sys

import pytest

from pipelines.encoders.registry import build_encoder
from show_attend_tell.inference import shipped_model as shipped
from show_attend_tell.inference.tflite_file import read_tail
from tests.conftest import ROOT
from tests.examples.native import MODEL

pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

# A man behind a camera on a tripod; CC0, by Lav Varshney.
PHOTO = ROOT / "docs" / "photo.png"


def captioned(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "show_attend_tell.caption", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_names_what_is_in_a_photo_and_draws_it(tmp_path):
    done = captioned(tmp_path, "--attention=pictures", str(PHOTO))
    assert done.returncode == 0, done.stderr
    path, said = done.stdout.strip().split(": ")
    assert path == str(PHOTO)
    assert {"man", "camera"} <= set(said.split())
    assert (tmp_path / "pictures" / "photo.png").stat().st_size > 10_000


def test_is_what_its_card_says():
    settings, vocabulary = read_tail(MODEL)
    card = MODEL.with_suffix(".md").read_text()
    size = MODEL.stat().st_size
    assert size <= 16e6 and f"{size / 1e6:.1f} MB" in card
    assert f"{len(vocabulary):,} words" in card
    assert f"beam of {settings.beam_width}" in card
    assert f"`{settings.precision}`" in card
    encoder = build_encoder("efficientnet_lite0")
    assert settings.encoder_digest == encoder.digest


def test_a_package_without_it_asks_for_another(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FILE_NAME", "savedmodels/none.tflite")
    with pytest.raises(shipped.UserError, match="--workdir=RUN or --model="):
        shipped.shipped_model()


def test_two_models_at_once_are_refused(tmp_path):
    done = captioned(
        tmp_path, f"--model={MODEL}", "--workdir=runs/scenes", str(PHOTO)
    )
    assert done.returncode == 1
    assert "not both" in done.stderr and "Traceback" not in done.stderr
