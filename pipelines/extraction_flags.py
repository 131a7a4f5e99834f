"""The flags that say which annotations are extracted, and how."""

import typing
from collections.abc import Callable

from absl import flags

from pipelines.cache.precisions import PRECISIONS
from pipelines.images.decoding import RESIZE_MODES


class Extraction(typing.NamedTuple):
    """What the flags say.

    Attributes:
        data_dir: The folder of a data set, or `None`.
        captions: The file of its captions, or `None`.
        encoder: The name of the encoder.
        layer: The layer that gives the annotations, or `None`.
        weights: `"default"` or a file.
        resize_mode: How images are fitted.
        precision: Of the annotations on disk.
        annotations: The folder to write.
    """

    data_dir: str | None
    captions: str | None
    encoder: str
    layer: str | None
    weights: str
    resize_mode: str
    precision: str
    annotations: str


def define_extraction_flags() -> Callable[[], Extraction]:
    """Defines the flags.

    Returns:
        A function that, once flags are parsed, gives what they say.
    """
    holders = (
        flags.DEFINE_string("data_dir", None, "the folder of the data set"),
        flags.DEFINE_string(
            "captions",
            None,
            "the file of the captions, where the data set takes one",
        ),
        flags.DEFINE_string(
            "encoder",
            "vgg19",
            "vgg19, vgg16, efficientnet_lite0, scenes, ...; or several side "
            "by side, joined by +",
        ),
        flags.DEFINE_string(
            "encoder_layer", None, "the layer that gives the annotations"
        ),
        flags.DEFINE_string(
            "encoder_weights", "default", "default (ImageNet) or a file"
        ),
        flags.DEFINE_enum(
            "resize_mode", "crop", RESIZE_MODES, "how images are fitted"
        ),
        flags.DEFINE_enum(
            "precision", "sqrt8", PRECISIONS, "of the annotations on disk"
        ),
        flags.DEFINE_string(
            "annotations", None, "the folder to write", required=True
        ),
    )
    return lambda: Extraction(*(holder.value for holder in holders))
