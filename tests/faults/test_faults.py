"""Short campaigns; by hand they are as long as one likes, with any seed."""

import shutil

import pytest

from tests.faults import campaign


@pytest.fixture
def survives(tmp_path):
    """Runs a campaign on what lies in `tmp_path`, and checks its outcome."""

    def check(name, count):
        result = campaign.run(name, count, seed=1, workers=1, corpus=tmp_path)
        assert not result.faults, "\n".join(result.lines())

    return check


def test_images(device_file, tmp_path, survives):
    # What is crafted takes long to make, and has tests of its own.
    (tmp_path / "images" / "crafted").mkdir(parents=True)
    shutil.copy(device_file, tmp_path / "images" / "small.tflite")
    survives("images", 40)


def test_caption_files(survives):
    survives("captions", 100)


def test_files_of_runs_and_caches(trained, tmp_path, survives):
    for name in ("run", "other"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    survives("runs", 24)


def test_exported_models(device_file, exported, tmp_path, survives):
    for name in ("small", "other"):
        shutil.copytree(exported, tmp_path / "models" / name / "1")
        shutil.copy(device_file, tmp_path / "models" / f"{name}.tflite")
    survives("models", 24)


def test_requests(exported, tmp_path, survives):
    shutil.copytree(exported, tmp_path / "requests" / "small" / "1")
    survives("requests", 40)


def test_reports(survives):
    survives("reports", 20)
