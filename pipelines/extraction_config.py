"""The configuration of an extraction: images, encoder, cache."""

import dataclasses

from pipelines.cache.precisions import PRECISIONS
from pipelines.images.decoding import RESIZE_MODES
from pipelines.options import check_options, option
from pipelines.sources import SOURCES


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """Where captioned images come from, see `pipelines.sources.load_source`."""

    dataset: str = option("scenes", "the source of captioned images", SOURCES)
    data_dir: str | None = option(None, "folder of the data set", is_path=True)
    captions: str | None = option(
        None, "file of the captions, where the data set takes one", is_path=True
    )

    def __post_init__(self):
        check_options(self)


@dataclasses.dataclass(frozen=True)
class ExtractionConfig:
    """Which annotations are extracted, and where they are cached."""

    name: str = option(
        "vgg19",
        "vgg19, vgg16, efficientnet_lite0, scenes, resnet50, ..., "
        "keras_hub:PRESET; or several side by side, joined by +",
        flag="encoder",
    )
    layer: str | None = option(
        None,
        "layer whose outputs are the annotations, or several side by side, "
        "joined by +; by default the encoder's",
        flag="encoder_layer",
    )
    weights: str = option(
        "default",
        "default (ImageNet), a .h5 file, or none",
        flag="encoder_weights",
        is_path=True,
    )
    resize_mode: str = option(
        "crop",
        "crop (the paper's: shorter side to 256, centre 224) or squash",
        RESIZE_MODES,
    )
    precision: str = option(
        "sqrt8", "precision of the cached annotations", PRECISIONS
    )
    annotations: str | None = option(
        None,
        "folder of the cached annotations; train: by default in the workdir",
        is_path=True,
    )

    def __post_init__(self):
        check_options(self)
