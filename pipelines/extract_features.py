r"""Extracts the annotations of a data set, ahead of training.

    python -m pipelines.extract_features --dataset=flickr8k \
        --data_dir=FLICKR8K --annotations=annotations/flickr8k

`show_attend_tell.train` does this by itself; with --annotations=FOLDER it
takes what is here, also for some of the images. A run that was stopped goes
on by the same command.
"""

import os
from collections.abc import Sequence

from absl import flags

from pipelines.captions import summarize_skipped
from pipelines.commands import no_arguments, run
from pipelines.encoders import build_encoder
from pipelines.features import extract_annotations
from pipelines.images import GEOMETRIES
from pipelines.metadata import PRECISIONS
from pipelines.sources import SOURCES, load_source

_DATASET = flags.DEFINE_enum(
    "dataset", None, SOURCES, "where the images come from", required=True
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "the folder of the data set")
_CAPTIONS = flags.DEFINE_string(
    "captions", None, "the file of the captions, where the data set takes one"
)
_ENCODER = flags.DEFINE_string(
    "encoder", "vgg19", "vgg19, vgg16, efficientnet_lite0, scenes, ..."
)
_LAYER = flags.DEFINE_string(
    "encoder_layer", None, "the layer that gives the annotations"
)
_WEIGHTS = flags.DEFINE_string(
    "encoder_weights", "default", "default (ImageNet) or a file"
)
_GEOMETRY = flags.DEFINE_enum(
    "geometry", "crop", GEOMETRIES, "how images are fitted"
)
_PRECISION = flags.DEFINE_enum(
    "precision", "sqrt8", PRECISIONS, "of the annotations on disk"
)
_ANNOTATIONS = flags.DEFINE_string(
    "annotations", None, "the folder to write", required=True
)


def main(arguments: Sequence[str]) -> None:
    """Extracts, or goes on."""
    no_arguments(arguments)
    source = load_source(_DATASET.value, _DATA_DIR.value, _CAPTIONS.value)
    encoder = build_encoder(_ENCODER.value, _LAYER.value, _WEIGHTS.value)
    cache = extract_annotations(
        source.images,
        encoder,
        _GEOMETRY.value,
        _ANNOTATIONS.value,
        _PRECISION.value,
    )
    told = summarize_skipped((*source.skipped, *cache.skipped))
    if told:
        print(told)
    size = sum(
        os.path.getsize(os.path.join(_ANNOTATIONS.value, name))
        for name in os.listdir(_ANNOTATIONS.value)
    )
    print(
        f"{len(cache)} images, {size / 2**20:.1f} MiB "
        f"({size / 2**10 / len(cache):.1f} KiB an image): {_ANNOTATIONS.value}"
    )


if __name__ == "__main__":
    run(main)
