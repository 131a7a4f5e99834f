"""coco_captions, written by tensorflow-datasets' own builder from a fixture."""

import io
import json
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from pipelines.errors import UserError
from pipelines.sources import load_source
from pipelines.sources.coco_captions import read_image

# split: COCO's part, and the numbers of the images
SPLITS = {
    "train": ("train2014", [1, 2, 3]),
    "val": ("val2014", [4]),
    "test": ("val2014", [5, 6]),
    "restval": ("val2014", [7]),
}


def _name(part, number):
    return f"COCO_{part}_{number:012d}.jpg"


def _jpeg(number):
    # Noise, so that records differ in length.
    pixels = np.random.default_rng(number).integers(
        0, 256, (10 + number, 12, 3), np.uint8
    )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def _archives(root):
    """What the archives of COCO and of Karpathy hold, at a tiny size."""
    parts = {"train2014": [], "val2014": [], "test2014": [], "test2015": []}
    karpathy = []
    for split, (part, numbers) in SPLITS.items():
        for number in numbers:
            name = _name(part, number)
            parts[part].append((number, name))
            sentences = [
                {"raw": f"Image {number}, caption {k}.", "sentid": 10 * number}
                for k in range(2)
            ]
            karpathy.append(
                {"filename": name, "split": split, "sentences": sentences}
            )
    (root / "annotations").mkdir()
    for part, images in parts.items():
        (root / part).mkdir()
        for number, name in images:
            (root / part / name).write_bytes(_jpeg(number))
        content = {
            "images": [
                {"id": number, "file_name": name, "height": 9, "width": 9}
                for number, name in images
            ],
            "annotations": [],
            "categories": [{"id": k, "name": f"thing{k}"} for k in range(80)],
        }
        kind = "image_info" if part.startswith("test") else "instances"
        path = root / "annotations" / f"{kind}_{part}.json"
        path.write_text(json.dumps(content))
    (root / "dataset_coco.json").write_text(json.dumps({"images": karpathy}))


class _LocalFolder:
    """Stands in for downloading and unpacking, and for nothing else."""

    def __init__(self, folder):
        self.folder = folder

    def download_and_extract(self, urls):
        return {name: self.folder for name in urls}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives")
    _archives(root)
    builder_class = tfds.builder_cls("coco_captions")

    class Local(builder_class, skip_registration=True):
        name = "coco_captions"
        url_infos = {}

        def _split_generators(self, dl_manager):
            return super()._split_generators(_LocalFolder(str(root)))

    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")
    Local(data_dir=str(data_dir)).download_and_prepare()
    return str(data_dir)


def test_splits_ids_captions_and_bytes(data_dir):
    source = load_source("coco_captions", data_dir)
    assert source.name == "coco_captions"
    assert source.skipped == ()
    splits = {
        split: {image.id for image in source.split(split)}
        for split in source.splits
    }
    assert splits == {
        "train": {
            *(_name("train2014", number) for number in (1, 2, 3)),
            _name("val2014", 7),
        },
        "validation": {_name("val2014", 4)},
        "test": {_name("val2014", 5), _name("val2014", 6)},
    }
    for image in source.images:
        number = int(image.id[-16:-4])
        assert image.captions == (
            f"Image {number}, caption 0.",
            f"Image {number}, caption 1.",
        )
        assert image.read() == _jpeg(number)  # the file, not decoded


def test_an_image_keeps_its_location_and_no_bytes(data_dir):
    for image in load_source("coco_captions", data_dir).images:
        # A public function and plain arguments, so that it can be pickled.
        assert image.load.func is read_image
        path, offset, length = image.load.args
        assert os.path.dirname(path).startswith(data_dir)
        assert offset + length <= os.path.getsize(path)


def test_the_order_stays(data_dir):
    ids = [image.id for image in load_source("coco_captions", data_dir).images]
    again = load_source("coco_captions", data_dir).images
    assert ids == [image.id for image in again]


def test_a_location_without_a_record_is_an_error(tmp_path):
    path = tmp_path / "shard.tfrecord"
    path.write_bytes(b"\xff" * 100)
    for offset in (0, 90):
        with pytest.raises(OSError, match="shard.tfrecord"):
            read_image(str(path), offset, 50)


def test_an_unprepared_data_set_is_refused_with_the_command(tmp_path):
    with pytest.raises(UserError, match="download_and_prepare.*--data_dir"):
        load_source("coco_captions", str(tmp_path))
