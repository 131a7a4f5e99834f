"""The configuration of the data: images, vocabulary, batches."""

import dataclasses

from pipelines.extraction_config import SourceConfig
from pipelines.options import option

BATCHINGS = ("image", "length")


@dataclasses.dataclass(frozen=True)
class DataConfig(SourceConfig):
    """What a run is trained on, and how it is batched."""

    boxes: str | None = option(
        None,
        "boxes of the photos, for attention_supervision and to measure "
        "attention: folder of Flickr30k Entities or of COCO's instances",
        is_path=True,
    )
    train_images: int = option(0, "use this many for training; 0: all")
    validation_images: int = option(0, "use this many for validation; 0: all")
    test_images: int = option(0, "use this many for the test; 0: all")
    vocabulary_size: int = option(
        10000, "keep at most this many words", "[1, inf)"
    )
    min_count: int = option(5, "keep words that occur this often")
    max_training_words: int = option(
        50, "cut training captions here", "[1, inf)"
    )
    batch_size: int = option(64, "captions in a batch", "[1, 1000000]")
    batching: str = option(
        "image",
        "a batch holds images with all captions, or captions of one length",
        BATCHINGS,
    )
    length_step: int = option(
        4, "lengths are padded to multiples of this", "[1, inf)"
    )
