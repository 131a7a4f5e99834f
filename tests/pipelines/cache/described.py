"""Metadata for tests, small."""

from pipelines.cache.metadata import Metadata


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
