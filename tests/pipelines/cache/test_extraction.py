"""The cache: extracted once, whatever happens meanwhile, and read exactly."""

import dataclasses
import fcntl
import functools
import io
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from pipelines import checksums
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.extraction import extract_annotations
from pipelines.cache.metadata import Manifest, Metadata, ids_digest
from pipelines.cache.records import (
    decode_annotations,
    deflate,
    encode_annotations,
)
from pipelines.cache.shard_list import list_shards
from pipelines.cache.shards import ShardReader, new_shard
from pipelines.captions import CaptionedImage
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.files import write_json
from pipelines.images.decoding import decode_image, fit_image
from pipelines.images.preparation import RENDER_PROCESSES_FROM, prepared_ahead
from tests.conftest import ROOT

SHARD = 8
LEFT = f".tmp-{2**22 + 1}"  # By a process that was killed.
BATCH = 3


@functools.cache
def picture(seed, height=50, width=70):
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 7, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def pictures(count, read=picture):
    loads = [functools.partial(read, i) for i in range(count)]
    return [
        CaptionedImage(f"image {i}", "train", ("a",), load=load)
        for i, load in enumerate(loads)
    ]


def truncated_pictures(count, truncated):
    return pictures(
        count, lambda i: picture(i)[: 60 if i in truncated else None]
    )


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("scenes", "block2_conv1", "none")


def extract(images, encoder, directory, resize_mode="crop", **options):
    options = {"batch_size": BATCH, "shard_size": SHARD, **options}
    return extract_annotations(
        images, encoder, resize_mode, directory, verbose=False, **options
    )


@pytest.fixture(scope="module")
def cache(encoder, tmp_path_factory):
    """Of 19 pictures, in three shards; tests leave it as it is."""
    return extract(pictures(19), encoder, tmp_path_factory.mktemp("cache"))


def contents(directory):
    """Every file but the lock, by name."""
    return {
        path.name: path.read_bytes()
        for path in sorted(pathlib.Path(directory).iterdir())
        if not path.name.endswith(".lock")
    }


def encode(images, encoder, resize_mode="crop"):
    """Annotations without any of the cache."""
    pixels = [
        fit_image(decode_image(image.read()), encoder.image_size, resize_mode)
        for image in images
    ]
    return np.concatenate(
        [np.asarray(encoder.model.predict_on_batch(p[None])) for p in pixels]
    )


@pytest.mark.parametrize("resize_mode", ["crop", "squash"])
def test_each_image_has_its_annotations(tmp_path, encoder, resize_mode):
    images = pictures(10)
    cache = extract(images, encoder, tmp_path, resize_mode, precision="float16")
    assert cache.ids == tuple(image.id for image in images)
    assert len(cache) == 10 and cache.skipped == ()
    assert cache.metadata == Metadata.describe(encoder, resize_mode, "float16")
    expected = encode(images, encoder, resize_mode)
    annotations = cache.read(range(10))
    assert annotations.shape == expected.shape
    assert annotations.dtype == np.float32
    np.testing.assert_allclose(annotations, expected, rtol=2e-3, atol=1e-3)
    # The images do differ: none is in another's row.
    assert np.abs(annotations[0] - annotations[1]).max() > 0.1
    position = cache.position("image 8")
    np.testing.assert_array_equal(cache.read([position])[0], annotations[8])


def test_positions_in_any_order(cache):
    every = cache.read(np.arange(19))
    order = np.array([18, 3, 3, 9, 0, 8, 7], np.int64)
    np.testing.assert_array_equal(cache.read(order), every[order])
    assert cache.read([]).shape == (0, *every.shape[1:])
    for position in (-1, 19):
        with pytest.raises(IndexError, match=f"position={position}"):
            cache.records([position])


