"""Annotations by Beam are those of one machine, whatever happens between."""

import dataclasses
import json
import os

import numpy as np
import pytest

from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.extraction import extract_annotations
from pipelines.cache.metadata import Metadata
from pipelines.captions import CaptionedImage
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from tests.pipelines.sharded.conftest import BAD, UNUSUAL_NAMES, files_of

pytest.importorskip("apache_beam", reason="Apache Beam is missing: [beam]")

from pipelines.sharded.annotations import ShardedExtraction  # noqa: E402
from pipelines.sharded.images import images_of_glob  # noqa: E402
from pipelines.sharded.pipeline import (  # noqa: E402
    pipeline_options,
    run_pipeline,
)
from tests.pipelines.sharded.far_files import FarFileSystem  # noqa: E402

SHARD_SIZE = 4
OF_BEAM = {"errors.jsonl", "images.jsonl", "summary.json"}


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("scenes")


@pytest.fixture(scope="module")
def metadata(encoder):
    return Metadata.describe(encoder, "squash")


def extract(work, pattern):
    spans = work.begin(images_of_glob(str(pattern)), SHARD_SIZE)
    return run_pipeline(work, spans, pipeline_options([]))


def test_files_are_those_of_one_machine(photos, encoder, metadata, tmp_path):
    (photos / os.fsdecode(b"\xff.png")).unlink()
    here = tmp_path / "here"
    names = sorted(os.listdir(photos))
    images = [CaptionedImage(n, "", (), str(photos / n)) for n in names]
    cache = extract_annotations(
        images, encoder, "squash", here, shard_size=SHARD_SIZE, max_skipped=1
    )
    many = tmp_path / "many"
    work = ShardedExtraction(str(many), metadata)
    summary = extract(work, photos / "*")
    assert dataclasses.astuple(summary) == (17, 12, 5, 5)
    files = files_of(many)
    assert files.keys() >= OF_BEAM
    expected = files_of(here)
    del expected[".lock"], expected[".SHA256SUMS.lock"]
    assert {n: files[n] for n in files.keys() - OF_BEAM} == expected
    again = AnnotationCache.open(many, metadata)
    np.testing.assert_array_equal(again.read(range(12)), cache.read(range(12)))


def test_bad_images_are_set_aside_with_the_reason(photos, metadata, tmp_path):
    output = tmp_path / "output"
    summary = extract(ShardedExtraction(str(output), metadata), photos / "*")
    assert (summary.done, summary.skipped) == (12, 6)
    lines = (output / "errors.jsonl").read_text().split("\n")[:-1]
    errors = {e["id"]: e["error"] for e in map(json.loads, lines)}
    assert errors.keys() == {*BAD, "\\udcff.png"}
    assert "damaged" in errors["truncated.png"]
    assert "JPEG, PNG" in errors["words.png"]
    assert "empty" in errors["empty.png"]
    assert "not a regular file" in errors["pipe.png"]
    assert "60000 x 60000" in errors["bomb.png"]
    assert "Rename" in errors["\\udcff.png"]
    assert {*UNUSUAL_NAMES} <= {*AnnotationCache.open(output).ids}


def test_a_failed_run_goes_on_where_it_stopped(photos, metadata, tmp_path):
    complete, stopped = tmp_path / "complete", tmp_path / "stopped"
    extract(ShardedExtraction(str(complete), metadata), photos / "*.png")
    with pytest.raises(Exception, match="the disk is full"):
        extract(_Failing(str(stopped), metadata), photos / "*.png")
    assert not (stopped / "summary.json").exists()
    finished = {p.name: p.stat().st_mtime_ns for p in stopped.glob("*-of-*")}
    assert 1 <= len(finished) <= 4  # Not all.
    name = "annotations-00004-of-00005.array_record"
    half = stopped / f".tmp-{2**22 + 1}-{name}"
    half.write_bytes(b"half")
    extract(ShardedExtraction(str(stopped), metadata), photos / "*.png")
    assert files_of(stopped) == files_of(complete)
    for name, written in finished.items():
        assert (stopped / name).stat().st_mtime_ns == written


class _Failing(ShardedExtraction):
    def run(self, encoder, shard):
        if shard.number == 3:
            raise OSError("the disk is full")
        return super().run(encoder, shard)


def test_what_is_damaged_or_mended_is_done_again(photos, metadata, tmp_path):
    output = tmp_path / "output"
    work = ShardedExtraction(str(output), metadata)
    scene = (photos / "scene1.png").read_bytes()
    (photos / "scene1.png").write_bytes(b"")
    assert extract(work, photos / "s*.png").skipped == 1
    before = files_of(output)
    (photos / "scene1.png").write_bytes(scene)
    damaged = output / "annotations-00001-of-00002.array_record"
    data = bytearray(damaged.read_bytes())
    data[300] ^= 1
    damaged.write_bytes(data)
    assert extract(work, photos / "s*.png").skipped == 1
    assert files_of(output) == before

    again = dataclasses.replace(work, retry_errors=True)
    assert extract(again, photos / "s*.png").skipped == 0
    assert len(AnnotationCache.open(output, metadata)) == 5


def test_far_folders_are_like_near_ones(
    photos, metadata, tmp_path, monkeypatch
):
    monkeypatch.setattr(FarFileSystem, "root", str(tmp_path))
    near = ShardedExtraction(str(tmp_path / "near"), metadata)
    extract(near, photos / "s*.png")
    far = ShardedExtraction("far://there", metadata)
    for _ in range(2):
        summary = extract(far, "far://photos/s*.png")
        assert (summary.done, summary.shards) == (5, 2)
        files = files_of(tmp_path / "there")
        expected = files_of(tmp_path / "near")
        assert b"far://photos/scene0.png" in files.pop("images.jsonl")
        del expected["images.jsonl"]
        assert files == expected


def test_other_folders_and_settings_are_refused(photos, metadata, tmp_path):
    output = tmp_path / "output"
    work = ShardedExtraction(str(output), metadata)
    images = images_of_glob(str(photos / "s*.png"))
    work.begin(images, SHARD_SIZE)
    with pytest.raises(UserError, match="shard_size"):
        work.begin(images, SHARD_SIZE + 1)
    with pytest.raises(UserError, match="ids_digest|images"):
        work.begin(images[:-1], SHARD_SIZE)
    with pytest.raises(UserError, match="metadata"):
        other = dataclasses.replace(metadata, resize_mode="crop")
        ShardedExtraction(str(output), other).begin(images, SHARD_SIZE)
    with pytest.raises(UserError, match="Expected a new folder"):
        ShardedExtraction(str(photos), metadata).begin(images, SHARD_SIZE)
    with pytest.raises(UserError, match="nothing matches"):
        images_of_glob(str(photos / "*.tiff"))
    with pytest.raises(UserError, match="Received: 'photo.png'"):
        pipeline_options(["photo.png"])
    with pytest.raises(UserError, match="NoRunner"):
        run_pipeline(work, [], pipeline_options(["--runner=NoRunner"]))
    with pytest.raises(UserError, match="file system that Beam has"):
        images_of_glob("nowhere://photos/*.png")


def test_a_worker_with_other_weights_stops(metadata, tmp_path):
    other = dataclasses.replace(metadata, digest="0" * 64)
    with pytest.raises(UserError, match="on this worker are others"):
        ShardedExtraction(str(tmp_path), other).load()
