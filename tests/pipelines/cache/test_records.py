"""Records: how exact they are, and how malformed ones fail."""

import dataclasses
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.cache.records import (
    decode_annotations,
    decode_annotations_batch,
    encode_annotations,
    raw_bytes,
)
from pipelines.errors import UserError
from tests.pipelines.cache.described import described


def rectified(count, metadata, seed=0):
    """What a ReLU leaves: mostly zeros, a long tail."""
    shape = (count, metadata.locations, metadata.depth)
    values = np.random.default_rng(seed).normal(-1.5, 1, shape)
    return (20 * np.maximum(values, 0)).astype(np.float32)


@pytest.mark.parametrize(
    ("annotations", "bounds", "codes"),
    [
        # Locations are rows. Channel by channel roots are 0, 4, 2 and 10;
        # 4 / 10 and 2 / 10 of 255 are 102 and 51.
        ([[0.0, 4.0], [16.0, 100.0]], (0.0, 10.0), [0, 102, 51, 255]),
        # Roots -3, 1, 0, 2: 4 / 5 and 3 / 5 of 255 are 204 and 153.
        ([[-9.0, 0.0], [1.0, 4.0]], (-3.0, 2.0), [0, 204, 153, 255]),
    ],
)
def test_sqrt8_by_hand(annotations, bounds, codes):
    metadata = described(grid=(1, 2), depth=2)
    annotations = np.array(annotations, np.float32)
    record = encode_annotations(annotations, metadata)
    data = zlib.decompress(record)
    assert data[:8] == struct.pack("<2f", *bounds)
    assert list(data[8:]) == codes
    np.testing.assert_allclose(
        decode_annotations(record, metadata), annotations, atol=1e-5
    )


def test_repeated_locations_are_stored_once():
    # Of four locations, in a row; the second layer has two, of two channels.
    parts = ((1, 4, 1), (1, 2, 2))
    metadata = described(grid=(1, 4), depth=3, parts=parts)
    annotations = np.array(
        [[0, 36, 4], [4, 36, 4], [16, 64, 100], [100, 64, 100]], np.float32
    )
    record = encode_annotations(annotations, metadata)
    data = zlib.decompress(record)
    assert data[:8] == struct.pack("<2f", 0, 10)
    # Roots 0, 2, 4, 10; then 6, 8; then 2, 10; fifths of 255.
    assert list(data[8:]) == [0, 51, 102, 255, 153, 204, 51, 255]
    assert raw_bytes(metadata) == len(data)
    exact = dataclasses.replace(metadata, precision="float16")
    record = encode_annotations(annotations, exact)
    values = struct.pack("<8e", 0, 4, 16, 100, 36, 64, 4, 100)
    assert zlib.decompress(record) == values
    np.testing.assert_array_equal(
        decode_annotations(record, exact), annotations
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
        decoded = decode_annotations(record, metadata)
        roots = np.sign(annotation) * np.sqrt(np.abs(annotation))
        decoded = np.sign(decoded) * np.sqrt(np.abs(decoded))
        span = np.ptp(roots.astype(np.float64))
        bound = span / 510 * (1 + 1e-4)
        assert np.abs(decoded - roots).max() <= bound
        if not signed:
            assert span == pytest.approx(np.sqrt(annotation.max()))
            np.testing.assert_array_equal(decoded[annotation == 0], 0)


def test_float16_loses_nothing_after_rounding():
    metadata = described("float16", grid=(14, 14), depth=64)
    annotation = rectified(1, metadata)[0]
    annotation[0, :3] = 65504, -65504, 6e-8
    record = encode_annotations(annotation, metadata)
    decoded = decode_annotations(record, metadata)
    np.testing.assert_array_equal(decoded, annotation.astype(np.float16))


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
    decoded = decode_annotations(record, metadata)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, pixels)
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


PARTS = ((14, 14, 10), (7, 7, 16), (14, 2, 6))


@pytest.mark.parametrize("parts", [(), PARTS])
@pytest.mark.parametrize("precision", ["sqrt8", "float16"])
def test_the_graph_decodes_as_numpy_does(precision, parts):
    metadata = described(precision, grid=(14, 14), depth=32, parts=parts)
    annotations = rectified(6, metadata)
    squares = annotations.reshape(6, 14, 14, 32)
    if parts:  # Each location has the values of the part's that it lies in.
        repeated = squares[:, ::2, ::2, 10:26].repeat(2, axis=1)
        squares[..., 10:26] = repeated.repeat(2, axis=2)
        squares[..., 26:] = squares[:, :, ::7, 26:].repeat(7, axis=2)
    annotations[1] -= 3
    annotations[2] = 0
    annotations[3] = 7.5
    packed = [encode_annotations(a, metadata) for a in annotations]
    expected = [decode_annotations(record, metadata) for record in packed]
    np.testing.assert_allclose(expected, annotations, rtol=0.05, atol=0.1)
    batch = tf.constant(np.array(packed, object))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def graph(batch):
        return decode_annotations_batch(batch, metadata)

    for decoded in (graph(batch), decode_annotations_batch(batch, metadata)):
        assert decoded.dtype == tf.float32 and decoded.shape == (6, 196, 32)
        np.testing.assert_allclose(decoded, expected, rtol=1e-6, atol=1e-6)
    assert graph(batch[:0]).shape == (0, 196, 32)
    # Graph operations alone: no Python inside.
    nodes = graph.get_concrete_function().graph.as_graph_def().node
    kinds = {node.op for node in nodes}
    assert not {kind for kind in kinds if "Py" in kind}


def test_images_of_one_value():
    metadata = described()
    for value in (0.0, 7.5, -7.5, 1e-42):
        annotation = np.full((15, 4), value, np.float32)
        record = encode_annotations(annotation, metadata)
        decoded = decode_annotations(record, metadata)
        np.testing.assert_allclose(decoded, annotation, rtol=1e-6, atol=1e-41)


def test_annotations_that_cannot_be_encoded():
    annotation = np.full((15, 4), 7e4, np.float32)
    encode_annotations(annotation, described("sqrt8"))
    with pytest.raises(UserError, match="--precision=sqrt8"):
        encode_annotations(annotation, described("float16"))
    with pytest.raises(ValueError, match=r"\(15, 4\).*shape=\(4, 15\)"):
        encode_annotations(annotation.reshape(4, 15), described())
    for value in (np.nan, np.inf, -np.inf):
        annotation[3, 2] = value
        with pytest.raises(UserError, match="not finite.*--encoder_weights"):
            encode_annotations(annotation, described())


def malformed_records(metadata):
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


@pytest.mark.parametrize("parts", [(), ((3, 5, 1), (3, 1, 3))])
@pytest.mark.parametrize("precision", ["sqrt8", "float16"])
def test_malformed_records(precision, parts):
    metadata = described(precision, parts=parts)
    for name, record in malformed_records(metadata).items():
        with pytest.raises(UserError):
            decode_annotations(record, metadata)
        if name in ("bomb", "with a tail"):
            continue  # The cache refuses a record of such a length.
        with pytest.raises(tf.errors.OpError):
            decode_annotations_batch(tf.constant([record]), metadata)