def test_tf_data_reads_the_same(cache):
    order = np.random.default_rng(0).permutation(19)

    def load(positions):
        records = tf.numpy_function(
            lambda chosen: np.array(cache.records(chosen), object),
            [positions],
            tf.string,
        )
        return cache.decode(tf.ensure_shape(records, [None]))

    batches = tf.data.Dataset.from_tensor_slices(order).batch(4)
    batches = batches.map(load, num_parallel_calls=4)
    expected = cache.read(order)
    assert batches.element_spec.shape.as_list() == [None, *expected.shape[1:]]
    annotations = np.concatenate(list(batches.as_numpy_iterator()))
    np.testing.assert_allclose(annotations, expected, rtol=1e-6, atol=1e-6)


def test_reading_from_several_threads(cache):
    expected = cache.records(range(19))
    wrong = []

    def read(seed):
        for position in np.random.default_rng(seed).integers(0, 19, 300):
            if cache.records([position]) != [expected[position]]:
                wrong.append(position)

    threads = [threading.Thread(target=read, args=(s,)) for s in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_record_that_ends_in_zeros(cache):
    """One in 256 does; NumPy's type of bytes would cut it."""
    metadata = dataclasses.replace(cache.metadata, grid=(2, 2), depth=2)
    for seed in range(3000):
        annotation = np.zeros((4, 2), np.float32)
        annotation[0, 0] = seed
        record = encode_annotations(annotation, metadata)
        if record.endswith(b"\0"):
            break
    cache = AnnotationCache("", metadata, [])
    batch = tf.constant(np.array([record], object))
    np.testing.assert_allclose(cache.decode(batch)[0], annotation, rtol=1e-6)


@pytest.mark.parametrize("killed", [False, True])
def test_many_pictures_are_rendered_by_processes(killed):
    # `fromhex` is of the standard library, so another process can import it.
    data = [picture(i).hex() for i in range(3)]
    loads = [functools.partial(bytes.fromhex, one) for one in data]
    images = [
        CaptionedImage(str(i), "train", (), load=loads[i % 3])
        for i in range(RENDER_PROCESSES_FROM)
    ]
    expected = [fit_image(decode_image(load()), 16, "crop") for load in loads]
    before = set(multiprocessing.active_children())
    ahead = prepared_ahead(images, 16, "crop", workers=2, window=4)
    squares = [next(ahead) for _ in range(10)]
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    if killed:  # Threads go on.
        for process in started:
            process.kill()
    squares.extend(ahead)
    assert len(squares) == len(images)
    for i, square in enumerate(squares):
        np.testing.assert_array_equal(square, expected[i % 3])
    assert not set(multiprocessing.active_children()) - before


EXTRACTION = """
import pathlib, sys
from pipelines.captions import CaptionedImage
from pipelines.encoders.registry import build_encoder
from pipelines.cache.extraction import extract_annotations

def main():
    folder, directory = map(pathlib.Path, sys.argv[1:])
    images = [
        CaptionedImage(path.name, "train", (), path=str(path))
        for path in sorted(folder.iterdir())
    ]
    encoder = build_encoder("scenes", "block2_conv1", "none")
    sys.stdin.readline()
    extract_annotations(
        images, encoder, "crop", directory,
        batch_size=3, shard_size=8, verbose=False,
    )

if __name__ == "__main__":
    main()
"""


@pytest.mark.proof
def test_kills_leave_no_trace(tmp_path, encoder):
    """SIGKILL three times, wherever it hits; then the same bytes."""
    folder, directory = tmp_path / "images", tmp_path / "cache"
    folder.mkdir()
    for i in range(120):
        (folder / f"{i:03}.png").write_bytes(picture(i, 500, 700))
    images = [
        CaptionedImage(path.name, "train", (), path=str(path))
        for path in sorted(folder.iterdir())
    ]
    generator = np.random.default_rng()
    # They load TensorFlow at the same time, then wait for their turn.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EXTRACTION, folder, directory],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    try:
        finished = {}
        for kill, process in enumerate(processes):
            process.stdin.write(b"go\n")
            process.stdin.flush()
            goal = len(finished) + kill
            while len(list(directory.glob("a*.array_record"))) <= goal:
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdin.close()
            shards = {p: p.stat() for p in directory.glob("a*.array_record")}
            for path, status in finished.items():
                assert shards[path].st_mtime_ns == status.st_mtime_ns
            finished = shards
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert 3 <= len(finished) < 15
    with pytest.raises(UserError, match="not complete.*extract_features"):
        AnnotationCache.open(directory)
    cache = extract(images, encoder, directory)
    for path, status in finished.items():
        assert path.stat().st_mtime_ns == status.st_mtime_ns, "redone"
    extract(images, encoder, tmp_path / "without")
    assert contents(directory) == contents(tmp_path / "without")
    assert len(cache) == 120


def test_a_stop_between_any_two_files(tmp_path, encoder):
    images = pictures(19)
    extract(images, encoder, tmp_path)
    complete = contents(tmp_path)
    middle = tmp_path / "annotations-00001-of-00003.array_record"
    shard = middle.read_bytes()
    damaged = bytearray(shard)
    damaged[30_000] ^= 1

    def mended():
        extract(images, encoder, tmp_path)
        assert contents(tmp_path) == complete

    # While the shard was being written.
    listed = tmp_path / "SHA256SUMS", tmp_path / "shards.json"
    middle.rename(tmp_path / f"{LEFT}-{middle.name}")
    mended()
    # The disk lost a part of it.
    for data in (shard[:-1], bytes(damaged), b""):
        middle.write_bytes(data)
        mended()
    # Before anything was there.
    (tmp_path / "metadata.json").rename(tmp_path / f"{LEFT}-metadata.json")
    lock = tmp_path / ".SHA256SUMS.lock"
    for path in (*tmp_path.glob("annotations*"), *listed, lock):
        path.unlink()
    mended()
    # While the shards were listed.
    for path in listed:
        path.unlink()
        with pytest.raises(UserError, match="extraction again"):
            AnnotationCache.open(tmp_path)
        mended()


def test_nothing_is_done_twice(tmp_path, encoder):
    extract(pictures(19), encoder, tmp_path)
    seen = []

    def spy(i):
        seen.append(i)
        return picture(i)

    extract(pictures(19, spy), encoder, tmp_path)
    assert seen == []
    (tmp_path / "annotations-00002-of-00003.array_record").unlink()
    extract(pictures(19, spy), encoder, tmp_path)
    assert sorted(seen) == [16, 17, 18]


def test_no_more_than_a_few_batches_are_read_ahead(tmp_path, encoder):
    lock = threading.Lock()
    read, done, most = [0], [0], [0]

    def counted(i):
        with lock:
            read[0] += 1
            most[0] = max(most[0], read[0] - done[0])
        return picture(i)

    class Watching(keras.Model):
        def predict_on_batch(self, x):
            with lock:
                done[0] += len(x)
            return encoder.model.predict_on_batch(x)

    watched = dataclasses.replace(encoder, model=Watching())
    images = pictures(80, counted)
    extract(images, watched, tmp_path, batch_size=4, shard_size=80)
    assert read[0] == 80 and 4 <= most[0] <= 3 * 4


def test_images_that_cannot_be_read_are_named(tmp_path, encoder):
    images = truncated_pictures(100, {5, 70})
    for path in (tmp_path / "gone.jpg", tmp_path):
        images.append(CaptionedImage(str(path), "train", (), path=str(path)))
    cache = extract(images, encoder, tmp_path / "cache", max_skipped=0.05)
    names = tuple(s.name for s in cache.skipped)
    reasons = [s.reason for s in cache.skipped]
    assert names == ("image 5", "image 70", *(i.id for i in images[100:]))
    assert "image 5 is truncated" in reasons[0]
    assert "No such file" in reasons[2] and "directory" in reasons[3]
    assert len(cache) == 98 and "image 5" not in cache.ids
    assert cache.position("image 6") == 5
    assert cache.position("image 71") == 69
    with pytest.raises(UserError, match="image 70.*truncated"):
        cache.position("image 70")
    with pytest.raises(UserError, match="id='image 100'"):
        cache.position("image 100")
    # The others are theirs, and a second run changes nothing.
    expected = encode(pictures(100)[71:72], encoder)
    np.testing.assert_allclose(
        np.sqrt(cache.read([69])), np.sqrt(expected), atol=0.02
    )
    before = contents(tmp_path / "cache")
    again = extract(images, encoder, tmp_path / "cache", max_skipped=0.05)
    assert again.ids == cache.ids
    assert contents(tmp_path / "cache") == before


def test_too_many_images_cannot_be_read(tmp_path, encoder):
    images = truncated_pictures(100, {5, 6, 20, 90})
    with pytest.raises(UserError, match="(?s)at most 2 of 100.*image 5: "):
        extract(images, encoder, tmp_path)
    # Stopped at once; what is extracted is kept.
    assert len(list(tmp_path.glob("a*.array_record"))) == 3
    with pytest.raises(UserError, match="not complete"):
        AnnotationCache.open(tmp_path)
    with pytest.raises(UserError, match="at most 2 of 100"):
        extract(images, encoder, tmp_path)
    # Two of them are mended: their shard is done again.
    cache = extract(truncated_pictures(100, {20, 90}), encoder, tmp_path)
    assert [one.name for one in cache.skipped] == ["image 20", "image 90"]
    expected = encode(pictures(7)[5:], encoder)
    np.testing.assert_allclose(
        np.sqrt(cache.read([5, 6])), np.sqrt(expected), atol=0.02
    )


def test_whatever_one_image_raises_is_named(tmp_path, encoder):
    def wrong(i):
        raise KeyError("a mistake in a source")

    with pytest.raises(UserError, match="image 0: KeyError.*a mistake"):
        extract(pictures(1, wrong), encoder, tmp_path)


def test_what_cannot_be_extracted_there(tmp_path, encoder):
    images = pictures(2)
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another extraction"):
            extract(images, encoder, tmp_path)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="thesis.tex.*OTHER_DIR"):
        extract(images, encoder, tmp_path)
    with pytest.raises(UserError, match="OTHER_DIR"):
        extract(images, encoder, tmp_path / "thesis.tex")
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="extract_features"):
            AnnotationCache.open(folder)
    with pytest.raises(ValueError, match="none"):
        extract([], encoder, tmp_path)
    with pytest.raises(ValueError, match="id='image 1', 2 times"):
        extract([*images, images[1]], encoder, tmp_path)


