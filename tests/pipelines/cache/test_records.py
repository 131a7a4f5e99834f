"""Annotations as bytes: how small, how exact, and how they fail."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.cache.metadata import (
    Manifest,
    Metadata,
    extract_command,
    ids_digest,
)
from pipelines.cache.records import (
    ShardIndex,
    ShardWriter,
    decode_annotations,
    decode_annotations_batch,
    encode_annotations,
    index_path,
    is_temporary,
    raw_bytes,
    shard_path,
)
from pipelines.captions import Skipped
from pipelines.errors import UserError


def described(precision="sqrt8", grid=(3, 5), depth=4, **others):
    fields = {
        "encoder": "vgg19",
        "layer": "block5_conv4",
        "digest": "0" * 64,
        "preprocessing": "none",
        "resize_mode": "crop",
        "image_size": 48,
        "grid": grid,
        "depth": depth,
        "precision": precision,
    }
    return Metadata(**{**fields, **others})


def rectified(count, metadata, seed=0):
    """What a ReLU leaves: mostly zeros, a long tail."""
    shape = (count, metadata.locations, metadata.depth)
    values = np.random.default_rng(seed).normal(-1.5, 1, shape)
    return (20 * np.maximum(values, 0)).astype(np.float32)


def test_sqrt8_by_hand():
    metadata = described(grid=(1, 2), depth=2)
    # Locations are rows; roots are 0, 2, 4 and 10.
    annotations = np.array([[0.0, 4.0], [16.0, 100.0]], np.float32)
    record = encode_annotations(annotations, metadata)
    data = zlib.decompress(record)
    assert data[:8] == struct.pack("<2f", 0.0, 10.0)
    # Channel by channel: 4 / 10 and 2 / 10 of 255 are 102 and 51.
    assert list(data[8:]) == [0, 102, 51, 255]
    np.testing.assert_allclose(
        decode_annotations(record, metadata), annotations, rtol=1e-6
    )


def test_sqrt8_with_a_sign_by_hand():
    metadata = described(grid=(1, 2), depth=2)
    annotations = np.array([[-9.0, 0.0], [1.0, 4.0]], np.float32)
    record = encode_annotations(annotations, metadata)
    data = zlib.decompress(record)
    assert data[:8] == struct.pack("<2f", -3.0, 2.0)
    # Roots -3, 0, 1, 2: 3 / 5 and 4 / 5 of 255 are 153 and 204.
    assert list(data[8:]) == [0, 204, 153, 255]
    np.testing.assert_allclose(
        decode_annotations(record, metadata), annotations, atol=1e-6
    )


def test_float16_by_hand():
    metadata = described("float16", grid=(1, 2), depth=2)
    annotations = np.array([[0.0, 1.0], [-2.0, 1 / 3]], np.float32)
    record = encode_annotations(annotations, metadata)
    expected = struct.pack("<4e", 0.0, -2.0, 1.0, 1 / 3)
    assert zlib.decompress(record) == expected


@pytest.mark.parametrize("signed", [False, True])
def test_the_error_of_sqrt8_is_half_a_step(signed):
    metadata = described(grid=(14, 14), depth=64)
    annotations = rectified(5, metadata)
    annotations *= np.array([1e-6, 0.01, 1, 50, 1e6])[:, None, None]
    if signed:
        annotations = annotations - annotations.mean((1, 2), keepdims=True)
    for annotation in annotations.astype(np.float32):
        record = encode_annotations(annotation, metadata)
        found = decode_annotations(record, metadata)
        roots = np.sign(annotation) * np.sqrt(np.abs(annotation))
        decoded = np.sign(found) * np.sqrt(np.abs(found))
        span = np.ptp(roots.astype(np.float64))
        bound = span / 510 * (1 + 1e-4)
        assert np.abs(decoded - roots).max() <= bound
        if not signed:
            assert span == pytest.approx(np.sqrt(annotation.max()))
            np.testing.assert_array_equal(found[annotation == 0], 0)


def test_float16_loses_nothing_after_rounding():
    metadata = described("float16", grid=(14, 14), depth=64)
    annotation = rectified(1, metadata)[0]
    annotation[0, :3] = 65504, -65504, 6e-8
    found = decode_annotations(
        encode_annotations(annotation, metadata), metadata
    )
    np.testing.assert_array_equal(found, annotation.astype(np.float16))


def pixels_of(grid=(5, 7), seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (*grid, 3))
    metadata = described("uint8", grid, 3, layer="pixels")
    return values.astype(np.float32).reshape(-1, 3), metadata


def test_pixels_lose_nothing():
    pixels, metadata = pixels_of()
    record = encode_annotations(pixels, metadata)
    # Any reader of PNG sees them.
    image = np.asarray(Image.open(io.BytesIO(record)))
    np.testing.assert_array_equal(image.reshape(-1, 3), pixels)
    found = decode_annotations(record, metadata)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pixels)
    batch = decode_annotations_batch(tf.constant([record] * 2), metadata)
    assert batch.shape == (2, 35, 3) and batch.dtype == tf.float32
    np.testing.assert_array_equal(batch[1], pixels)


def test_pixels_of_another_size_or_damaged_are_refused():
    pixels, metadata = pixels_of()
    record = encode_annotations(pixels, metadata)
    turned = described("uint8", (7, 5), 3, layer="pixels")
    for data, what in (
        (record, turned),
        (record[:60], metadata),
        (b"GIF89a" + record[6:], metadata),
        (b"", metadata),
    ):
        with pytest.raises(UserError, match="damaged"):
            decode_annotations(data, what)
        with pytest.raises(tf.errors.OpError):
            decode_annotations_batch(tf.constant([data]), what)


@pytest.mark.parametrize(
    "fields",
    [
        {"layer": "pixels", "precision": "sqrt8", "depth": 3},
        {"layer": "block5_conv4", "precision": "uint8", "depth": 3},
        {"layer": "pixels", "precision": "uint8", "depth": 4},
    ],
)
def test_pixels_alone_are_exact(fields):
    with pytest.raises(UserError, match="Expected pixels"):
        described(**fields)


@pytest.mark.parametrize("precision", ["sqrt8", "float16"])
def test_the_graph_decodes_as_numpy_does(precision):
    metadata = described(precision, grid=(14, 14), depth=32)
    annotations = rectified(6, metadata)
    annotations[1] -= 3
    annotations[2] = 0
    annotations[3] = 7.5
    packed = [encode_annotations(a, metadata) for a in annotations]
    expected = [decode_annotations(record, metadata) for record in packed]
    batch = tf.constant(np.array(packed, object))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def graph(batch):
        return decode_annotations_batch(batch, metadata)

    for found in (graph(batch), decode_annotations_batch(batch, metadata)):
        assert found.dtype == tf.float32 and found.shape == (6, 196, 32)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert graph(batch[:0]).shape == (0, 196, 32)
    # Graph operations alone: no Python inside.
    nodes = graph.get_concrete_function().graph.as_graph_def().node
    kinds = {node.op for node in nodes}
    assert not {kind for kind in kinds if "Py" in kind}


@pytest.mark.parametrize("value", [0.0, 7.5, -7.5, 1e-42])
def test_images_of_one_value(value):
    metadata = described()
    annotation = np.full((15, 4), value, np.float32)
    found = decode_annotations(
        encode_annotations(annotation, metadata), metadata
    )
    np.testing.assert_allclose(found, annotation, rtol=1e-6, atol=1e-41)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_annotations_that_are_not_finite(value):
    annotation = np.zeros((15, 4), np.float32)
    annotation[3, 2] = value
    with pytest.raises(UserError, match="not finite.*--encoder_weights"):
        encode_annotations(annotation, described())


def test_annotations_too_large_for_float16():
    annotation = np.full((15, 4), 7e4, np.float32)
    with pytest.raises(UserError, match="--precision=sqrt8"):
        encode_annotations(annotation, described("float16"))
    encode_annotations(annotation, described("sqrt8"))


def test_annotations_of_another_shape():
    with pytest.raises(ValueError, match=r"\(15, 4\).*shape=\(4, 15\)"):
        encode_annotations(np.zeros((4, 15), np.float32), described())


def hostile_records(metadata):
    good = encode_annotations(rectified(1, metadata)[0], metadata)
    return {
        "empty": b"",
        "noise": b"\x17" * 40,
        "cut": good[:-6],
        "short": zlib.compress(b"\0" * 20),
        "long": zlib.compress(b"\0" * 500),
        "one more": zlib.compress(bytes(raw_bytes(metadata) + 1)),
        "one less": zlib.compress(bytes(raw_bytes(metadata) - 1)),
        "with a tail": good + b"more",
        "bomb": zlib.compress(bytes(2**26), 9),
    }


@pytest.mark.parametrize("precision", ["sqrt8", "float16"])
def test_hostile_records(precision):
    metadata = described(precision)
    for name, record in hostile_records(metadata).items():
        with pytest.raises(UserError):
            decode_annotations(record, metadata)
        if name in ("bomb", "with a tail"):
            continue  # an index with such a length is refused before
        with pytest.raises(tf.errors.OpError):
            decode_annotations_batch(tf.constant([record]), metadata)


def write_shard(directory, metadata, count=4):
    path = shard_path(directory, 0, 1)
    packed = [
        encode_annotations(a, metadata) for a in rectified(count, metadata)
    ]
    with ShardWriter(path) as writer:
        for number, record in enumerate(packed):
            writer.add(f"image {number}", record)
            if number == 1:
                writer.skip("broken", "it is truncated")
    return path, packed


def test_a_shard_is_a_tfrecord_file(tmp_path):
    path, packed = write_shard(tmp_path, described())
    # TensorFlow checks lengths and checksums while it reads.
    found = [r.numpy() for r in tf.data.TFRecordDataset(path)]
    assert found == packed
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "annotations-00000-of-00001.json",
        "annotations-00000-of-00001.tfrecord",
    ]


def test_the_index_says_where_records_lie(tmp_path):
    path, packed = write_shard(tmp_path, described())
    index = ShardIndex.read(path, 5, described())
    with open(path, "rb") as file:
        data = file.read()
    assert index.ids == ("image 0", "image 1", "broken", "image 2", "image 3")
    assert index.skipped == (Skipped("broken", "it is truncated"),)
    for record, expected in zip(index.records, packed, strict=True):
        end = record.offset + record.length
        assert data[record.offset : end] == expected
        assert record.crc32 == zlib.crc32(expected)


def test_a_shard_is_there_whole_or_not_at_all(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        ShardWriter(shard_path(tmp_path, 0, 1)) as writer,
    ):
        writer.add("a", b"record")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_hostile_indices(tmp_path):
    path, _ = write_shard(tmp_path, described())
    with open(index_path(path)) as file:
        good = json.load(file)

    def refused(change):
        values = json.loads(json.dumps(good))
        change(values)
        with open(index_path(path), "w") as file:
            json.dump(values, file)
        with pytest.raises(UserError):
            ShardIndex.read(path, 5, described())

    first = good["images"][0]
    for name, value in [
        ("offset", -1),
        ("offset", 0),
        ("offset", 10**9),
        ("offset", 2**70),
        ("offset", 12.0),
        ("offset", None),
        ("length", 0),
        ("length", -5),
        ("length", 10**6),
        ("length", True),
        ("crc32", "1"),
        ("id", 7),
        ("id", ["a"]),
    ]:
        refused(lambda v, n=name, x=value: v["images"][0].update({n: x}))
    for name in first:
        refused(lambda v, n=name: v["images"][0].pop(n))
    for name in good:
        refused(lambda v, n=name: v.pop(n))
        refused(lambda v, n=name: v.update({n: None}))
    refused(lambda v: v["images"].pop())
    refused(lambda v: v["images"].append(first))
    refused(lambda v: v["images"].__setitem__(0, []))
    refused(lambda v: v["images"][2].update(skipped=3))
    for text in ("", "[]", "{", "1", "[" * 100_000, "\ud83d"):
        with open(index_path(path), "wb") as file:
            file.write(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(UserError):
            ShardIndex.read(path, 5, described())


def test_a_long_record_is_refused_by_its_index(tmp_path):
    metadata = described()
    path = shard_path(tmp_path, 0, 1)
    with ShardWriter(path) as writer:
        writer.add("bomb", zlib.compress(bytes(2**26), 9))
    with pytest.raises(UserError, match="no record of 'bomb'"):
        ShardIndex.read(path, 1, metadata)


def test_temporary_names():
    for name in (
        "metadata.json.tmp-1",
        "annotations-00003-of-00028.tfrecord.tmp-4711",
        "annotations-00003-of-00028.json.tmp-4711",
    ):
        assert is_temporary(name)
    for name in (
        "photo.jpg.tmp-1",
        "metadata.json",
        "annotations-00003-of-00028.tfrecord",
        "thesis.tmp-1",
    ):
        assert not is_temporary(name)


def test_metadata_goes_through_json():
    metadata = described()
    text = json.dumps(metadata.to_dict())
    assert Metadata.from_dict(json.loads(text)) == metadata
    assert metadata.locations == 15


def test_every_difference_is_named():
    other = described(
        "float16",
        encoder="vgg16",
        layer="block5_conv3",
        digest="1" * 64,
        resize_mode="squash",
        image_size=96,
        grid=(6, 6),
        depth=8,
        preprocessing="other",
    )
    text = "; ".join(described().differences(other))
    for phrase in (
        "expected encoder vgg19/block5_conv4, found vgg16/block5_conv3",
        "expected resize_mode crop, found squash",
        "expected precision sqrt8, found float16",
        "expected image_size 48, found 96",
        "expected grid (3, 5), found (6, 6)",
        "expected depth 4, found 8",
        f"expected weights' digest {'0' * 64}, found {'1' * 64}",
        "expected preprocessing none, found other",
    ):
        assert phrase in text
    assert described().differences(described()) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 0},
        {"depth": 10**9},
        {"depth": True},
        {"depth": "4"},
        {"grid": [3]},
        {"grid": [3, 10**6]},
        {"grid": [60000, 60000]},
        {"grid": 3},
        {"resize_mode": "pad"},
        {"resize_mode": []},
        {"precision": "int4"},
        {"encoder": ""},
        {"encoder": None},
        {"layer": "x" * 10_000},
        {"more": 1},
    ],
)
def test_hostile_metadata(change):
    with pytest.raises(UserError, match="Received"):
        Metadata.from_dict({**described().to_dict(), **change})
    for values in (None, [], {}, "x"):
        with pytest.raises(UserError):
            Metadata.from_dict(values)


def test_hostile_manifests(tmp_path):
    manifest = Manifest(described(), 10, 4, ids_digest(["a"]))
    assert [manifest.shard_images(s) for s in range(manifest.shards)] == [
        4,
        4,
        2,
    ]
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(manifest.to_dict()))
    assert Manifest.read(tmp_path) == manifest
    for change in (
        {"version": 2},
        {"version": None},
        {"images": -1},
        {"images": 0},
        {"images": 1e3},
        {"shard_size": 0},
        {"ids_digest": 5},
        {"metadata": None},
        {"surprise": 1},
    ):
        path.write_text(json.dumps({**manifest.to_dict(), **change}))
        with pytest.raises(UserError, match="pipelines.extract_features"):
            Manifest.read(tmp_path)
    for text in ("", "[]", "nonsense", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(UserError):
            Manifest.read(tmp_path)


def test_the_command_can_be_pasted():
    assert extract_command("my photos", described()) == (
        "python -m pipelines.extract_features '--annotations=my photos' "
        "--encoder=vgg19 --encoder_layer=block5_conv4 --resize_mode=crop "
        "--precision=sqrt8"
    )
