"""From settings to flags and back: the one bridge between the two."""

import dataclasses
import typing
from collections.abc import Callable

from absl import flags

from show_attend_tell.config import RECIPES, Config

# No flag given: the recipe's value.
_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define_config_flags() -> Callable[[], Config]:
    """Defines `--recipe` and a flag for each setting.

    Returns:
        A function that, once flags are parsed, gives the recipe's settings
        with those of the flags that were given in their place.
    """
    recipe = flags.DEFINE_enum(
        "recipe", "scenes", sorted(RECIPES), "the settings to start from"
    )
    types = typing.get_type_hints(Config)
    holders = {}
    for field in dataclasses.fields(Config):
        choices = field.metadata["choices"]
        help = field.metadata["help"] or field.name
        if choices:
            holder = flags.DEFINE_enum(field.name, None, choices, help)
        else:
            kind = next(t for t in (int, float, str) if _is(types, field, t))
            holder = _DEFINE[kind](field.name, None, help)
        holders[field.name] = holder

    def read() -> Config:
        given = {
            name: holder.value
            for name, holder in holders.items()
            if holder.present
        }
        config = dataclasses.replace(RECIPES[recipe.value].config, **given)
        config.check()
        return config

    return read


def _is(types, field, kind) -> bool:
    hint = types[field.name]
    return hint is kind or kind in typing.get_args(hint)
