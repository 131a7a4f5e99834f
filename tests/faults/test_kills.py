"""Stops at random, of all kinds, and what goes on from them."""

import os
import pathlib

import pytest

from pipelines import checksums
from pipelines.processes import call_in_process
from tests.faults import campaign, forks
from tests.faults.kills import PHASES, leftovers

CONTENTS = (b"old", b"new" * 1000)


def test_a_folder_is_complete_after_a_kill_before_any_operation(tmp_path):
    # Forks of a process without threads are sound.
    assert call_in_process(_kill_everywhere, tmp_path) > 40


def _kill_everywhere(scratch: pathlib.Path) -> int:
    """Kills before the first operation on files, the second, ..."""
    functions = [f"pipelines.checksums:{f}" for f in ("write_bytes", "remove")]
    for number in range(1, 200):
        folder = scratch / str(number)
        folder.mkdir()
        command = ("tests.faults.replace_files", str(folder))
        harm = forks.Harm(operation=number)
        ended = forks.run(command, folder, functions, scratch / "output", harm)
        _check(folder)
        again = forks.run(command, folder, functions, scratch / "output")
        assert again.code == 0, again.text
        assert not leftovers(folder)
        assert (folder / "model").read_bytes() == CONTENTS[1]
        if not ended.code:
            return number
    raise AssertionError("it never came to its end")


def _check(folder: pathlib.Path) -> None:
    """Checks that all files are complete, and as their digests say."""
    names = [n for n in ("model", "epochs/01") if os.path.exists(folder / n)]
    assert all((folder / name).read_bytes() in CONTENTS for name in names)
    checksums.check(folder, names, "")


@pytest.mark.proof
def test_stops_of_all_kinds_in_all_phases(monkeypatch):
    monkeypatch.delenv(campaign.PHASE, raising=False)
    result = campaign.run("kills", len(PHASES), seed=2)
    assert not result.faults, "\n".join(result.lines())
