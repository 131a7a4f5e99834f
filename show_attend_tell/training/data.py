"""The data of a run: images with captions, annotations, vocabulary."""

import dataclasses
import os

import keras

from pipelines.batches import CaptionedAnnotation, TrainingBatches
from pipelines.boxes import PhotoBoxes, load_boxes
from pipelines.boxes.scene_boxes import SceneBoxes
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.metadata import Metadata
from pipelines.captions import CaptionedImage
from pipelines.checksums import write_bytes, write_json
from pipelines.encoders.encoder import PIXELS
from pipelines.encoders.fine_tuning import CutEncoder, cut_encoder
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.images.augmentation import Augmentation, can_mirror
from pipelines.vocabulary import SPECIAL, Vocabulary, count_words
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.split_data import (
    annotations_folder,
    extract,
    load_splits,
    open_cache,
    with_annotations,
)
from show_attend_tell.inference.model_files import (
    METADATA_FILE,
    VOCABULARY_FILE,
    load_metadata,
)
from show_attend_tell.training.checkpoints import is_begun
from show_attend_tell.training.supervision import phrases_of
from show_attend_tell.training.warm_start import (
    check_annotations,
    starting_vocabulary,
)

_SPLITS = ("train", "validation", "test", "novel")
# Of all words of training captions; Flickr8k's are under 3 % at five times.
MOST_UNKNOWN = 0.1


