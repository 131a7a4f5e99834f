"""A run from nothing to its scores, as a user starts it."""

import fcntl
import json

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines.encoders.fine_tuning import cut_encoder
from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.inference.model_files import load_model
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from show_attend_tell.metrics.bleu import bleu
from show_attend_tell.training.data import prepare_data
from show_attend_tell.training.run import Run, train
from tests.show_attend_tell import tiny
from tests.show_attend_tell.conftest import (
    call_command,
    command_environment,
)

SCORES = {"BLEU-1", "BLEU-4", "BLEU-4_no_penalty", "true_captions"}
SCORES |= {"pointing_accuracy", "pointing_chance", "one_reference_BLEU-4"}


@pytest.fixture(autouse=True)
def _without_java(monkeypatch):
    """METEOR takes long to start, and is tested for itself."""
    monkeypatch.setenv("PATH", command_environment()["PATH"])


def read(path):
    return json.loads(path.read_text())


def test_leaves_scores_model_words_and_pictures(trained):
    scores = read(trained / "scores.json")
    assert scores["split"] == "test"
    for split in (scores, scores["novel"]):
        assert set(split) >= SCORES
        # Those of pointing are undefined where no caption names a thing.
        defined = [name for name in SCORES if split[name] is not None]
        assert all(0 <= split[name] <= 1 for name in defined)
        assert {*defined} >= {n for n in SCORES if "pointing" not in n}
    history = read(trained / "history.json")
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert read(trained / "config.json")["model"]["units"] == 32
    assert read(trained / "versions.json")["keras"] == keras.__version__
    pictures = sorted((trained / "pictures").iterdir())
    assert 1 <= len(pictures) <= 2
    assert Image.open(pictures[0]).width > 300
    assert Image.open(trained / "contact_sheet.png").height > 300
    assert "BLEU-4" in (trained / "curves.svg").read_text()
    assert any((trained / "tensorboard").iterdir())
    assert not list(trained.rglob("*.tmp-*"))


def test_scores_are_those_of_the_written_captions(trained):
    captions = {
        entry["image_id"]: entry["caption"]
        for entry in read(trained / "captions_test.json")
    }
    images = load_scenes(0, 0, 12, 0).images
    expected = bleu(
        [captions[image.id].split() for image in images],
        [[text.split() for text in image.captions] for image in images],
    )
    scores = read(trained / "scores.json")
    assert scores["BLEU-4"] == pytest.approx(expected["BLEU-4"], abs=1e-12)


@pytest.mark.proof
def test_a_finished_run_is_not_trained_again(trained):
    names = ("scores.json", "best.keras", "last.keras")
    before = [(trained / name).read_bytes() for name in names]
    train(RunConfig.load(str(trained)), str(trained))
    assert before == [(trained / name).read_bytes() for name in names]


def test_what_another_run_has_is_refused(trained, tmp_path):
    config = RunConfig.load(str(trained))
    with pytest.raises(UserError, match=r"--units=32 \(received 256\)"):
        train(config.replace(units=256), str(trained))
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another training is writing"):
            train(config, str(tmp_path))


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--dropout=1", "--dropout"),
        ("--dataset=flickr8k", "--data_dir"),
        ("--boxes=.", "no --boxes with --dataset=scenes"),
        ("--encoder=vgg99", "vgg19"),
        ("--encoder_weights=/nowhere.h5", "--encoder_weights=FILE"),
        ("surplus", "surplus"),
    ],
)
def test_mistakes_are_one_line(tmp_path, flag, message):
    done = call_command("train", f"--workdir={tmp_path}/run", flag)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


class Stopped(Exception):
    """In place of a kill."""


def make_run(config, workdir, data, saves=None):
    """A run, stopped after it has saved so many times."""
    workdir.mkdir(exist_ok=True)
    keras.utils.set_random_seed(config.training.seed)
    run = Run(config, str(workdir), data)
    run.trainer.run_eagerly = True
    tiny.without_xla(run.trainer)
    save, counts = run.save, iter(range(1, 100))

    def save_and_stop():
        save()
        if next(counts) == saves:
            raise Stopped

    run.save = save_and_stop
    return run


STOPPED = {
    "all randomness": {
        "objective": "hard_attention",
        "scheduled_sampling": 0.5,
        "label_smoothing": 0.1,
        "attention_supervision": 0.5,
        "ema": 0.9,
        "dropout": 0.3,
    },
    "fine-tuning": {
        "finetune": "block4_conv1",
        "encoder_learning_rate": 1e-3,
        "augmentation": "crop,flip,colour",
        "attention_supervision": 0.5,
    },
}


