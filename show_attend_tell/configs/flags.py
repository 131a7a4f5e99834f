"""Command-line flags of a run's configuration and of decoding."""

import dataclasses
import os
from collections.abc import Callable

from absl import flags

from pipelines.commands import define_flags
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.recipes import RECIPES, load_recipe
from show_attend_tell.configs.run_config import RUN_OPTIONS, RunConfig

flags.disclaim_key_flags()

# Where no recipe is named, the data set's.
_RECIPE_OF = {
    "scenes": "scenes",
    "flickr8k": "flickr8k_soft",
    "flickr30k": "flickr30k_soft",
    "karpathy": "coco_soft",
    "coco": "coco_soft",
    "coco_captions": "coco_soft",
    "folder": "flickr8k_soft",
}
# Keywords where a path is expected.
_NO_PATHS = {("encoder_weights", "default"), ("encoder_weights", "none")}


def define_run_flags() -> Callable[[], tuple[str, RunConfig]]:
    """Defines `--recipe` and a flag for each option of a run.

    Returns a function that, once flags are parsed, returns the name of the
    recipe, and its configuration with the options that were given.
    """
    recipe = flags.DEFINE_enum(
        "recipe",
        None,
        RECIPES,
        "configuration to start from; by default the data set's",
    )
    read = define_flags([field for _, field in RUN_OPTIONS.values()])

    def read_config() -> tuple[str, RunConfig]:
        options = read()
        name = recipe.value or _RECIPE_OF[options.get("dataset", "scenes")]
        config = load_recipe(name).replace(**_absolute(options))
        config.check()
        return name, config

    return read_config


def define_decoding_flags() -> Callable[[], dict]:
    """Defines the flags of `Decoding`; returns a reader of those given."""
    return define_flags(dataclasses.fields(Decoding))


def _absolute(options: dict[str, object]) -> dict[str, object]:
    """Makes paths absolute, which `config.json` keeps."""
    paths = {
        flag: os.path.abspath(os.path.expanduser(path))
        for flag, path in options.items()
        if path
        and RUN_OPTIONS[flag][1].metadata.get("is_path")
        and (flag, path) not in _NO_PATHS
    }
    return options | paths
