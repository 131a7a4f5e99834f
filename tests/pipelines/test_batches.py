"""Batches, over a real cache of a few small images."""

import collections
import dataclasses
import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.batches import (
    CaptionedAnnotation,
    TrainingBatches,
    evaluation_batches,
)
from pipelines.boxes.photo_boxes import Phrase
from pipelines.cache.extraction import extract_annotations
from pipelines.cache.shards import ShardReader
from pipelines.captions import CaptionedImage
from pipelines.encoders.registry import build_encoder
from pipelines.ending import describe_error
from pipelines.errors import UserError
from pipelines.images.augmentation import Augmentation
from pipelines.vocabulary import END, PADDING, START

IMAGES, L, D = 7, 196, 128
# Words of each caption of each example, the longest with more than MAX_WORDS.
LENGTHS = [(3, 5), (4, 2, 3), (9, 1), (2,), (5, 5, 6), (15, 8), (3, 0)]
MAX_WORDS = 10


def encoded_image(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((112, 112)).save(file, "PNG")
    return file.getvalue()


def extracted(encoder, folder):
    loads = [functools.partial(encoded_image, i) for i in range(IMAGES)]
    images = [
        CaptionedImage(str(i), "train", (), load=load)
        for i, load in enumerate(loads)
    ]
    return extract_annotations(
        images, encoder, "squash", folder, shard_size=3, verbose=False
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    encoder = build_encoder("scenes", weights="none")
    return extracted(encoder, tmp_path_factory.mktemp("annotations"))


def examples_of():
    """Captions that no two examples share, images not in the cache's order."""
    word, examples = 4, []
    for number, lengths in enumerate(LENGTHS):
        captions = []
        for length in lengths:
            words = range(word, word + length)
            captions.append(np.array([START, *words, END], np.int32))
            word += length + 1
        position = (3 * number + 2) % IMAGES
        examples.append(CaptionedAnnotation(position, tuple(captions)))
    return examples


def batches_of(cache, **arguments):
    return TrainingBatches(
        cache,
        examples_of(),
        **{"batch_size": 6, "max_words": MAX_WORDS, **arguments},
    )


def elements(dataset):
    return list(dataset.as_numpy_iterator())


def assert_same(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        for name in ("annotations", "tokens"):
            np.testing.assert_array_equal(one[name], other[name])


def seen(cache, batches):
    """Counts pairs of an image's position and a caption's tokens."""
    images = cache.read(range(IMAGES))
    positions = {image.tobytes(): p for p, image in enumerate(images)}
    assert len(positions) == IMAGES
    counts = collections.Counter()
    for batch in batches:
        for annotations, captions in zip(
            batch["annotations"], batch["tokens"], strict=True
        ):
            for caption in captions:
                if np.any(caption != PADDING):
                    key = tuple(caption[caption != PADDING].tolist())
                    counts[positions[annotations.tobytes()], key] += 1
    return counts


def cut(caption):
    """A caption of more than MAX_WORDS words keeps so many, and no end."""
    caption = caption.tolist()
    words = caption[1:-1]
    return tuple(
        caption if len(words) <= MAX_WORDS else [START, *words[:MAX_WORDS]]
    )


@pytest.fixture(scope="module")
def epochs(cache):
    """Two epochs of either batching, read once."""
    return {
        batching: [
            elements(batches_of(cache, batching=batching).epoch(epoch))
            for epoch in range(2)
        ]
        for batching in ("image", "length")
    }


@pytest.mark.parametrize("batching", ["image", "length"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_every_caption_once_with_its_image(cache, epochs, batching, epoch):
    expected = collections.Counter()
    for example in examples_of():
        for caption in example.captions:
            expected[example.position, cut(caption)] += 1
    assert set(expected.values()) == {1}
    assert seen(cache, epochs[batching][epoch]) == expected


@pytest.mark.parametrize("batching", ["image", "length"])
def test_coverage_of_words_by_boxes(cache, batching):
    left, corner = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.75, 0.5)
    examples = [
        dataclasses.replace(example, phrases=((),) * len(example.captions))
        for example in examples_of()
    ]
    # Words 1 and 2 of the first caption of 5, and all of what is cut.
    phrases = (Phrase(1, 3, "", (corner,)),)
    examples[4] = dataclasses.replace(examples[4], phrases=(phrases, (), ()))
    phrases = (Phrase(0, 15, "", (left, corner)),)
    examples[5] = dataclasses.replace(examples[5], phrases=(phrases, ()))
    batches = dataclasses.replace(
        batches_of(cache, batching=batching), examples=examples, grid=(1, 2)
    )
    coverages = {}
    for batch in elements(batches.epoch(0)):
        assert batch["coverage"].shape == (*batch["tokens"][..., 1:].shape, 2)
        for row, column in np.argwhere(batch["coverage"].any((2, 3))):
            key = batch["examples"][row], batch["tokens"][row, column, 1]
            coverages[key] = batch["coverage"][row, column]
    short, long = (examples[i].captions[0][1] for i in (4, 5))
    assert set(coverages) == {(4, short), (5, long)}
    # A quarter of the right half.
    expected = np.zeros_like(coverages[4, short])
    expected[1:3] = [0.0, 0.25]
    np.testing.assert_array_equal(coverages[4, short], expected)
    expected = np.zeros_like(coverages[5, long])
    expected[:MAX_WORDS] = [1.0, 0.25]
    np.testing.assert_array_equal(coverages[5, long], expected)


@pytest.mark.parametrize("batching", ["image", "length"])
def test_rows_name_their_examples(cache, epochs, batching):
    images, examples, numbers = cache.read(range(IMAGES)), examples_of(), set()
    for batch in epochs[batching][1]:
        assert batch["examples"].dtype == np.int32
        for row, number in enumerate(batch["examples"]):
            if number < 0:
                assert (batch["tokens"][row] == PADDING).all()
                continue
            numbers.add(number)
            np.testing.assert_array_equal(
                batch["annotations"][row], images[examples[number].position]
            )
            first = tuple(batch["tokens"][row, 0, :2].tolist())
            captions = examples[number].captions
            assert first in {tuple(c[:2].tolist()) for c in captions}
    assert numbers == set(range(len(examples)))


@pytest.mark.parametrize(
    ("batching", "images", "captions"),
    # Six captions a batch: two images of three, or six of one.
    [("image", 2, 3), ("length", 6, 1)],
)
def test_shapes(cache, epochs, batching, images, captions):
    batches = batches_of(cache, batching=batching)
    assert batches.images_per_batch() == images
    assert batches.captions_per_image() == captions
    assert batches.steps() == len(epochs[batching][0])
    for epoch in epochs[batching]:
        assert len(epoch) == batches.steps()
        for batch in epoch:
            assert batch["annotations"].shape == (images, L, D)
            assert batch["annotations"].dtype == np.float32
            assert batch["tokens"].shape[:2] == (images, captions)
            assert batch["tokens"].dtype == np.int32
            steps = batch["tokens"].shape[2] - 1
            # Steps are a multiple of 4; the longest takes MAX_WORDS + 1.
            assert steps in (4, 8, 12)
    spec = batches.epoch(0).element_spec
    assert spec["annotations"].shape.as_list() == [images, L, D]
    assert spec["tokens"].shape.as_list() == [images, captions, None]


@pytest.mark.parametrize("length_step", [1, 4, 5])
def test_a_batch_holds_captions_of_one_length(cache, length_step):
    batches = batches_of(cache, batching="length", length_step=length_step)
    for steps, rows in batches.plan(3):
        assert steps % length_step == 0
        _, tokens = batches.arrays(steps, rows)
        assert tokens.shape == (6, 1, steps + 1)
        for caption in tokens[: len(rows), 0]:
            predicted = np.count_nonzero(caption) - 1
            assert steps - length_step < predicted <= steps or (
                predicted == MAX_WORDS  # Of one that was cut.
            )


def test_empty_rows_are_padding(cache):
    batches = batches_of(cache, batching="length")
    for steps, rows in batches.plan(0):
        positions, tokens = batches.arrays(steps, rows)
        assert positions.shape == (6,) and positions.dtype == np.int64
        assert (tokens[len(rows) :] == PADDING).all()
        assert (tokens[: len(rows), 0, 0] == START).all()


@pytest.mark.parametrize("batching", ["image", "length"])
def test_order_is_a_function_of_seed_and_epoch(cache, epochs, batching):
    again = batches_of(cache, batching=batching)
    assert_same(elements(again.epoch(1)), epochs[batching][1])
    assert again.plan(0) == batches_of(cache, batching=batching).plan(0)
    assert again.plan(0) != again.plan(1)
    assert again.plan(0) != batches_of(cache, batching=batching, seed=1).plan(0)
    # Batches of different lengths are mixed, not one length after the other.
    plans = [again.plan(epoch) for epoch in range(5)]
    assert len({tuple(steps for steps, _ in plan) for plan in plans}) > 1


@pytest.mark.parametrize("batching", ["image", "length"])
def test_an_epoch_continues_in_the_middle(cache, epochs, batching):
    batches = batches_of(cache, batching=batching)
    for start in (0, 1, batches.steps() - 1, batches.steps()):
        actual = elements(batches.epoch(1, start=start))
        assert_same(actual, epochs[batching][1][start:])


def test_records_are_decoded_in_the_graph_as_by_read(cache, epochs):
    batches = batches_of(cache)
    for (steps, rows), batch in zip(
        batches.plan(0), epochs["image"][0], strict=True
    ):
        positions, tokens = batches.arrays(steps, rows)
        np.testing.assert_array_equal(
            batch["annotations"], cache.read(positions)
        )
        np.testing.assert_array_equal(batch["tokens"], tokens)


@pytest.fixture(scope="module")
def pixel_cache(tmp_path_factory):
    encoder = build_encoder("scenes", "pixels")
    return extracted(encoder, tmp_path_factory.mktemp("pixels"))


def test_pixels_are_cached_exactly(pixel_cache):
    assert pixel_cache.metadata.precision == "uint8"
    for i, pixels in enumerate(pixel_cache.read(range(IMAGES))):
        expected = np.asarray(Image.open(io.BytesIO(encoded_image(i))))
        np.testing.assert_array_equal(pixels.reshape(112, 112, 3), expected)


@pytest.mark.parametrize("batching", ["image", "length"])
def test_augmented_batches(pixel_cache, batching):
    examples = [
        dataclasses.replace(example, mirrors=i % 2 == 0)
        for i, example in enumerate(examples_of())
    ]
    batches = TrainingBatches(
        pixel_cache,
        examples,
        batch_size=6,
        batching=batching,
        augmentation=Augmentation(flip=True, seed=3),
    )
    may = {example.position: example.mirrors for example in examples}
    originals = pixel_cache.read(range(IMAGES)).reshape(-1, 112, 112, 3)
    epochs = [elements(batches.epoch(epoch)) for epoch in range(3)]
    turned = collections.Counter()
    for epoch, actual in enumerate(epochs):
        for (steps, rows), batch in zip(
            batches.plan(epoch), actual, strict=True
        ):
            positions, tokens = batches.arrays(steps, rows)
            np.testing.assert_array_equal(batch["tokens"], tokens)
            for position, seen in zip(
                positions, batch["annotations"], strict=True
            ):
                original = originals[position]
                mirrored = np.any(seen.reshape(112, 112, 3) != original)
                if mirrored:
                    original = original[:, ::-1]
                np.testing.assert_array_equal(seen, original.reshape(-1, 3))
                turned[may[position], mirrored] += 1
    assert turned[False, True] == 0 < turned[False, False]
    assert turned[True, True] > 0 < turned[True, False]
    # Taken up in the middle it is the same.
    assert_same(elements(batches.epoch(1, start=2)), epochs[1][2:])


def test_a_damaged_record_stops_the_epoch(cache, monkeypatch):
    def read(self, row):
        raise UserError("gone")

    batches = batches_of(cache)
    monkeypatch.setattr(ShardReader, "read", read)
    with pytest.raises(tf.errors.OpError) as error:
        elements(batches.epoch(0))
    described = describe_error(error.value)
    assert described.startswith("The annotations of '")
    assert "gone" in described and "\n" not in described


@pytest.mark.parametrize(
    ("name", "value"),
    [("batching", "word"), ("batch_size", 0), ("length_step", 0)]
    + [("max_words", 0)],
)
def test_wrong_options(cache, name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value!r}"):
        batches_of(cache, **{name: value})


@pytest.mark.parametrize(
    ("order", "size"),
    [([5, 0, 3, 1, 6], 2), ([2, 4], 2), ([6], 4), ([1, 1, 0], 2), ([], 3)],
)
def test_evaluation_is_in_order(cache, order, size):
    batches = elements(evaluation_batches(cache, order, size))
    assert len(batches) == -(-len(order) // size)
    assert all(batch.shape == (size, L, D) for batch in batches)
    if order:
        missing = len(batches) * size - len(order)
        np.testing.assert_array_equal(
            np.concatenate(batches), cache.read(order + order[-1:] * missing)
        )
    spec = evaluation_batches(cache, order, size).element_spec
    assert spec.shape.as_list() == [size, L, D]
