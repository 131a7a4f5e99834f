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
from pipelines.extraction_flags import define_extraction_flags
from pipelines.sources import SOURCES, load_source

_DATASET = flags.DEFINE_enum(
    "dataset", None, SOURCES, "where the images come from", required=True
)
_EXTRACTION = define_extraction_flags()


def main(arguments: Sequence[str]) -> None:
    """Extracts, or goes on."""
    no_arguments(arguments)
    given = _EXTRACTION()
    source = load_source(_DATASET.value, given.data_dir, given.captions)
    # Here, because TensorFlow takes seconds: help and mistakes come at once.
    from pipelines.cache.extraction import extract_annotations
    from pipelines.encoders.registry import build_encoder

    encoder = build_encoder(given.encoder, given.layer, given.weights)
    cache = extract_annotations(
        source.images,
        encoder,
        given.resize_mode,
        given.annotations,
        given.precision,
    )
    told = summarize_skipped((*source.skipped, *cache.skipped))
    if told:
        print(told)
    size = sum(
        os.path.getsize(os.path.join(given.annotations, name))
        for name in os.listdir(given.annotations)
    )
    print(
        f"{len(cache)} images, {size / 2**20:.1f} MiB "
        f"({size / 2**10 / len(cache):.1f} KiB an image): {given.annotations}"
    )


if __name__ == "__main__":
    run(main)
