"""Runs in which the encoder learns."""

import json

import keras
import numpy as np
import pytest

from pipelines.encoders.fine_tuning import cut_encoder
from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from show_attend_tell.configs.recipes import scenes
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.inference.model_files import load_model
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from show_attend_tell.training import run as training
from show_attend_tell.training.data import prepare_data
from tests.show_attend_tell.conftest import TINY, run_command
from tests.show_attend_tell.training.test_live_encoder import uncompiled


def _history(workdir):
    return json.loads((workdir / "history.json").read_text())


def encoder_weights(path):
    return load_model(str(path)).encoder.get_weights()


@pytest.mark.proof
def test_a_run_and_its_captions(trained, tmp_path):
    """As a user does it: train on from a layer up, then caption files."""
    workdir = tmp_path / "run"
    flags = [
        *TINY,
        f"--warm_start={trained}",
        "--finetune=block4_conv1",
        "--encoder_learning_rate=1e-3",
    ]
    done = run_command("train", f"--workdir={workdir}", *flags)
    assert done.returncode == 0, done.stderr
    assert "coordinates of 96 images" in done.stdout
    # The start is the model that there was, but for how features are rounded.
    best = max(e["BLEU-4"] for e in _history(trained))
    assert _history(workdir)[0]["BLEU-4"] == pytest.approx(best, abs=0.02)
    described = json.loads((workdir / "encoder.json").read_text())
    assert (described["layer"], described["depth"]) == ("coordinates", 66)
    learned = encoder_weights(workdir / "last.keras")
    before = cut_encoder("scenes", None, "default", "block4_conv1")
    for one, other in zip(learned, before.live.get_weights(), strict=True):
        assert 0 < np.abs(one - other).max() < 0.02
    images = load_scenes(0, 0, 6, 0).images
    files = [image.read() for image in images]
    captions = WorkdirCaptioner.load(str(workdir)).caption(files)
    assert all(caption.attention.shape[1:] == (14, 14) for caption in captions)
    said = json.loads((workdir / "captions_test.json").read_text())
    there = {entry["image_id"]: entry["caption"] for entry in said}
    here = {i.id: c.text for i, c in zip(images, captions, strict=True)}
    # The cache rounds features; now and then a word changes.
    assert sum(here[id] == there[id] for id in there if id in here) >= 5
    # What is cached is no annotation, and nobody takes it for one.
    config = RunConfig.load(str(workdir)).replace(
        annotations=str(workdir / "annotations")
    )
    for finetune, wanted in (("", "block4_conv2"), ("all", "pixels")):
        config = config.replace(finetune=finetune)
        with pytest.raises(UserError) as caught:
            prepare_data(config, str(tmp_path))
        assert f"scenes/{wanted}, found scenes/coord" in str(caught.value)
        assert f"--encoder_layer={wanted}" in str(caught.value)


class Stopped(Exception):
    """In place of a kill."""


def run_of(config, workdir, data, saves=None):
    """A run, to be stopped after it has saved so many times."""
    workdir.mkdir(exist_ok=True)
    keras.utils.set_random_seed(config.training.seed)
    run = training._Run(config, str(workdir), data)
    run.model.run_eagerly = True
    uncompiled(run.model)
    save, left = run.save, [saves]

    def and_stop():
        save()
        if left[0] is not None:
            left[0] -= 1
            if not left[0]:
                raise Stopped

    run.save = and_stop
    return run


def state(run):
    variables = [*run.model.weights, *run.model.optimizer.variables]
    return [np.array(variable) for variable in variables]


@pytest.mark.proof
def test_stopped_and_gone_on_is_not_stopped(tmp_path):
    config = scenes.CONFIG.replace(
        train_images=16,
        validation_images=1,
        test_images=1,
        units=8,
        embedding_size=8,
        attention_units=8,
        batch_size=40,
        epochs=2,
        length_step=40,
        checkpoint_minutes=0.0,
        finetune="block4_conv1",
        encoder_learning_rate=1e-3,
        augmentation="crop,flip,colour",
        annotations=str(tmp_path / "pixels"),
    )
    data = prepare_data(config, str(tmp_path))
    assert data.cache.metadata.layer == "pixels"
    first = data.encoder.get_weights()
    assert len(data.encoder.trainable_variables) == 4
    whole = run_of(config, tmp_path / "whole", data)
    whole._train_epoch(0)
    for one, other in zip(first, data.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    whole._train_epoch(1)
    assert whole._step() == 2 * whole.steps == 4

    expected = state(whole)

    data.encoder.set_weights(first)
    # Three times in the first epoch, and once in the second.
    stopped = run_of(config, tmp_path / "stopped", data, saves=4)
    stopped._train_epoch(0)
    with pytest.raises(Stopped):
        stopped._train_epoch(1)
    again = run_of(config, tmp_path / "stopped", data)
    assert again._step() == 3
    again._train_epoch(1)
    for one, other in zip(expected, state(again), strict=True):
        np.testing.assert_array_equal(one, other)
    moved = again.model.encoder.get_weights()
    moved = [np.any(a != b) for a, b in zip(first, moved, strict=True)]
    assert moved.count(True) == 4
