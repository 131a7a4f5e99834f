"""What a run reads: images with captions, annotations, words."""

import dataclasses
import os
from collections.abc import Sequence

import keras

from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.extraction import extract_annotations
from pipelines.cache.metadata import Metadata
from pipelines.captions import CaptionedImage, Source, summarize_skipped
from pipelines.encoders.encoder import PIXELS, Encoder
from pipelines.encoders.fine_tuning import CutEncoder, cut_encoder
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.files import read_json, write_json
from pipelines.sources import load_source
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.inference.model_files import (
    METADATA_FILE,
    VOCABULARY_FILE,
)
from show_attend_tell.inference.workdir_captioner import encoder_of
from show_attend_tell.training.warm_start import check_annotations, known_words


@dataclasses.dataclass(frozen=True)
class Data:
    """All that a run reads.

    Attributes:
        splits: Images of each split, those with annotations.
        cache: Their annotations.
        vocabulary: The words.
        encoder: The part of the encoder that learns, if one does; the
            annotations are then what it is given.
    """

    splits: dict[str, tuple[CaptionedImage, ...]]
    cache: AnnotationCache
    vocabulary: Vocabulary
    encoder: keras.Model | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the cached locations."""
        return tuple(self.cache.metadata.grid)


def load_splits(config: RunConfig) -> dict[str, tuple[CaptionedImage, ...]]:
    """Loads the images of each split, as many as the settings ask for."""
    limits = {
        "train": config.data.train_images,
        "validation": config.data.validation_images,
        "test": config.data.test_images,
        "novel": config.data.test_images,
    }
    limits = {name: limit for name, limit in limits.items() if limit}
    # Scenes beyond them would be drawn in vain.
    options = limits if config.data.dataset == "scenes" else {}
    source: Source = load_source(
        config.data.dataset,
        config.data.data_dir,
        config.data.captions,
        **options,
    )
    told = summarize_skipped(source.skipped)
    if told:
        print(told)
    return {
        name: source.split(name)[: limits.get(name)] for name in source.splits
    }


def prepare_data(config: RunConfig, workdir: str) -> Data:
    """Loads images and captions, extracts annotations, counts words.

    Raises:
        UserError: There are no images for training or for validation, or
            something that the user gave cannot be used.
    """
    splits = load_splits(config)
    for name in ("train", "validation"):
        if not splits.get(name):
            raise UserError(
                f"{config.data.dataset} has no images in its split {name!r}, "
                "which training needs"
            )
    images = [image for split in splits.values() for image in split]
    directory = annotations_of(config, workdir)
    cut = _encoder(config)
    encoder = cut.frozen
    what = "annotations" if cut.live is None else encoder.layer
    print(f"{what} of {len(images)} images: {directory}")
    expected = Metadata.describe(
        encoder, config.encoder.resize_mode, config.encoder.precision
    )
    begun = os.path.exists(os.path.join(workdir, METADATA_FILE))
    if config.training.warm_start and not begun:
        check_annotations(config, _start(config, cut))
    cache = open_cache(directory, expected, images) or extract(
        images, encoder, config, directory
    )
    splits = {
        name: with_annotations(split, cache) for name, split in splits.items()
    }
    vocabulary = Vocabulary.build(
        (text for image in splits["train"] for text in image.captions),
        config.data.vocabulary_size,
        config.data.min_count,
    )
    if config.training.warm_start:
        vocabulary = known_words(config, workdir).extended(vocabulary.words)
    vocabulary.save(os.path.join(workdir, VOCABULARY_FILE))
    write_json(os.path.join(workdir, METADATA_FILE), cache.metadata.to_dict())
    print(
        ", ".join(f"{len(split)} {name}" for name, split in splits.items())
        + f" images; {len(vocabulary)} words"
    )
    return Data(splits, cache, vocabulary, cut.live)


def _encoder(config: RunConfig) -> CutEncoder:
    """Builds what is cached, and what learns, if anything does."""
    named = (config.encoder.name, config.encoder.layer, config.encoder.weights)
    if config.encoder.finetune:
        pixels = bool(config.encoder.augmentations)
        return cut_encoder(
            *named,
            config.encoder.finetune,
            pixels,
            config.training.dtype_policy,
        )
    if config.encoder.layer == PIXELS:
        raise UserError(
            "Expected --finetune with pixels. Received: --encoder_layer="
            f"{PIXELS}. Give --finetune=all and no --encoder_layer."
        )
    encoder = build_encoder(*named)
    return CutEncoder(frozen=encoder, live=None, uncut=encoder)


def _start(config: RunConfig, cut: CutEncoder) -> Metadata:
    """Describes the annotations that the model to start from was given.

    Where its encoder did not learn, they are the whole encoder's.
    """
    learned = RunConfig.load(config.training.warm_start).encoder.finetune
    encoder = cut.frozen if learned else cut.uncut
    return Metadata.describe(
        encoder, config.encoder.resize_mode, config.encoder.precision
    )


def prepare_split(
    config: RunConfig,
    workdir: str,
    split: str,
    images: Sequence[CaptionedImage],
) -> AnnotationCache:
    """Opens the annotations of a split, or extracts those that are missing.

    Those of the run's own cache are taken if it has all; otherwise the
    split gets a cache of its own in the workdir.

    Args:
        config: The settings of a finished run.
        workdir: Its folder.
        split: The name of the split.
        images: Its images.

    Raises:
        UserError: The encoder's weights are not those of the training.
    """
    trained_on = Metadata.from_dict(
        read_json(os.path.join(workdir, METADATA_FILE))
    )
    own = os.path.join(workdir, f"annotations_{split}")
    for directory in (annotations_of(config, workdir), own):
        cache = open_cache(directory, trained_on, images)
        if cache is not None:
            return cache
    encoder = encoder_of(trained_on, config.encoder.weights, workdir)
    print(f"annotations of {len(images)} images: {own}")
    return extract(images, encoder, config, own)


def annotations_of(config: RunConfig, workdir: str) -> str:
    """Returns the folder of a run's annotations."""
    return config.encoder.annotations or os.path.join(workdir, "annotations")


def open_cache(
    directory: str, expected: Metadata, images: Sequence[CaptionedImage]
) -> AnnotationCache | None:
    """Opens a cache that has at least these images, if it is complete."""
    try:
        cache = AnnotationCache.open(directory, expected)
    except UserError:
        return None  # An extraction goes on with it, or says what is wrong.
    known = {*cache.ids, *(skipped.name for skipped in cache.skipped)}
    return cache if known >= {image.id for image in images} else None


def extract(
    images: Sequence[CaptionedImage],
    encoder: Encoder,
    config: RunConfig,
    directory: str,
) -> AnnotationCache:
    """Extracts annotations, and tells what was left out."""
    cache = extract_annotations(
        images,
        encoder,
        config.encoder.resize_mode,
        directory,
        config.encoder.precision,
    )
    told = summarize_skipped(cache.skipped)
    if told:
        print(told)
    return cache


def with_annotations(
    images: Sequence[CaptionedImage], cache: AnnotationCache
) -> tuple[CaptionedImage, ...]:
    """Returns those images that could be read."""
    readable = set(cache.ids)
    return tuple(image for image in images if image.id in readable)