@pytest.mark.parametrize(
    "name",
    [
        "all randomness",
        pytest.param("fine-tuning", marks=pytest.mark.proof),
    ],
)
def test_a_stopped_run_ends_like_one_that_was_not(trained, tmp_path, name):
    config = RunConfig.load(str(trained)).replace(
        train_images=16,
        validation_images=1,
        test_images=1,
        units=8,
        embedding_size=8,
        attention_units=8,
        batch_size=40,
        length_step=28,
        checkpoint_minutes=0.0,
        **STOPPED[name],
    )
    if not config.encoder.finetune:  # Those images are in it.
        config = config.replace(annotations=str(trained / "annotations"))
    data = prepare_data(config, str(tmp_path))
    encoder = data.encoder.get_weights() if data.encoder else []

    complete = make_run(config, tmp_path / "complete", data)
    complete.train_epoch(0)
    if data.encoder:  # Frozen in the first epoch.
        tiny.assert_equal(encoder, data.encoder.get_weights())
    complete.train_epoch(1)
    assert complete.trainer.steps_taken() == 4
    expected = tiny.arrays_of(complete.trainer)

    if data.encoder:
        data.encoder.set_weights(encoder)
    # Three times in the first epoch, and once in the second.
    stopped = make_run(config, tmp_path / "stopped", data, saves=4)
    stopped.train_epoch(0)
    with pytest.raises(Stopped):
        stopped.train_epoch(1)
    again = make_run(config, tmp_path / "stopped", data)
    assert again.trainer.steps_taken() == 3
    again.train_epoch(1)
    tiny.assert_equal(expected, tiny.arrays_of(again.trainer))
    if data.encoder:
        learned = again.trainer.captioner.encoder.get_weights()
        moved = [np.any(a != b) for a, b in zip(encoder, learned, strict=True)]
        assert moved.count(True) == 4


@pytest.mark.proof
def test_self_critical_training_goes_on_from_a_trained_model(trained, tmp_path):
    config = RunConfig.load(str(trained)).replace(
        objective="self_critical",
        epochs=1,
        warm_start=str(trained),
        attention_supervision=0.5,
    )
    train(config, str(tmp_path))
    history = read(tmp_path / "history.json")
    assert [entry["epoch"] for entry in history] == [0, 1]
    assert all(0 <= entry["CIDEr-D"] <= 10 for entry in history)
    # It starts from the best that there was.
    before = max(entry["BLEU-4"] for entry in read(trained / "history.json"))
    assert history[0]["BLEU-4"] == before
    assert "CIDEr-D" in (tmp_path / "curves.svg").read_text()


@pytest.mark.proof
def test_a_finetuned_run_and_its_captions(trained, tmp_path):
    """As a user does it: train on from a layer up, then caption files."""
    workdir = tmp_path / "run"
    config = RunConfig.load(str(trained)).replace(
        warm_start=str(trained),
        finetune="block4_conv1",
        encoder_learning_rate=1e-3,
    )
    train(config, str(workdir))
    # The start is the model that there was, but for how features are rounded.
    best = max(e["BLEU-4"] for e in read(trained / "history.json"))
    start = read(workdir / "history.json")[0]["BLEU-4"]
    assert start == pytest.approx(best, abs=0.02)
    described = read(workdir / "encoder.json")
    assert (described["layer"], described["depth"]) == ("coordinates", 66)
    trainer = keras.saving.load_model(workdir / "last.keras")
    learned = trainer.captioner.encoder.get_weights()
    before = cut_encoder("scenes", None, "default", "block4_conv1")
    for one, other in zip(learned, before.live.get_weights(), strict=True):
        assert 0 < np.abs(one - other).max() < 0.02
    images = load_scenes(0, 0, 6, 0).images
    files = [image.read() for image in images]
    captions = WorkdirCaptioner.load(str(workdir)).caption(files)
    assert all(caption.attention.shape[1:] == (14, 14) for caption in captions)
    written = {
        entry["image_id"]: entry["caption"]
        for entry in read(workdir / "captions_test.json")
    }
    # The cache rounds features; now and then a word changes.
    pairs = zip(images, captions, strict=True)
    assert sum(written[i.id] == c.text for i, c in pairs) >= 5
    # What is cached is no annotation, and is never taken for one.
    config = config.replace(annotations=str(workdir / "annotations"))
    for finetune, wanted in (("", "block4_conv2"), ("all", "pixels")):
        config = config.replace(finetune=finetune)
        with pytest.raises(UserError) as error:
            prepare_data(config, str(tmp_path))
        assert f"scenes/{wanted}, found scenes/coord" in str(error.value)
        assert f"--encoder_layer={wanted}" in str(error.value)


@pytest.mark.proof
def test_hard_attention_learns_to_move(tmp_path):
    """A known failure is attention that is the same at every step.

    By straight-through Gumbel: three epochs are too few for REINFORCE, whose
    gradient is compared with the enumerated one in `test_hard_attention`.
    """
    done = call_command(
        "train",
        "--recipe=scenes_hard",
        "--gumbel_temperature=1.0",
        "--epochs=3",
        "--validation_images=100",
        "--test_images=300",
        f"--workdir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    scores = read(tmp_path / "scores.json")
    assert scores["attention_change"] > 0.25
    assert scores["pointing_accuracy"] > 2 * scores["pointing_chance"]
    assert scores["attention_mass"] > 2 * scores["attention_mass_chance"]


def test_the_best_model_is_a_captioner_and_the_last_a_trainer(trained):
    captioner = load_model(str(trained / "best.keras"))
    trainer = keras.saving.load_model(trained / "last.keras")
    assert trainer.captioner.config == captioner.config
    with pytest.raises(UserError, match="Expected .* to hold a Captioner"):
        load_model(str(trained / "last.keras"))
