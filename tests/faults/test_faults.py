"""Short campaigns; by hand they are as long as one likes, with any seed."""

import shutil

from tests.faults import campaign


def assert_survived(result: campaign.Result) -> None:
    assert not result.faults, "\n".join(result.lines())


def test_malformed_images(device_file, tmp_path):
    folder = tmp_path / "images"
    # What is crafted takes long to make, and has tests of its own.
    (folder / "crafted").mkdir(parents=True)
    shutil.copy(device_file, folder / "small.tflite")
    result = campaign.run("images", 60, seed=1, workers=1, corpus=tmp_path)
    assert_survived(result)
