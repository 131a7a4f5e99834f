r"""Trains a captioner, and shows what it learned.

    python -m show_attend_tell.train

draws scenes, extracts their annotations, trains, and writes scores and
pictures of attention to runs/scenes. Real photos, with the same command:

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
    """Trains, or goes on."""
    no_arguments(arguments)
    recipe, config = _CONFIG()
    workdir = _WORKDIR.value or os.path.join("runs", recipe)
    # Here, because TensorFlow takes seconds: help and mistakes come at once.
    from show_attend_tell.training.run import train

    train(config, workdir)


if __name__ == "__main__":
    run(main)
