"""Photos of a size and a pattern, and Flickr30k Entities and COCO of them."""

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from pipelines.captions import CaptionedImage


def photo(pixels: np.ndarray, path: pathlib.Path) -> CaptionedImage:
    """Writes a photo and returns it as a source does."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    path.write_bytes(file.getvalue())
    return CaptionedImage(path.name, "test", ("A dog .",), str(path))


@pytest.fixture
def photos(tmp_path):
    """Makes grey photos: `photos(name=(height, width))`."""

    def make(**shapes):
        return [
            photo(np.full((*shape, 3), 99, np.uint8), tmp_path / f"{name}.jpg")
            for name, shape in shapes.items()
        ]

    return make


@pytest.fixture
def entities(tmp_path):
    """Writes photos of Flickr30k Entities and returns the folder."""
    folder = tmp_path / "entities"

    def write(name, xml, sentences):
        for part, text in {
            "Annotations/{}.xml": xml,
            "Sentences/{}.txt": sentences,
        }.items():
            path = folder / part.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(folder)

    return write


@pytest.fixture
def instances(tmp_path):
    """Writes a file of COCO's instances and returns its path."""

    def write(images, annotations, categories, name="instances_val2014.json"):
        path = tmp_path / "annotations" / name
        path.parent.mkdir(exist_ok=True)
        content = {
            "info": {"year": 2014, "contributor": "Nobody"},
            "images": images,
            "licenses": [{"id": 1, "name": "None"}],
            "annotations": annotations,
            "categories": categories,
        }
        path.write_text(json.dumps(content))
        return str(path)

    return write
