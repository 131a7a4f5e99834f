"""Captions by Beam are those of `WorkdirCaptioner`."""

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
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.errors import UserError
from show_attend_tell.inference.reranking import (
    ConsensusReranker,
    photo_descriptors,
)
from tests.conftest import ROOT
from tests.pipelines.sharded.conftest import (
    BAD,
    UNUSUAL_NAMES,
    files_of,
    write_photos,
)
from tests.show_attend_tell.conftest import run_command

pytest.importorskip("apache_beam", reason="Apache Beam is missing: [beam]")

from pipelines.sharded.images import images_of_glob  # noqa: E402
from pipelines.sharded.pipeline import (  # noqa: E402
    pipeline_options,
    run_pipeline,
)
from show_attend_tell.inference.sharded_captions import (  # noqa: E402
    ShardedCaptioning,
    model_digest,
)
from tests.pipelines.sharded.far_files import FarFileSystem  # noqa: E402

NO_UNICODE = "\\udcff.png"


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
    return run_pipeline(work, spans, pipeline_options([]))


def entries(output):
    """Lines of all shards in order, by the id of the image."""
    lines = [
        json.loads(line)
        for path in sorted(pathlib.Path(output).glob("captions-*.jsonl"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return {line["id"]: line for line in lines}


def assert_caption(entry, expected):
    assert entry["caption"] == expected.text
    assert entry["words"] == list(expected.words)
    assert entry["finished"] == expected.finished
    assert entry["log_probability"] == pytest.approx(
        expected.log_probability, abs=1e-4
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("many") / "photos")


@pytest.fixture(scope="module")
def by_command(trained, photos):
    """The output folder of the command, and what it prints."""
    output = photos.parent / "captions"
    done = run_command(
        "caption_many",
        f"--images={photos}/*",
        f"--model={trained}",
        f"--output={output}",
        "--shard_size=5",
        "--",
        "--runner=FnApiRunner",
    )
    assert done.returncode == 0, done.stderr
    return output, done.stdout


def test_the_command_captions_as_the_captioner_does(
    captioner, photos, by_command
):
    output, printed = by_command
    assert "12 captioned, 6 set aside" in printed
    by_id = entries(output)
    bad = {id: line["error"] for id, line in by_id.items() if "error" in line}
    assert bad.keys() == {*BAD, NO_UNICODE}
    assert {*UNUSUAL_NAMES} < {*by_id}
    good = [name for name in by_id if name not in bad]
    captions = captioner.caption([str(photos / name) for name in good])
    for name, expected in zip(good, captions, strict=True):
        assert_caption(by_id[name], expected)
    lines = (output / "errors.jsonl").read_text().split("\n")[:-1]
    assert {e["id"]: e["error"] for e in map(json.loads, lines)} == bad
    summary = json.loads((output / "summary.json").read_text())
    assert summary == {"images": 18, "done": 12, "skipped": 6, "shards": 4}


def test_attention_and_alternatives(trained, captioner, photos, tmp_path):
    settings = {"beam_width": 3, "num_captions": 2}
    work = captioning(
        trained, tmp_path / "out", attention=True, decoding=settings
    )
    caption(work, photos / "scene*.png")
    by_id = entries(tmp_path / "out")
    assert len(by_id) == 5
    paths = [str(photos / name) for name in by_id]
    captions = captioner.caption(paths, **settings)
    for entry, expected in zip(by_id.values(), captions, strict=True):
        assert_caption(entry, expected)
        attention = np.array(entry["attention"])
        assert attention.shape == (len(entry["words"]), 14, 14)
        np.testing.assert_allclose(attention, expected.attention, atol=1e-4)
        (other,) = entry["alternatives"]
        assert_caption(other, expected.alternatives[0])


def test_a_failed_run_goes_on_and_ends_with_the_same_bytes(
    trained, photos, by_command, tmp_path
):
    output = tmp_path / "out"
    work = captioning(trained, output)
    failing = _Failing(**dataclasses.asdict(work))
    with pytest.raises(Exception, match="the disk is full"):
        caption(failing, photos / "*")
    finished = {p.name: p.stat().st_mtime_ns for p in output.glob("captions-*")}
    assert 1 <= len(finished) < 4
    caption(work, photos / "*")
    assert files_of(output) == files_of(by_command[0])
    for name, written in finished.items():
        assert (output / name).stat().st_mtime_ns == written


class _Failing(ShardedCaptioning):
    def run(self, captioner, shard):
        if shard.number == 2:
            raise OSError("the disk is full")
        return super().run(captioner, shard)


def test_a_far_model_is_fetched(
    trained, captioner, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(FarFileSystem, "root", str(tmp_path))
    shutil.copytree(trained, tmp_path / "model")
    shutil.copytree(photos, tmp_path / "photos", ignore=_all_but_scenes)
    work = captioning(
        "far://model", "far://there", decoding={"method": "greedy"}
    )
    caption(work, "far://photos/*.png")
    by_id = entries(tmp_path / "there")
    assert len(by_id) == 5
    for name, entry in by_id.items():
        path = str(photos / name)
        assert_caption(entry, captioner.caption(path, method="greedy"))


def test_a_far_model_has_its_similar_photos(
    trained, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(FarFileSystem, "root", str(tmp_path))
    shutil.copytree(trained, tmp_path / "model")
    shutil.copytree(photos, tmp_path / "photos", ignore=_all_but_scenes)
    work = captioning("far://model", "far://there", decoding={"consensus": 4})
    images = images_of_glob("far://photos/*.png")
    with pytest.raises(UserError, match="run with similar_photos.json"):
        work.begin(images, 5)

    cache = AnnotationCache.open(str(trained / "annotations"))
    texts = [["a red ball"], ["a small green star is above a ring"]]
    ConsensusReranker(photo_descriptors(cache.read([0, 1])), texts).save(
        str(tmp_path / "model"), cache.metadata
    )
    work = captioning("far://model", "far://there", decoding={"consensus": 4})
    caption(work, "far://photos/*.png")
    near = show_attend_tell.load(str(tmp_path / "model"))
    by_id = entries(tmp_path / "there")
    assert len(by_id) == 5
    for name, entry in by_id.items():
        assert_caption(entry, near.caption(str(photos / name), consensus=4))


def _all_but_scenes(folder, names):
    return [name for name in names if not name.startswith("scene")]


def test_what_cannot_be_had_is_refused(trained, photos, tmp_path):
    images = images_of_glob(str(photos / "scene*.png"))
    with pytest.raises(UserError, match="folder that train wrote"):
        model_digest(str(tmp_path))
    sampling = captioning(trained, tmp_path, decoding={"method": "sample"})
    with pytest.raises(UserError, match="without randomness"):
        sampling.begin(images, 5)
    unknown = captioning(trained, tmp_path, decoding={"width": 3})
    with pytest.raises(UserError, match="Received: width"):
        unknown.begin(images, 5)
    work = captioning(trained, tmp_path / "out")
    work.begin(images, 5)
    other = dataclasses.replace(work, decoding={"beam_width": 2})
    with pytest.raises(UserError, match="decoding"):
        other.begin(images, 5)
    other = dataclasses.replace(work, digest="0" * 64)
    with pytest.raises(UserError, match="another one on this worker"):
        other.load()


@pytest.mark.proof
def test_killed_workers_end_with_the_same_bytes(
    trained, photos, by_command, tmp_path
):
    output = tmp_path / "out"
    arguments = (
        f"--images={photos}/*",
        f"--model={trained}",
        f"--output={output}",
        "--shard_size=5",
        "--",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "show_attend_tell.caption_many", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    while not list(output.glob("captions-*.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "summary.json").exists()
    done = run_command("caption_many", *arguments)
    assert done.returncode == 0, done.stderr
    assert files_of(output) == files_of(by_command[0])
