"""The shipped model captions a photo without training, as its card says."""

import pytest

from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from show_attend_tell.inference import shipped_model
from show_attend_tell.inference.tflite_file import read_tflite
from tests.examples.native_runtime import MODEL, PHOTO
from tests.show_attend_tell.conftest import call_command

pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")


def test_photo_is_captioned_and_attention_rendered(tmp_path):
    # A man behind a camera on a tripod; CC0, by Lav Varshney.
    pictures = tmp_path / "pictures"
    done = call_command("caption", f"--attention={pictures}", str(PHOTO))
    assert done.returncode == 0, done.stderr
    path, text = done.stdout.strip().split(": ")
    assert path == str(PHOTO)
    assert {"man", "camera"} <= set(text.split())
    assert (pictures / "photo.png").stat().st_size > 10_000


def test_model_matches_its_card():
    settings, vocabulary, _ = read_tflite(MODEL)
    card = MODEL.with_suffix(".md").read_text(encoding="utf-8")
    size = MODEL.stat().st_size
    assert size <= 16e6 and f"{size / 1e6:.1f} MB" in card
    assert f"{len(vocabulary):,} words" in card
    assert f"beam of {settings.beam_width}" in card
    assert f"`{settings.precision}`" in card
    encoder = build_encoder("efficientnet_lite0")
    assert settings.encoder_digest == encoder.digest


def test_missing_model_is_an_error(monkeypatch):
    monkeypatch.setattr(shipped_model, "FILE_NAME", "savedmodels/none.tflite")
    with pytest.raises(UserError, match="--workdir=RUN or --model="):
        shipped_model.shipped_model()


def test_two_models_are_refused():
    flags = [f"--model={MODEL}", "--workdir=runs/scenes"]
    done = call_command("caption", *flags, str(PHOTO))
    assert done.returncode == 1
    assert "not both" in done.stderr and "Traceback" not in done.stderr
