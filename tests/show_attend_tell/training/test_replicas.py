"""Two devices against one, in a process of their own.

Nothing here has seen two GPUs: the devices are logical ones of the CPU.
"""

import dataclasses
import json
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from pipelines.batches import CaptionedAnnotation, TrainingBatches
from pipelines.errors import UserError
from show_attend_tell.training.distribution import check_batch_size
from tests.conftest import ROOT
from tests.show_attend_tell import tiny
from tests.show_attend_tell.conftest import TINY, command_environment

TWO_DEVICES = (
    sys.executable,
    "-m",
    "tests.show_attend_tell.training.two_devices",
)
FLAGS = (*TINY, "--strategy=mirrored", "--batch_size=20")


def on_two_devices(*arguments: str) -> str:
    """Runs `two_devices`; returns what it printed."""
    done = subprocess.run(
        [*TWO_DEVICES, *arguments],
        cwd=ROOT,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.proof
def test_training_is_that_of_one_device():
    printed = on_two_devices("compare")
    differences = json.loads(printed.splitlines()[-1])
    for objective in ("likelihood", "self_critical"):
        difference = differences[objective]
        assert difference["steps"] == 3
        assert difference["moved"] > 0.02
        assert difference["weights"] < 1e-5
        assert difference["means"] < 1e-5
    assert differences["self_critical"]["reward"] > 0.05
    for scale in ("hard_attention", "released"):
        assert differences[scale]["loss"] < 1e-5
        assert differences[scale]["baseline"] < 1e-6
        assert differences[scale]["moved"] > 0.1
    # Each device has a randomness that follows from seed and step.
    assert differences["dropout"]["again"] == 0
    assert differences["dropout"]["later"] > 0.01
    assert differences["dropout"]["other_device"] > 0.01


@pytest.mark.parametrize(
    ("batching", "size", "devices", "message"),
    [
        ("image", 16, 2, "3 images of 5 captions. Give --batch_size=20"),
        ("image", 64, 8, "13 images of 5 captions. Give --batch_size=80"),
        ("image", 5, 4, "1 images of 5 captions. Give --batch_size=20"),
        ("length", 13, 3, "13 images of 1 captions. Give --batch_size=12"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(
    batching, size, devices, message
):
    example = CaptionedAnnotation(0, (np.array([1, 4, 2]),) * 5)
    batches = TrainingBatches(None, [example], size, batching)
    with pytest.raises(UserError, match=message):
        check_batch_size(batches, devices)
    fits = int(message.rpartition("=")[2])
    check_batch_size(dataclasses.replace(batches, batch_size=fits), devices)


def history(workdir):
    return json.loads((workdir / "history.json").read_text())


def checkpoint(workdir):
    return tiny.arrays_of(keras.saving.load_model(workdir / "last.keras"))


@pytest.mark.proof
@pytest.mark.parametrize(
    "options", [("--ema=0.9",), ("--finetune=block4_conv1",)]
)
def test_a_run_is_that_of_one_device(trained, tmp_path, options):
    flags = (*FLAGS, "--dropout=0", *options)
    if "--ema=0.9" in options:
        flags += (f"--annotations={trained / 'annotations'}",)
    one, two = tmp_path / "none", tmp_path / "mirrored"
    for workdir in (one, two):
        on_two_devices(
            "train",
            *flags,
            f"--strategy={workdir.name}",
            f"--workdir={workdir}",
        )
    for ours, theirs in zip(checkpoint(two), checkpoint(one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-4)
    for ours, theirs in zip(history(two), history(one), strict=True):
        assert ours["words"] == pytest.approx(theirs["words"], abs=0.5)


@pytest.mark.proof
def test_a_killed_run_ends_like_one_that_was_not(trained, tmp_path):
    """With every kind of randomness that there is."""
    flags = (
        *FLAGS,
        "--ema=0.9",
        "--checkpoint_minutes=0",
        "--dropout=0.3",
        "--objective=hard_attention",
        "--scheduled_sampling=0.5",
        f"--annotations={trained / 'annotations'}",
    )
    complete, killed = tmp_path / "complete", tmp_path / "killed"
    began = time.monotonic()
    on_two_devices("train", *flags, f"--workdir={complete}")
    duration = time.monotonic() - began
    process = subprocess.Popen(
        [*TWO_DEVICES, "train", *flags, f"--workdir={killed}"],
        cwd=ROOT,
        env=command_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(random.uniform(0.5, 0.8) * duration)
    process.send_signal(signal.SIGKILL)
    process.wait()
    on_two_devices("train", *flags, f"--workdir={killed}")
    assert history(killed) == history(complete)
    tiny.assert_equal(checkpoint(killed), checkpoint(complete))
