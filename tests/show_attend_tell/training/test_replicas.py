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

import numpy as np
import pytest

from pipelines.batches import CaptionedAnnotation, TrainingBatches
from pipelines.errors import UserError
from show_attend_tell.inference.model_files import load_model
from show_attend_tell.training.run import check_shares
from tests.conftest import ROOT
from tests.show_attend_tell.conftest import TINY, command_environment

TWO_DEVICES = (
    sys.executable,
    "-m",
    "tests.show_attend_tell.training.two_devices",
)


def on_two_devices(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*TWO_DEVICES, *arguments],
        cwd=ROOT,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )


def compared(*parts: str) -> dict[str, dict[str, float]]:
    done = on_two_devices("compare", *parts)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found():
    return compared("hard", "released", "dropout")


def check_training(found):
    assert found["steps"] == 3
    assert found["moved"] > 0.02
    assert found["weights"] < 1e-5
    assert found["means"] < 1e-5


@pytest.mark.proof
def test_training_is_that_of_one_device():
    check_training(compared("likelihood")["likelihood"])


@pytest.mark.proof
@pytest.mark.parametrize("scale", ["hard", "released"])
def test_places_are_learned_as_on_one_device(found, scale):
    assert found[scale]["loss"] < 1e-5
    assert found[scale]["baseline"] < 1e-6
    assert found[scale]["moved"] > 0.1


@pytest.mark.proof
def test_each_device_has_its_own_chance(found):
    assert found["dropout"]["again"] == 0
    assert found["dropout"]["later"] > 0.01
    assert found["dropout"]["other_device"] > 0.01


@pytest.mark.proof
def test_self_critical_training_is_that_of_one_device():
    found = compared("self_critical")["self_critical"]
    check_training(found)
    assert found["reward"] > 0.05


FLAGS = (*TINY, "--strategy=mirrored", "--batch_size=20", "--ema=0.9")


def history(workdir):
    return json.loads((workdir / "history.json").read_text())


def weights(workdir):
    model = load_model(str(workdir / "last.keras"))
    variables = [*model.weights, *model.optimizer.variables]
    return [np.asarray(variable) for variable in variables]


@pytest.mark.parametrize(
    ("batching", "size", "devices", "told"),
    [
        ("image", 16, 2, "3 images of 5 captions. Give --batch_size=20"),
        ("image", 64, 8, "13 images of 5 captions. Give --batch_size=80"),
        ("image", 5, 4, "1 images of 5 captions. Give --batch_size=20"),
        ("length", 13, 3, "13 images of 1 captions. Give --batch_size=12"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(
    batching, size, devices, told
):
    example = CaptionedAnnotation(0, (np.array([1, 4, 2]),) * 5)
    batches = TrainingBatches(None, [example], size, batching)
    with pytest.raises(UserError, match=told):
        check_shares(batches, devices)
    fits = int(told.rpartition("=")[2])
    check_shares(dataclasses.replace(batches, batch_size=fits), devices)


@pytest.mark.proof
@pytest.mark.parametrize("options", [(), ("--finetune=block4_conv1",)])
def test_a_run_is_that_of_one_device(trained, tmp_path, options):
    flags = (*FLAGS, "--dropout=0", *options)
    if not options:
        flags += (f"--annotations={trained / 'annotations'}",)
    for name, strategy in (("one", "none"), ("two", "mirrored")):
        done = on_two_devices(
            "train",
            *flags,
            f"--strategy={strategy}",
            f"--workdir={tmp_path / name}",
        )
        assert done.returncode == 0, done.stderr
    one, two = tmp_path / "one", tmp_path / "two"
    for ours, theirs in zip(weights(two), weights(one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-4)
    for ours, theirs in zip(history(two), history(one), strict=True):
        assert ours["words"] == pytest.approx(theirs["words"], abs=0.5)


@pytest.mark.proof
def test_a_killed_run_ends_like_one_that_was_not(trained, tmp_path):
    """With all kinds of chance that there are."""
    flags = (
        *FLAGS,
        "--checkpoint_minutes=0",
        "--dropout=0.3",
        "--objective=hard_attention",
        "--scheduled_sampling=0.5",
        f"--annotations={trained / 'annotations'}",
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    done = on_two_devices("train", *flags, f"--workdir={whole}")
    duration = time.monotonic() - began
    assert done.returncode == 0, done.stderr
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
    done = on_two_devices("train", *flags, f"--workdir={killed}")
    assert done.returncode == 0, done.stderr
    assert history(killed) == history(whole)
    for ours, theirs in zip(weights(killed), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
