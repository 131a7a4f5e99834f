"""Captions by Beam are those of `ImageCaptioner`."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import show_attend_tell
from pipelines.errors import UserError
from tests.conftest import ROOT
from tests.pipelines.sharded.conftest import BAD, HOSTILE, files_of
from tests.pipelines.sharded.conftest import photos as photos
from tests.show_attend_tell.conftest import run_command

pytest.importorskip("apache_beam", reason="Apache Beam is missing: [beam]")

from pipelines.sharded.images import images_of_glob  # noqa: E402
from pipelines.sharded.pipeline import run_pipeline  # noqa: E402
from show_attend_tell.sharded_captions import (  # noqa: E402
    ShardedCaptioning,
    model_digest,
)
from tests.pipelines.sharded.far_files import FarFileSystem  # noqa: E402

TWO_WORKERS = (
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
)


@pytest.fixture(scope="module")
def captioner(trained):
    return show_attend_tell.load(str(trained))


def captioning(model, output, **settings):
    model = str(model)
    return ShardedCaptioning(
        str(output), model, model_digest(model), **settings
    )


def caption(work, pattern, shard_size=5):
    spans = work.begin(images_of_glob(str(pattern)), shard_size)
    return run_pipeline(work, spans)


def entries(output):
    """Lines of all shards in order, by the id of the image."""
    lines = [
        json.loads(line)
        for path in sorted(pathlib.Path(output).glob("captions-*.jsonl"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return {line["id"]: line for line in lines}


def assert_said(entry, expected, digits=4):
    assert entry["caption"] == expected.text
    assert entry["words"] == list(expected.words)
    assert entry["finished"] == expected.finished
    assert entry["log_probability"] == pytest.approx(
        expected.log_probability, abs=10**-digits
    )


def test_the_command_captions_as_the_captioner_does(
    trained, captioner, photos, tmp_path
):
    output = tmp_path / "captions"
    command = (
        "caption_many",
        f"--images={photos}/*",
        f"--model={trained}",
        f"--output={output}",
        "--shard_size=7",
    )
    done = run_command(*command, "--", "--runner=FnApiRunner")
    assert done.returncode == 0, done.stderr
    assert "12 captioned, 6 set aside" in done.stdout
    found = entries(output)
    good = sorted({*os.listdir(photos)} & {*found} - {*BAD})
    assert len(good) == 12 and {*HOSTILE} < {*good}
    said = captioner.caption([str(photos / name) for name in good])
    for name, expected in zip(good, said, strict=True):
        assert_said(found[name], expected)
    bad = {id: line["error"] for id, line in found.items() if "error" in line}
    lines = (output / "errors.jsonl").read_text().split("\n")[:-1]
    told = {e["id"]: e["error"] for e in map(json.loads, lines)}
    assert told == bad and bad.keys() == {*BAD, "\\udcff.png"}
    assert list(found) == sorted(found, key=os.fsencode) or len(found) == 18

    shutil.rmtree(tmp_path / "captions" / "nothing", ignore_errors=True)
    done = run_command(*command, "--beam_width=2")
    assert done.returncode == 1
    assert "decoding" in done.stderr and "Traceback" not in done.stderr


def test_attention_and_alternatives(trained, captioner, photos, tmp_path):
    settings = {"beam_width": 3, "hypotheses": 2}
    work = captioning(
        trained, tmp_path / "out", attention=True, decoding=settings
    )
    caption(work, photos / "scene*.png")
    found = entries(tmp_path / "out")
    assert len(found) == 5
    for name, entry in found.items():
        expected = captioner.caption(str(photos / name), **settings)
        assert_said(entry, expected)
        attention = np.array(entry["attention"])
        assert attention.shape == (len(entry["words"]), 14, 14)
        np.testing.assert_allclose(attention, expected.attention, atol=1e-4)
        (other,) = entry["alternatives"]
        assert_said(other, expected.alternatives[0])


def test_a_failed_run_goes_on_where_it_stopped(trained, photos, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    caption(captioning(trained, whole), photos / "*.png")
    failing = captioning(trained, stopped)
    failing = _Failing(**dataclasses.asdict(failing))
    with pytest.raises(Exception, match="the disk is full"):
        caption(failing, photos / "*.png")
    finished = {
        p.name: p.stat().st_mtime_ns for p in stopped.glob("captions-*")
    }
    assert 1 <= len(finished) < 4
    caption(captioning(trained, stopped), photos / "*.png")
    assert files_of(stopped) == files_of(whole)
    for name, written in finished.items():
        assert (stopped / name).stat().st_mtime_ns == written


class _Failing(ShardedCaptioning):
    def run(self, captioner, shard):
        if shard.number == 2:
            raise OSError("the disk is full")
        return super().run(captioner, shard)


def test_a_far_model_is_fetched(trained, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(FarFileSystem, "root", str(tmp_path))
    shutil.copytree(trained, tmp_path / "model")
    caption(captioning(trained, tmp_path / "near"), photos / "scene*.png")
    far = captioning("far://model", "far://there")
    caption(far, "far://photos/scene*.png")
    near, there = files_of(tmp_path / "near"), files_of(tmp_path / "there")
    del near["images.jsonl"], there["images.jsonl"]
    assert near == there


def test_what_cannot_be_had_is_refused(trained, photos, tmp_path):
    images = images_of_glob(str(photos / "scene*.png"))
    with pytest.raises(UserError, match="folder that train wrote"):
        model_digest(str(tmp_path))
    chance = captioning(trained, tmp_path, decoding={"method": "sample"})
    with pytest.raises(UserError, match="chance"):
        chance.begin(images, 5)
    unknown = captioning(trained, tmp_path, decoding={"width": 3})
    with pytest.raises(UserError, match="Received: width"):
        unknown.begin(images, 5)
    other = dataclasses.replace(chance, digest="0" * 64)
    with pytest.raises(UserError, match="another one on this worker"):
        other.load()


@pytest.mark.proof
def test_killed_workers_end_with_the_same_bytes(trained, photos, tmp_path):
    def arguments(output, *options):
        return (
            "caption_many",
            f"--images={photos}/*",
            f"--model={trained}",
            f"--output={output}",
            "--shard_size=1",
            "--",
            *options,
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = run_command(*arguments(whole))
    assert done.returncode == 0, done.stderr
    name, *flags = arguments(killed, *TWO_WORKERS)
    process = subprocess.Popen(
        [sys.executable, "-m", f"show_attend_tell.{name}", *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    while not list(killed.glob("captions-*.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(killed.glob("captions-*.jsonl"))) < 18
    done = run_command(*arguments(killed, *TWO_WORKERS))
    assert done.returncode == 0, done.stderr
    assert files_of(killed) == files_of(whole)
