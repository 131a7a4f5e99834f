"""A captioner that was really trained, for a moment."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TINY = (
    "--train_images=64",
    "--validation_images=8",
    "--test_images=12",
    "--epochs=2",
    "--units=32",
    "--embedding_size=16",
    "--attention_units=16",
    "--pictures=2",
)


def run_command(module: str, *arguments: str, **options):
    """Runs `python -m show_attend_tell.MODULE`; returns what came of it.

    Java is not found there: METEOR takes long to start, and is tested for
    itself.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": os.path.dirname(sys.executable),
    }
    return subprocess.run(
        [sys.executable, "-m", f"show_attend_tell.{module}", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The workdir of a small run on scenes."""
    workdir = tmp_path_factory.mktemp("runs") / "scenes"
    done = run_command("train", f"--workdir={workdir}", *TINY)
    assert done.returncode == 0, done.stderr
    return workdir
