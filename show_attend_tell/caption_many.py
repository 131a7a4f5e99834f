r"""Captions many photos on many workers or machines, with Apache Beam.

    python -m show_attend_tell.caption_many --images='photos/*.jpg' \
        --model=savedmodels/scenes/1 --output=captions \
        -- --direct_running_mode=multi_processing --direct_num_workers=4

writes captions-00000-of-00028.jsonl and so on into the folder, a line for
each photo. --model is a folder that train or export wrote. Options of Beam
follow after --, such as --runner=DataflowRunner. The same command resumes a
run that was stopped. Photos that cannot be read are listed in errors.jsonl.
"""

from collections.abc import Sequence

from absl import flags

from pipelines.commands import run
from show_attend_tell.configs.flags import define_decoding_flags

_IMAGES = flags.DEFINE_string(
    "images", None, "a glob; ** crosses folders", required=True
)
_MODEL = flags.DEFINE_string(
    "model", None, "folder that train or export wrote", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "the folder to write", required=True
)
_WEIGHTS = flags.DEFINE_string(
    "encoder_weights", None, "where the encoder's weights are now"
)
_SHARD_SIZE = flags.DEFINE_integer(
    "shard_size", 256, "photos that a worker takes at a time", lower_bound=1
)
_BATCH = flags.DEFINE_integer(
    "batch_size", 8, "photos that go through the networks together", 1
)
_ATTENTION = flags.DEFINE_bool(
    "attention", False, "write the attention of each word"
)
_RETRY = flags.DEFINE_bool(
    "retry_errors", False, "do shards with skipped photos again"
)
_DECODING = define_decoding_flags()


def main(arguments: Sequence[str]) -> None:
    """Captions the photos, or resumes."""
    # Here, because Beam is an extra.
    from pipelines.sharded.files import absolute
    from pipelines.sharded.images import images_of_glob
    from pipelines.sharded.pipeline import pipeline_options, run_pipeline
    from show_attend_tell.inference.sharded_captions import (
        ShardedCaptioning,
        model_digest,
    )

    options = pipeline_options(arguments)
    images = images_of_glob(_IMAGES.value)
    model = absolute(_MODEL.value)
    work = ShardedCaptioning(
        absolute(_OUTPUT.value),
        model,
        model_digest(model),
        _WEIGHTS.value and absolute(_WEIGHTS.value),
        _DECODING(),
        _BATCH.value,
        _ATTENTION.value,
        _RETRY.value,
    )
    spans = work.begin(images, _SHARD_SIZE.value)
    print(f"{len(images)} photos in {len(spans)} shards: {work.directory}")
    summary = run_pipeline(work, spans, options)
    print(f"{summary.done} captioned, {summary.skipped} set aside")


if __name__ == "__main__":
    run(main, resumable=True)
