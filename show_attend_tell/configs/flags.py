"""From settings to flags and back: the one bridge between the two."""

import dataclasses
import os
import typing
from collections.abc import Callable

from absl import flags

from pipelines.commands import define_flags
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import RECIPES, Config

flags.disclaim_key_flags()

# No flag given: the recipe's value.
_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


# Where no recipe is named, the data set's own.
_RECIPE_OF = {
    "scenes": "scenes",
    "flickr8k": "flickr8k_soft",
    "flickr30k": "flickr30k_soft",
    "karpathy": "coco_soft",
    "coco": "coco_soft",
    "coco_captions": "coco_soft",
    "folder": "flickr8k_soft",
}
_PATHS = ("data_dir", "captions", "annotations", "warm_start")


def define_config_flags() -> Callable[[], tuple[str, Config]]:
    """Defines `--recipe` and a flag for each setting.

    Returns:
        A function that, once flags are parsed, gives the name of the recipe,
        and its settings with those of the flags that were given in their
        place. Paths are made absolute.
    """
    recipe = flags.DEFINE_enum(
        "recipe",
        None,
        sorted(RECIPES),
        "the settings to start from; by default the data set's",
    )
    types = typing.get_type_hints(Config)
    holders = {}
    for field in dataclasses.fields(Config):
        choices = field.metadata["choices"]
        help = field.metadata["help"]
        if choices:
            holder = flags.DEFINE_enum(field.name, None, choices, help)
        else:
            kind = next(t for t in (int, float, str) if _is(types, field, t))
            holder = _DEFINE[kind](field.name, None, help)
        holders[field.name] = holder

    def read() -> tuple[str, Config]:
        given = {
            name: holder.value
            for name, holder in holders.items()
            if holder.present
        }
        for name in _PATHS:
            if name in given:
                given[name] = _absolute(given[name])
        if given.get("encoder_weights") not in (None, "default", "none"):
            given["encoder_weights"] = _absolute(given["encoder_weights"])
        name = recipe.value or _RECIPE_OF[given.get("dataset", "scenes")]
        config = dataclasses.replace(RECIPES[name].config, **given)
        config.check()
        return name, config

    return read


def define_decoding_flags() -> Callable[[], dict]:
    """Defines a flag for each option of `Decoding`.

    Returns:
        A function that, once flags are parsed, gives those that were given.
    """
    return define_flags(Decoding)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _is(types, field, kind) -> bool:
    hint = types[field.name]
    return hint is kind or kind in typing.get_args(hint)
