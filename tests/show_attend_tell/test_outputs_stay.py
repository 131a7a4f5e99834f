"""No command writes over a file that it did not make, or works first."""

import pytest

from tests.show_attend_tell.conftest import call_command


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "--workdir=none", "--format=tflite", "--output=a.tflite"),
        ("export", "--workdir=none", "--output=a.tflite"),
        ("train_encoder", "--output=a.weights.h5"),
    ],
)
def test_outputs_are_checked_before_the_work(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    name = arguments[-1].partition("=")[2]
    (tmp_path / name).write_text("not ours")
    done = call_command(*arguments)
    assert done.returncode == 1
    assert name in done.stderr and "--output" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / name).read_text() == "not ours"