def test_readers_and_extractions_of_something_else(cache, encoder):
    before = contents(cache.directory)
    AnnotationCache.open(cache.directory, cache.metadata)
    expected = dataclasses.replace(
        cache.metadata, encoder="vgg19", layer="block5_conv4"
    )
    with pytest.raises(UserError) as caught:
        AnnotationCache.open(cache.directory, expected)
    for part in (
        "expected encoder vgg19/block5_conv4, found scenes/block2_conv1",
        "python -m pipelines.extract_features --annotations=OTHER_DIR "
        "--encoder=vgg19 --encoder_layer=block5_conv4",
    ):
        assert part in str(caught.value)
    images = pictures(19)
    for message, changed, options in (
        ("expected resize_mode squash", images, {"resize_mode": "squash"}),
        ("expected precision float16", images, {"precision": "float16"}),
        ("of other images: expected images 9", images[:9], {}),
        ("of other images: expected ids_digest", images[::-1], {}),
        ("expected shard_size 5", images, {"shard_size": 5}),
    ):
        with pytest.raises(UserError, match=message) as caught:
            extract(changed, encoder, cache.directory, **options)
        assert "--annotations=OTHER_DIR" in str(caught.value)
    assert contents(cache.directory) == before


def test_damaged_and_malformed_caches(tmp_path, encoder):
    cache = extract(pictures(10), encoder, tmp_path)
    path = tmp_path / "annotations-00000-of-00002.array_record"
    good = path.read_bytes()
    offset = good.index(cache.records([3])[0][:1000]) + 20
    path.write_bytes(good[:offset] + b"damage" + good[offset + 6 :])
    cache = AnnotationCache.open(tmp_path)
    cache.read([2, 4, 9])
    with pytest.raises(UserError, match="'image 3'.*extract_features"):
        cache.read([3])
    # Of other images, with as many of them.
    extract(pictures(19)[9:], encoder, tmp_path / "other")
    path.write_bytes((tmp_path / "other" / path.name).read_bytes())
    with pytest.raises(UserError, match="another cache.*extract_features"):
        AnnotationCache.open(tmp_path)
    path.write_bytes(good)
    for name, value in (("ids_digest", "0" * 64), ("images", 2**31)):
        values = Manifest(cache.metadata, 10, SHARD, "1" * 64).to_dict()
        checksums.write_json(tmp_path, "metadata.json", {**values, name: value})
        with pytest.raises(UserError, match="extract_features"):
            AnnotationCache.open(tmp_path)
    # Bombs: a short one decompresses to a little, a long one is not begun.
    (tmp_path / "bombs").mkdir()
    path = tmp_path / "bombs" / "annotations-00000-of-00001.array_record"
    with new_shard(str(path), cache.metadata.binding) as writer:
        writer.add("short", zlib.compress(bytes(2**24), 9))
        writer.add("long", zlib.compress(bytes(2**27), 1))
    manifest = Manifest(cache.metadata, 2, SHARD, ids_digest(["short", "long"]))
    write_json(path.with_name("metadata.json"), manifest.to_dict())
    list_shards(path.parent, [ShardReader(str(path)).digest])
    cache = AnnotationCache.open(path.parent)
    with pytest.raises(UserError, match="at most .* bytes"):
        cache.read([0])
    with pytest.raises(tf.errors.OpError):
        cache.decode(tf.constant(np.array(cache.records([0]), object)))
    with pytest.raises(UserError, match="'long' are damaged"):
        cache.records([1])


