"""A captioner that was really trained, for a moment, and exported."""

import contextlib
import dataclasses
import fcntl
import io
import os
import pathlib
import runpy
import subprocess
import sys

import pytest
from absl.flags import FLAGS

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


def command_environment() -> dict[str, str]:
    """Returns the environment that commands are run in.

    Java is not found there: METEOR takes long to start, and is tested for
    itself.
    """
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": os.path.dirname(sys.executable),
    }


def run_command(module: str, *arguments: str, **options):
    """Runs `python -m show_attend_tell.MODULE`; returns what came of it."""
    return subprocess.run(
        [sys.executable, "-m", f"show_attend_tell.{module}", *arguments],
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


def call_command(module: str, *arguments: str):
    """The same in this process, which has imported TensorFlow already."""
    output, errors = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, [module, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(output):
            with contextlib.redirect_stderr(errors):
                runpy.run_module(f"show_attend_tell.{module}", None, "__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = argv
        defined = FLAGS.flags_by_module_dict().get(module, ())
        FLAGS.remove_flag_values({flag.name: flag for flag in defined})
    return subprocess.CompletedProcess(
        module, code, output.getvalue(), errors.getvalue()
    )


def made_once(tmp_path_factory, name: str, make) -> pathlib.Path:
    """Returns a folder that the first of the testing processes makes.

    The others wait for it, so a test must leave in it what it found.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # That of all processes of this run.
    folder, made = base / name, base / f"{name}.made"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The workdir of a small run on scenes."""

    def make(workdir):
        done = run_command("train", f"--workdir={workdir}", *TINY)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "trained", make)


SETTINGS = {"beam_width": 3, "num_captions": 2, "max_words": 8}


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """The folder of version 1 of a captioner, with two captions an image."""
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]

    def make(folder):
        output = folder / "scenes"
        done = call_command(
            "export",
            f"--workdir={trained}",
            f"--output={output}",
            "--batch_sizes=2,1",
            *flags,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().splitlines()[-1] == str(output / "1")

    folder = made_once(tmp_path_factory, "savedmodels", make)
    return folder / "scenes" / "1"


@pytest.fixture(scope="session")
def keras_captioner(trained):
    """What was exported, with the settings of the export."""
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    captioner = WorkdirCaptioner.load(str(trained))
    captioner.decoding = dataclasses.replace(captioner.decoding, **SETTINGS)
    return captioner


@pytest.fixture(scope="session")
def device_file(tmp_path_factory):
    """`exporting.small.captioner`, as a file for devices."""
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

    def make(folder):
        from show_attend_tell.exporting import tflite
        from tests.show_attend_tell.exporting import small

        with pytest.MonkeyPatch.context() as patch:
            # The tests check it, and more sharply.
            patch.setattr(tflite, "check", lambda *_: None)
            tflite.export_tflite(small.captioner(), folder / "small.tflite")

    return made_once(tmp_path_factory, "devices", make) / "small.tflite"
