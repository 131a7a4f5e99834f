"""Loads the images of a run's splits and their annotations."""

import contextlib
import os
from collections.abc import Sequence

from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.extraction import extract_annotations
from pipelines.cache.metadata import Metadata
from pipelines.captions import CaptionedImage, summarize_skipped
from pipelines.encoders.encoder import Encoder
from pipelines.errors import UserError
from pipelines.files import remove_leftovers
from pipelines.sources import load_source
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.inference.model_files import load_metadata
from show_attend_tell.inference.workdir_captioner import encoder_of


def load_splits(config: RunConfig) -> dict[str, tuple[CaptionedImage, ...]]:
    """Loads the images of each split, as many as the configuration limits."""
    data = config.data
    limits = {
        "train": data.train_images,
        "validation": data.validation_images,
        "test": data.test_images,
        "novel": data.test_images,
    }
    limits = {name: limit for name, limit in limits.items() if limit}
    # Scenes beyond the limits need not be rendered.
    options = limits if data.dataset == "scenes" else {}
    source = load_source(data.dataset, data.data_dir, data.captions, **options)
    _print_skipped(source.skipped)
    return {
        name: source.split(name)[: limits.get(name)] for name in source.splits
    }


def annotations_folder(config: RunConfig, workdir: str) -> str:
    """Returns the folder of a run's annotations."""
    return config.encoder.annotations or os.path.join(workdir, "annotations")


def prepare_split(
    config: RunConfig,
    workdir: str,
    split: str,
    images: Sequence[CaptionedImage],
) -> AnnotationCache:
    """Opens the annotations of a split, or extracts those that are missing.

    The run's cache is used if it has all images; otherwise the split gets a
    cache in the workdir.

    Raises:
        UserError: The encoder's weights are not those of the training.
    """
    trained_on = load_metadata(workdir)
    split_folder = os.path.join(workdir, f"annotations_{split}")
    for folder in (annotations_folder(config, workdir), split_folder):
        cache = open_cache(folder, trained_on, images)
        if cache is not None:
            return cache
    encoder = encoder_of(trained_on, config.encoder.weights, workdir)
    print(f"annotations of {len(images)} images: {split_folder}")
    return extract(images, encoder, config, split_folder)


def open_cache(
    folder: str, expected: Metadata, images: Sequence[CaptionedImage]
) -> AnnotationCache | None:
    """Opens a cache that has at least these images, if it is complete.

    What an extraction has left that was killed at its very end is removed.
    """
    with contextlib.suppress(OSError):  # There is none, or it is read only.
        remove_leftovers(folder)
    try:
        cache = AnnotationCache.open(folder, expected)
    except UserError:
        return None  # An extraction goes on with it, or reports the error.
    cached = {*cache.ids, *(skipped.name for skipped in cache.skipped)}
    return cache if cached >= {image.id for image in images} else None


def extract(
    images: Sequence[CaptionedImage],
    encoder: Encoder,
    config: RunConfig,
    folder: str,
    restart: bool = False,
) -> AnnotationCache:
    """Extracts annotations, and prints which images were skipped."""
    mode, precision = config.encoder.resize_mode, config.encoder.precision
    cache = extract_annotations(
        images, encoder, mode, folder, precision, restart=restart
    )
    _print_skipped(cache.skipped)
    return cache


def with_annotations(
    images: Sequence[CaptionedImage], cache: AnnotationCache
) -> tuple[CaptionedImage, ...]:
    """Returns the images that have annotations."""
    cached = set(cache.ids)
    return tuple(image for image in images if image.id in cached)


def _print_skipped(skipped) -> None:
    summary = summarize_skipped(skipped)
    if summary:
        print(summary)
