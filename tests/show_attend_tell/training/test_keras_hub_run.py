"""A backbone of keras-hub from training to a file for devices."""

import numpy as np
import pytest

from pipelines.images.decoding import decode_image
from pipelines.sources.scenes import load_scenes
from tests.pipelines.encoders.presets import save_preset
from tests.show_attend_tell.conftest import TINY, run_command


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["vgg", "dinov2"])
def test_it_is_trained_and_captions_and_is_exported(tmp_path, kind):
    from show_attend_tell.inference.saved_model_captioner import (
        SavedModelCaptioner,
    )
    from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    preset = save_preset(tmp_path / "preset", kind)
    workdir, exported = str(tmp_path / "run"), str(tmp_path / "exported")
    tflite = str(tmp_path / "captioner.tflite")
    encoder = f"--encoder=keras_hub:{preset}"
    for command in (
        ("train", f"--workdir={workdir}", encoder, *TINY),
        ("export", f"--workdir={workdir}", f"--output={exported}"),
        (
            *("export", f"--workdir={workdir}", "--format=tflite"),
            f"--output={tflite}",
        ),
    ):
        done = run_command(*command)
        assert done.returncode == 0, done.stderr
    images = load_scenes(0, 0, 3, 0).images
    pixels = [decode_image(image.read()) for image in images]
    captioner = WorkdirCaptioner.load(workdir)
    assert captioner.encoder.name == f"keras_hub:{preset}"
    expected = captioner.caption(pixels)
    for other in (
        SavedModelCaptioner(f"{exported}/1"),
        TFLiteCaptioner(tflite),
    ):
        captions = other.caption(pixels)
        assert [c.words for c in captions] == [c.words for c in expected]
        np.testing.assert_allclose(
            captions[0].attention, expected[0].attention, atol=1e-4
        )
