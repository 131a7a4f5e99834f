"""Shards: complete or not there, and refused when damaged."""

import json
import zlib

import numpy as np
import pytest
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from pipelines.cache.records import deflate
from pipelines.cache.shards import (
    ShardReader,
    new_shard,
    shard_path,
)
from pipelines.captions import Skipped
from pipelines.errors import UserError

METADATA = "0" * 64
RECORDS = [np.random.default_rng(i).bytes(3000 + i) for i in range(4)]


@pytest.fixture
def path(tmp_path):
    path = shard_path(tmp_path, 0, 1)
    with new_shard(path, METADATA) as writer:
        for number, record in enumerate(RECORDS):
            writer.add(f"image {number}", record)
            if number == 1:
                writer.skip("broken", "it is truncated")
    return path


def test_a_shard_has_its_records_and_their_ids(path, tmp_path):
    shard = ShardReader(path)
    assert [shard.read(row) for row in range(4)] == RECORDS
    assert shard.ids == ("image 0", "image 1", "image 2", "image 3")
    assert shard.image_ids == (*shard.ids[:2], "broken", *shard.ids[2:])
    assert shard.skipped == (Skipped("broken", "it is truncated"),)
    assert [p.name for p in tmp_path.iterdir()] == [
        "annotations-00000-of-00001.array_record"
    ]
    # Others read it as any ArrayRecord file.
    assert ArrayRecordDataSource(path)[2] == RECORDS[2]


def test_a_shard_is_there_complete_or_not_at_all(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        new_shard(shard_path(tmp_path, 0, 1), METADATA) as writer,
    ):
        writer.add("a", b"record")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(OSError, match="No such file"),
        new_shard(shard_path(tmp_path / "none", 0, 1), METADATA) as writer,
    ):
        writer.add("a", b"record")


def test_every_damage_to_a_record_is_noticed(path):
    with open(path, "rb") as file:
        good = file.read()
    start = good.index(RECORDS[1])
    for offset in (start, start + 1700, start + len(RECORDS[1]) - 1):
        damaged = bytearray(good)
        damaged[offset] ^= 4
        with open(path, "wb") as file:
            file.write(damaged)
        shard = ShardReader(path)
        assert shard.read(0) == RECORDS[0] and shard.read(2) == RECORDS[2]
        with pytest.raises(UserError, match="damaged.*hash mismatch"):
            shard.read(1)
        with pytest.raises(UserError, match="damaged"):
            shard.verify()


def test_files_that_are_damaged_never_crash(path):
    with open(path, "rb") as file:
        good = file.read()
    generator = np.random.default_rng(0)
    refused = 0
    for trial in range(100):
        damaged = bytearray(good)
        if trial % 2:
            # The footer, and what follows it.
            offset = generator.integers(len(good) - 65536 - 400, len(good))
            damaged[offset] ^= 1 << generator.integers(8)
        else:
            del damaged[generator.integers(len(good)) :]
        with open(path, "wb") as file:
            file.write(damaged)
        try:
            shard = ShardReader(path)
            records = [shard.read(row) for row in range(4)]
        except UserError:
            refused += 1
            continue
        assert records == RECORDS
    assert refused >= 50


def write(path, records, options="group_size:1,uncompressed"):
    writer = ArrayRecordWriter(path, options)
    for record in records:
        writer.write(record)
    writer.close()


@pytest.mark.parametrize(
    "index",
    ["", "[]", "{", "7", "[" * 100_000, {"ids": ["a"]}]
    + [{"ids": ids, "skipped": {}} for ids in (None, ["a", 3], ["a", "b"])]
    + [{"ids": ["a", "b"], "skipped": x} for x in ({"b": None}, ["b"])]
    + [{"ids": [["a"]], "skipped": {}}],
)
def test_malformed_indices(path, index):
    text = index if isinstance(index, str) else json.dumps(index)
    write(path, [b"record", deflate(text.encode())])
    with pytest.raises(UserError, match="missing or damaged"):
        ShardReader(path)


def test_other_files_and_bombs(path, tmp_path):
    index = deflate(json.dumps({"ids": ["a"], "skipped": {}}).encode())
    write(path, [b"record", index])
    assert ShardReader(path).ids == ("a",)
    # Decompressed by the reader itself, to any size: never begun.
    write(path, [bytes(2**24), index], "group_size:1,zstd")
    with pytest.raises(UserError, match="not written by this program"):
        ShardReader(path)
    write(path, [b"record", zlib.compress(bytes(2**27), 9)])
    with pytest.raises(UserError, match="damaged"):
        ShardReader(path)
    for data in (b"", b"text" * 1000, bytes(2**17)):
        with open(path, "wb") as file:
            file.write(data)
        with pytest.raises(UserError, match="missing or damaged"):
            ShardReader(path)
    for other in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="missing or damaged"):
            ShardReader(str(other))
