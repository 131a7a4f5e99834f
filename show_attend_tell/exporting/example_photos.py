"""Example photos to check exports with: rendered scenes in all formats."""

import io

import numpy as np
from PIL import Image

from pipelines.sources.scenes import load_scenes

_FORMATS = ("JPEG", "PNG", "GIF", "BMP")


def example_photos(count: int) -> list[bytes]:
    """Returns encoded scenes of many sizes, in every format in turn."""
    rng = np.random.default_rng(0)
    photos = []
    for n, scene in enumerate(load_scenes(0, 0, count, 0).images):
        picture = Image.open(io.BytesIO(scene.read())).convert("RGB")
        width, height = (int(side) for side in rng.integers(40, 600, 2))
        file = io.BytesIO()
        picture.resize((width, height)).save(file, _FORMATS[n % len(_FORMATS)])
        photos.append(file.getvalue())
    return photos