def test_changed_files_and_shards_of_others_are_named(tmp_path, encoder):
    images, other = pictures(10), pictures(10, lambda i: picture(i + 50))
    extract(images, encoder, tmp_path / "one")
    extract(other, encoder, tmp_path / "other")
    before = contents(tmp_path / "one")
    metadata = tmp_path / "one" / "metadata.json"
    text = before["metadata.json"]
    for old, new in ((b"crop", b"squash"), (b'images": 10', b'images": 11')):
        metadata.write_bytes(text.replace(old, new))
        for run in (
            lambda: AnnotationCache.open(tmp_path / "one"),
            lambda: extract(images, encoder, tmp_path / "one"),
        ):
            with pytest.raises(UserError, match="metadata.json with the SHA"):
                run()
    metadata.write_bytes(text)
    # The same ids, encoder and settings; other photos.
    name = "annotations-00001-of-00002.array_record"
    shard = (tmp_path / "other" / name).read_bytes()
    assert shard != before[name]
    (tmp_path / "one" / name).write_bytes(shard)
    with pytest.raises(UserError, match=f"{name} is not the one.*again"):
        AnnotationCache.open(tmp_path / "one")
    extract(images, encoder, tmp_path / "one")
    assert contents(tmp_path / "one") == before
    # Nor with other settings, before the shards are listed.
    extract(images, encoder, tmp_path / "squashed", "squash")
    shard = (tmp_path / "squashed" / name).read_bytes()
    (tmp_path / "one" / name).write_bytes(shard)
    (tmp_path / "one" / "SHA256SUMS").unlink()
    (tmp_path / "one" / "shards.json").unlink()
    extract(images, encoder, tmp_path / "one")
    assert contents(tmp_path / "one") == before


