r"""Trains a captioner, scores it and renders its attention.

    python -m show_attend_tell.train

renders scenes, extracts their annotations, trains, and writes scores and
pictures of attention to runs/scenes. With photos:

    python -m show_attend_tell.train --recipe=flickr8k_soft \
        --data_dir=FLICKR8K --workdir=runs/flickr8k
"""

import os
from collections.abc import Sequence

from absl import flags

from pipelines.commands import no_arguments, run
from show_attend_tell.configs.flags import define_run_flags

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder of the run; by default runs/RECIPE"
)
_CONFIG = define_run_flags()


def main(arguments: Sequence[str]) -> None:
    """Trains, or continues a run that was stopped."""
    no_arguments(arguments)
    recipe, config = _CONFIG()
    workdir = _WORKDIR.value or os.path.join("runs", recipe)
    # Here, as TensorFlow takes seconds: help and errors come at once.
    from show_attend_tell.training.run import train

    train(config, workdir)


if __name__ == "__main__":
    run(main, resumable=True)
