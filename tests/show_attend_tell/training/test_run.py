"""A run from nothing to its scores, as a user starts it."""

import fcntl
import json
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

from show_attend_tell.inference.model_files import load_model
from show_attend_tell.metrics.bleu import bleu
from tests.conftest import ROOT
from tests.show_attend_tell.conftest import TINY, run_command

SCORES = {"BLEU-1", "BLEU-4", "BLEU-4_no_penalty", "true_captions"}
SCORES |= {"pointing_accuracy", "pointing_chance", "one_reference_BLEU-4"}


def read(path):
    return json.loads(path.read_text())


def test_leaves_scores_model_words_and_pictures(trained):
    scores = read(trained / "scores.json")
    assert scores["split"] == "test"
    for split in (scores, scores["novel"]):
        assert set(split) >= SCORES
        assert all(0 <= split[name] <= 1 for name in SCORES)
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
    from pipelines.sources.scenes import load_scenes

    said = {
        entry["image_id"]: entry["caption"]
        for entry in read(trained / "captions_test.json")
    }
    images = load_scenes(0, 0, 12, 0).images
    expected = bleu(
        [said[image.id].split() for image in images],
        [[text.split() for text in image.captions] for image in images],
    )
    scores = read(trained / "scores.json")
    assert scores["BLEU-4"] == pytest.approx(expected["BLEU-4"], abs=1e-12)


@pytest.mark.proof
def test_a_finished_run_is_not_trained_again(trained):
    before = (trained / "scores.json").read_bytes()
    model = (trained / "best.keras").read_bytes()
    done = run_command("train", f"--workdir={trained}", *TINY)
    assert done.returncode == 0, done.stderr
    assert (trained / "scores.json").read_bytes() == before
    assert (trained / "best.keras").read_bytes() == model


def test_one_training_at_a_time(tmp_path):
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_command("train", f"--workdir={tmp_path}", *TINY)
    assert done.returncode == 1
    assert "Another training is writing" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_flags_are_refused(trained):
    flags = [flag for flag in TINY if "units=32" not in flag]
    done = run_command("train", f"--workdir={trained}", *flags)
    assert done.returncode == 1
    assert "--units=32 (received 256)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "flag, told",
    [
        ("--dropout=1", "--dropout"),
        ("--units=0", "--units"),
        ("--dataset=flickr8k", "--data_dir"),
        ("--encoder=vgg99", "vgg19"),
        ("--encoder_weights=/nowhere.h5", "--encoder_weights=FILE"),
        ("surplus", "surplus"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, flag, told):
    done = run_command("train", f"--workdir={tmp_path}/run", flag)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def weights(path):
    model = load_model(str(path))
    variables = [*model.weights, *model.optimizer.variables]
    return [np.asarray(variable) for variable in variables]


@pytest.mark.proof
def test_self_critical_training_goes_on_from_a_trained_model(trained, tmp_path):
    flags = [*TINY, "--objective=self_critical", "--epochs=1"]
    flags.append(f"--warm_start={trained}")
    done = run_command("train", f"--workdir={tmp_path}", *flags)
    assert done.returncode == 0, done.stderr
    history = read(tmp_path / "history.json")
    assert [entry["epoch"] for entry in history] == [0, 1]
    assert all(0 <= entry["CIDEr-D"] <= 10 for entry in history)
    # It starts from the best that there was.
    before = max(entry["BLEU-4"] for entry in read(trained / "history.json"))
    assert history[0]["BLEU-4"] == before
    assert "reward" in done.stdout
    assert "CIDEr-D" in (tmp_path / "curves.svg").read_text()


@pytest.mark.proof
@pytest.mark.parametrize(
    "options",
    [
        (),
        (
            "--objective=hard_attention",
            "--batch_size=40",
            "--label_smoothing=0.1",
            "--scheduled_sampling=0.5",
            "--ema=0.9",
            "--keep_epochs=1",
        ),
        ("--objective=self_critical",),
    ],
    ids=["plain", "options", "self_critical"],
)
def test_a_killed_run_ends_like_one_that_was_not(tmp_path, trained, options):
    """Three runs, each killed three times at random moments."""
    flags = [*TINY, "--checkpoint_minutes=0", "--dropout=0.3", *options]
    if "--objective=self_critical" in options:
        flags.append(f"--warm_start={trained}")
    whole = tmp_path / "whole"
    began = time.monotonic()
    done = run_command("train", f"--workdir={whole}", *flags)
    duration = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    dice = random.Random()
    for attempt in range(3):
        workdir = tmp_path / f"killed{attempt}"
        command = [
            sys.executable,
            "-m",
            "show_attend_tell.train",
            f"--workdir={workdir}",
            *flags,
        ]
        for _ in range(3):
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            moment = dice.uniform(0.3, 0.95) * duration
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = run_command("train", f"--workdir={workdir}", *flags)
        assert done.returncode == 0, done.stderr
        for name in ("scores.json", "history.json", "captions_test.json"):
            same = (workdir / name).read_bytes() == (whole / name).read_bytes()
            assert same, (attempt, name)
        for ours, theirs in zip(
            weights(workdir / "last.keras"),
            weights(whole / "last.keras"),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
        for shard in (whole / "annotations").glob("*.array_record"):
            other = workdir / "annotations" / shard.name
            assert other.read_bytes() == shard.read_bytes()
        shutil.rmtree(workdir)


@pytest.mark.proof
def test_hard_attention_learns_to_move(tmp_path):
    """A known failure is attention that is the same at every step.

    By straight-through Gumbel: three epochs are too few for REINFORCE, whose
    gradient is held to the enumerated one in `test_hard_attention`.
    """
    done = run_command(
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