def test_a_cache_of_an_earlier_version_is_not_extracted_again(
    tmp_path, encoder
):
    images = truncated_pictures(60, {5})
    extract(images, encoder, tmp_path)
    complete = contents(tmp_path)
    for name in ("SHA256SUMS", "shards.json"):
        (tmp_path / name).unlink()
    for path in tmp_path.glob("*.array_record"):
        shard = ShardReader(str(path))
        index = {
            "ids": shard.image_ids,
            "skipped": {one.name: one.reason for one in shard.skipped},
        }
        records = [shard.read(row) for row in range(len(shard.ids))]
        records.append(deflate(json.dumps(index).encode()))
        writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
        for record in records:
            writer.write(record)
        writer.close()
    with pytest.raises(UserError, match="earlier versions.*again"):
        AnnotationCache.open(tmp_path)

    class Never(keras.Model):
        def predict_on_batch(self, x):
            raise AssertionError

    extract(images, dataclasses.replace(encoder, model=Never()), tmp_path)
    assert contents(tmp_path) == complete


def test_repeated_locations_are_stored_once(tmp_path):
    # 28x28x64 beside 14x14x128, whose locations are repeated.
    layers = "block3_conv2+block4_conv2:0.5"
    encoder = build_encoder("scenes", layers, "none")
    once, images = tmp_path / "once", pictures(5)
    cache = extract(images, encoder, once, precision="float16")
    expected = encode(images, encoder)
    np.testing.assert_allclose(cache.read(range(5)), expected, 2e-3, 1e-3)
    # As an earlier version did, whose cache is read, and goes on, as it is.
    repeating = dataclasses.replace(encoder, parts=())
    earlier = tmp_path / "earlier"
    extract(images, repeating, earlier, precision="float16", shard_size=2)
    os.remove(earlier / "annotations-00001-of-00003.array_record")
    before = contents(earlier)
    again = extract(images, encoder, earlier, precision="float16", shard_size=2)
    np.testing.assert_array_equal(again.read(range(5)), cache.read(range(5)))
    assert before.items() < contents(earlier).items()
    sizes = [len(each.records([0])[0]) for each in (cache, again)]
    assert sizes[0] < 0.7 * sizes[1]


