"""The builders work with `tfds.load`, as users of it expect."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import pipelines.builders
from pipelines.sources import load_source


def _jpeg(level):
    file = io.BytesIO()
    Image.new("RGB", (10, 7), (level, level, level)).save(file, "JPEG")
    return file.getvalue()


def _write_photos(folder, token, lists):
    (folder / "images").mkdir(parents=True)
    lines = []
    for name, split_names in lists.items():
        (folder / name).write_text("\n".join(split_names))
        for photo in split_names:
            level = 10 * len(lines)
            (folder / "images" / photo).write_bytes(_jpeg(level))
            lines += [f"{photo}#{k}\tCaption {k} of {photo}\n" for k in (0, 1)]
    (folder / token).write_text("".join(lines))


def _load(name, tmp_path, manual_dir):
    config = tfds.download.DownloadConfig(manual_dir=str(manual_dir))
    return tfds.load(
        name,
        data_dir=str(tmp_path / "data"),
        download_and_prepare_kwargs={"download_config": config},
    )


def _examples(dataset):
    examples = tfds.as_numpy(dataset)
    return {one["image/filename"].decode(): one for one in examples}


@pytest.mark.parametrize("subfolder", ["", "flickr8k"])
def test_flickr8k(tmp_path, subfolder):
    manual_dir = tmp_path / "manual"
    _write_photos(
        manual_dir / subfolder,
        "Flickr8k.token.txt",
        {
            "Flickr_8k.trainImages.txt": ["a.jpg", "b.jpg"],
            "Flickr_8k.devImages.txt": ["c.jpg"],
        },
    )
    splits = _load("flickr8k", tmp_path, manual_dir)
    assert set(splits) == {"train", "validation"}  # no list of test images
    train = _examples(splits["train"])
    assert set(train) == {"a.jpg", "b.jpg"}
    assert list(train["b.jpg"]["captions"]) == [
        b"Caption 0 of b.jpg",
        b"Caption 1 of b.jpg",
    ]
    image = train["b.jpg"]["image"]
    assert image.shape == (7, 10, 3) and image.dtype == np.uint8
    # b.jpg is the third to be counted in captions: a grey of 20, but for JPEG.
    assert np.abs(image.astype(int) - 20).max() <= 2
    assert set(_examples(splits["validation"])) == {"c.jpg"}


def test_flickr30k(tmp_path):
    manual_dir = tmp_path / "manual"
    _write_photos(
        manual_dir,
        "results_20130124.token",
        {"train.txt": ["1.jpg"], "val.txt": ["2.jpg"], "test.txt": ["3.jpg"]},
    )
    splits = _load("flickr30k", tmp_path, manual_dir)
    ids = {split: set(_examples(data)) for split, data in splits.items()}
    assert ids == {
        "train": {"1.jpg"},
        "validation": {"2.jpg"},
        "test": {"3.jpg"},
    }


def test_without_photos_tfds_tells_what_to_put_where(tmp_path):
    with pytest.raises(AssertionError, match="Flickr8k.token.txt"):
        _load("flickr8k", tmp_path, tmp_path / "nowhere")


def test_scenes_are_those_of_the_source(tmp_path):
    config = pipelines.builders.ScenesConfig(
        name="tiny", train=3, validation=1, test=0, novel=2, seed=5
    )
    splits, info = tfds.load(
        "scenes",
        data_dir=str(tmp_path),
        builder_kwargs={"config": config},
        with_info=True,
    )
    counts = {name: split.num_examples for name, split in info.splits.items()}
    assert counts == {"train": 3, "validation": 1, "novel": 2}
    counts = {"train": 3, "validation": 1, "test": 0, "novel": 2}
    source = load_source("scenes", **counts, seed=5)
    for split in source.splits:
        examples = _examples(splits[split])
        for image in source.split(split):
            example = examples[image.id]
            captions = [text.decode() for text in example["captions"]]
            assert tuple(captions) == image.captions
            with Image.open(io.BytesIO(image.read())) as rendered:
                expected = np.asarray(rendered.convert("RGB"))
            np.testing.assert_array_equal(example["image"], expected)


def test_scenes_has_a_small_config():
    builder = tfds.builder_cls("scenes")
    small = builder.builder_configs["small"]
    counts = (small.train, small.validation, small.test, small.novel)
    assert counts == (60, 5, 10, 5)
