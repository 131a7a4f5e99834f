r"""Extracts annotations on many workers or machines, with Apache Beam.

    python -m pipelines.extract_many --images='photos/*.jpg' \
        --annotations=annotations/photos \
        -- --direct_running_mode=multi_processing --direct_num_workers=4

writes the cache that `pipelines.extract_features` writes and training reads.
With --dataset and --data_dir in place of --images, ids are those of the data
set. Options of Beam follow after --, such as --runner=DataflowRunner. The same
command continues an extraction that was stopped. errors.jsonl names images
that cannot be read.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from pipelines.commands import define_flags, run
from pipelines.errors import UserError
from pipelines.extraction_config import ExtractionConfig, SourceConfig
from pipelines.options import replace_options
from pipelines.sources import load_source

_IMAGES = flags.DEFINE_string("images", None, "a glob; ** crosses folders")
_SOURCE = define_flags(dataclasses.fields(SourceConfig))
_EXTRACTION = define_flags(dataclasses.fields(ExtractionConfig))
flags.mark_flag_as_required("annotations")
_SHARD_SIZE = flags.DEFINE_integer(
    "shard_size", 256, "images of a shard, for one worker", lower_bound=1
)
_RETRY = flags.DEFINE_bool(
    "retry_errors", False, "extract shards again that have errors"
)


def main(arguments: Sequence[str]) -> None:
    """Extracts, or continues an extraction that was stopped."""
    # Here, because Beam is an extra, and TensorFlow takes seconds.
    from pipelines.cache.metadata import Metadata
    from pipelines.sharded.annotations import (
        ShardedExtraction,
        build_encoder_anywhere,
    )
    from pipelines.sharded.files import absolute
    from pipelines.sharded.images import images_of_glob, images_of_source
    from pipelines.sharded.pipeline import pipeline_options, run_pipeline

    options = pipeline_options(arguments)
    source = _SOURCE()
    config = replace_options(ExtractionConfig(), _EXTRACTION())
    if (_IMAGES.value is None) == ("dataset" not in source):
        raise UserError(
            "Expected either --images or --dataset. Received: "
            f"images={_IMAGES.value!r}, dataset={source.get('dataset')!r}"
        )
    if _IMAGES.value is not None:
        images = images_of_glob(_IMAGES.value)
    else:
        images = images_of_source(load_source(**source).images)
    weights = config.weights
    if weights not in ("default", "none"):
        weights = absolute(weights)
    encoder = build_encoder_anywhere(config.name, config.layer, weights)
    sharded = ShardedExtraction(
        absolute(config.annotations),
        Metadata.describe(encoder, config.resize_mode, config.precision),
        weights,
        retry_errors=_RETRY.value,
    )
    spans = sharded.begin(images, _SHARD_SIZE.value)
    print(f"{len(images)} images in {len(spans)} shards: {sharded.directory}")
    summary = run_pipeline(sharded, spans, options)
    print(f"{summary.done} extracted, {summary.skipped} set aside")


if __name__ == "__main__":
    run(main, resumable=True)