def test_what_an_unfinished_extraction_left_is_made_anew(tmp_path, encoder):
    images = truncated_pictures(19, {17, 18})
    with pytest.raises(UserError, match="at most 0 of 19"):
        extract(images, encoder, tmp_path)
    (tmp_path / "annotations-00002-of-00003.array_record").unlink()
    good = images[:17]
    with pytest.raises(UserError, match="of other images"):
        extract(good, encoder, tmp_path)
    assert len(extract(good, encoder, tmp_path, restart=True)) == 17
    # What is complete stays.
    with pytest.raises(UserError, match="of other images"):
        extract(good[:9], encoder, tmp_path, restart=True)


@pytest.mark.proof
def test_size_and_error_on_photos(tmp_path, flickr8k_dir, vgg16_weights):
    encoder = build_encoder("vgg16", weights=vgg16_weights)
    folder = os.path.join(flickr8k_dir, "images")
    names = sorted(os.listdir(folder))[::440][:16]
    images = [
        CaptionedImage(name, "train", (), path=os.path.join(folder, name))
        for name in names
    ]
    expected = encode(images, encoder, "squash")
    cache = extract(
        images, encoder, tmp_path, "squash", batch_size=8, shard_size=256
    )
    records = cache.records(range(16))
    assert np.mean([len(record) for record in records]) <= 16 * 1024
    annotations = cache.read(range(16))
    bound = np.sqrt(expected.max((1, 2), keepdims=True)) / 510
    error = np.abs(np.sqrt(annotations) - np.sqrt(expected))
    assert (error <= bound + 5e-3).all()
    # The noise is under a ten-thousandth of the signal's power.
    noise = ((annotations - expected) ** 2).mean()
    assert noise < 1e-4 * (expected**2).mean()

    exact = Metadata.describe(encoder, "squash", "float16")
    packed = [encode_annotations(a, exact) for a in expected]
    assert np.mean([len(record) for record in packed]) <= 32 * 1024
    for record, annotation in zip(packed, expected, strict=True):
        np.testing.assert_array_equal(
            decode_annotations(record, exact), annotation.astype(np.float16)
        )
