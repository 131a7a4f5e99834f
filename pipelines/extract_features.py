r"""Extracts the annotations of a data set, ahead of training.

    python -m pipelines.extract_features --dataset=flickr8k \
        --data_dir=FLICKR8K --annotations=annotations/flickr8k

`show_attend_tell.train` does this by itself; with --annotations=FOLDER it uses
this cache, also for some of the images. The same command continues an
extraction that was stopped.
"""

import dataclasses
import os
from collections.abc import Sequence

from absl import flags

from pipelines.captions import summarize_skipped
from pipelines.commands import define_flags, no_arguments, run
from pipelines.extraction_config import ExtractionConfig, SourceConfig
from pipelines.options import replace_options
from pipelines.sources import load_source

_SOURCE = define_flags(dataclasses.fields(SourceConfig))
_EXTRACTION = define_flags(dataclasses.fields(ExtractionConfig))
flags.mark_flags_as_required(["dataset", "annotations"])


def main(arguments: Sequence[str]) -> None:
    """Extracts, or continues an extraction that was stopped."""
    no_arguments(arguments)
    source = load_source(**_SOURCE())
    config = replace_options(ExtractionConfig(), _EXTRACTION())
    # Here, as TensorFlow takes seconds: help and errors come at once.
    from pipelines.cache.extraction import extract_annotations
    from pipelines.encoders.registry import build_encoder

    encoder = build_encoder(config.name, config.layer, config.weights)
    settings = config.resize_mode, config.annotations, config.precision
    cache = extract_annotations(source.images, encoder, *settings)
    summary = summarize_skipped((*source.skipped, *cache.skipped))
    if summary:
        print(summary)
    size = sum(
        os.path.getsize(os.path.join(config.annotations, name))
        for name in os.listdir(config.annotations)
    )
    print(
        f"{len(cache)} images, {size / 2**20:.1f} MiB "
        f"({size / 2**10 / len(cache):.1f} KiB an image): {config.annotations}"
    )


if __name__ == "__main__":
    run(main, resumable=True)