@dataclasses.dataclass(frozen=True)
class Data:
    """All that a run reads.

    Attributes:
        splits: Images of each split, those with annotations.
        cache: Their annotations.
        vocabulary: The words.
        encoder: The part of the encoder that is fine-tuned, if one is;
            the annotations are then its inputs.
        boxes: The boxes of their photos, if there are.
    """

    splits: dict[str, tuple[CaptionedImage, ...]]
    cache: AnnotationCache
    vocabulary: Vocabulary
    encoder: keras.Model | None = None
    boxes: PhotoBoxes | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the attention."""
        if self.encoder is None:
            return self.cache.metadata.grid
        return self.encoder.output_shape[1:3]


def prepare_data(config: RunConfig, workdir: str) -> Data:
    """Loads images and captions, extracts annotations, counts words.

    Raises:
        UserError: There are no images for training or for validation, or
            something that the user gave cannot be used.
    """
    splits = _load_splits(config)
    # First, because extraction may take hours.
    vocabulary = _build_vocabulary(config, workdir, splits["train"])
    images = [image for split in splits.values() for image in split]
    encoder = _build_encoder(config)
    cache = _prepare_cache(config, workdir, images, encoder)
    cached = {
        name: with_annotations(split, cache) for name, split in splits.items()
    }
    if cached["train"] != splits["train"]:
        vocabulary = _build_vocabulary(config, workdir, cached["train"])
    splits = cached
    _keep(workdir, vocabulary, cache.metadata)
    counts = [f"{len(split)} {name}" for name, split in splits.items()]
    print(f"{', '.join(counts)} images; {len(vocabulary)} words")
    boxes = _load_boxes(config, splits, cache.metadata.image_size)
    return Data(splits, cache, vocabulary, encoder.live, boxes)


def _load_boxes(config: RunConfig, splits, size: int) -> PhotoBoxes | None:
    """Loads the boxes of the images of training and of validation."""
    if config.data.dataset == "scenes":
        return SceneBoxes()
    if config.data.boxes is None:
        return None
    images = [*splits["train"], *splits["validation"]]
    mode = config.encoder.resize_mode
    return load_boxes(config.data.boxes, images, size, mode)


def _keep(workdir: str, vocabulary: Vocabulary, metadata: Metadata) -> None:
    """Writes what a model will belong to, or checks that it is the same."""
    if not is_begun(workdir):
        write_bytes(workdir, VOCABULARY_FILE, vocabulary.text.encode())
        write_json(workdir, METADATA_FILE, metadata.to_dict())
        return
    before = Vocabulary.load(os.path.join(workdir, VOCABULARY_FILE))
    if before.digest != vocabulary.digest:
        raise UserError(
            f"Expected the captions that the run {workdir} began with, of "
            f"{len(before)} words. Received: {len(vocabulary)} words, not the "
            "same. Put the captions back, or choose another --workdir"
        )
    differences = load_metadata(workdir).differences(metadata)
    if differences:
        raise UserError(
            f"Expected the annotations that the run {workdir} began with. "
            f"Received: {'; '.join(differences)}. Put the files of the "
            "encoder back, or choose another --workdir"
        )


def _load_splits(config: RunConfig) -> dict[str, tuple[CaptionedImage, ...]]:
    splits = load_splits(config)
    for name in ("train", "validation"):
        if not splits.get(name):
            raise UserError(
                f"{config.data.dataset} has no images in its split {name!r}, "
                f"which training needs; it has {', '.join(splits) or 'none'}"
            )
    others = sorted(set(splits) - set(_SPLITS))
    if others:
        print(
            f"note: nothing is trained or validated on the splits "
            f"{', '.join(others)}; splits are named {', '.join(_SPLITS)}"
        )
    return splits


def _build_vocabulary(config, workdir, images) -> Vocabulary:
    """Counts words; says so where many of them are left out.

    Raises:
        UserError: None is left.
    """
    size, min_count = config.data.vocabulary_size, config.data.min_count
    counts = count_words(text for image in images for text in image.captions)
    vocabulary = Vocabulary.of_counts(counts, size, min_count)
    if config.training.warm_start:
        start = starting_vocabulary(config, workdir)
        vocabulary = start.extended(vocabulary.words)
    if len(vocabulary) == len(SPECIAL):
        most = "".join(
            f", of which the most frequent, {word!r}, occurs {times} times"
            for word, times in counts.most_common(1)
        )
        raise UserError(
            f"Expected words that occur --min_count={min_count} times in the "
            f"captions of training. Received: {len(counts)} words{most}. Give "
            "--min_count=1 to keep all."
        )
    kept = sum(counts[word] for word in vocabulary.words)
    unknown = 1 - kept / max(counts.total(), 1)
    if unknown > MOST_UNKNOWN:
        print(
            f"note: {unknown:.0%} of the words of training captions (more than "
            f"{MOST_UNKNOWN:.0%}) are not among the {len(vocabulary)} of the "
            f"vocabulary, and unknown to the model; --min_count={min_count} "
            f"and --vocabulary_size={size} decide which are"
        )
    return vocabulary


def _build_encoder(config: RunConfig) -> CutEncoder:
    """Builds the part that is cached, and the part that is fine-tuned."""
    encoder = config.encoder
    source = (encoder.name, encoder.layer, encoder.weights)
    if encoder.finetune:
        pixels = bool(encoder.augmentations)
        dtype_policy = config.training.dtype_policy
        return cut_encoder(*source, encoder.finetune, pixels, dtype_policy)
    if encoder.layer == PIXELS:
        raise UserError(
            "Expected --finetune with pixels. Received: --encoder_layer="
            f"{PIXELS}. Give --finetune=all and no --encoder_layer."
        )
    frozen = build_encoder(*source)
    return CutEncoder(frozen=frozen, live=None, uncut=frozen)


def _prepare_cache(config, workdir, images, encoder) -> AnnotationCache:
    """Opens or extracts the annotations of all images."""
    directory = annotations_folder(config, workdir)
    frozen = encoder.frozen
    what = "annotations" if encoder.live is None else frozen.layer
    print(f"{what} of {len(images)} images: {directory}")
    if config.training.warm_start and not is_begun(workdir):
        # Unless its encoder was fine-tuned, the uncut encoder's.
        start = RunConfig.load(config.training.warm_start)
        other = frozen if start.encoder.finetune else encoder.uncut
        check_annotations(config, _describe(other, config))
    # Of a start that was refused, in a folder that is the run's.
    restart = not (is_begun(workdir) or config.encoder.annotations)
    return open_cache(directory, _describe(frozen, config), images) or extract(
        images, frozen, config, directory, restart
    )


def _describe(encoder, config: RunConfig) -> Metadata:
    return Metadata.describe(
        encoder, config.encoder.resize_mode, config.encoder.precision
    )


def make_batches(config: RunConfig, data: Data) -> TrainingBatches:
    """Returns the batches of all epochs."""
    # Samples are supervised by `coverage_of_samples`.
    supervised = (
        config.objective.attention_supervision > 0
        and config.objective.name != "self_critical"
    )
    examples = [
        CaptionedAnnotation(
            data.cache.position(image.id),
            tuple(data.vocabulary.encode(text) for text in image.captions),
            can_mirror(image.captions),
            phrases_of(image, data.boxes) if supervised else (),
        )
        for image in data.splits["train"]
    ]
    seed, kinds = config.training.seed, config.encoder.augmentations
    augmentation = None
    if kinds:
        augmentation = Augmentation(**dict.fromkeys(kinds, True), seed=seed)
    return TrainingBatches(
        data.cache,
        examples,
        batch_size=config.data.batch_size,
        batching=config.data.batching,
        length_step=config.data.length_step,
        max_words=config.data.max_training_words,
        seed=seed,
        augmentation=augmentation,
        grid=data.grid if supervised else None,
    )
