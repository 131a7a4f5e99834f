"""From settings to flags and back: the one bridge between the two."""

import dataclasses
import os
import typing
from collections.abc import Callable

from absl import flags

from show_attend_tell.configs.run_config import RECIPES, Config
from show_attend_tell.decoding import CONTEXT_MODES, METHODS, Decoding

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
    """Defines a flag for each setting of decoding.

    Returns:
        A function that, once flags are parsed, gives those that were given.
    """
    define = {
        "method": lambda name, help: flags.DEFINE_enum(
            name, None, METHODS, help
        ),
        "context_mode": lambda name, help: flags.DEFINE_enum(
            name, None, CONTEXT_MODES, help
        ),
        int: lambda name, help: flags.DEFINE_integer(name, None, help),
        float: lambda name, help: flags.DEFINE_float(name, None, help),
        bool: lambda name, help: flags.DEFINE_bool(name, None, help),
    }
    holders = [
        define.get(field.name, define.get(field.type))(
            field.name, _DECODING_HELP[field.name]
        )
        for field in dataclasses.fields(Decoding)
    ]

    def read() -> dict:
        return {h.name: h.value for h in holders if h.present}

    return read


_DECODING_HELP = {
    "method": "how captions are said; by default by beam search",
    "beam_width": "hypotheses that beam search carries on",
    "num_captions": "captions of each image, the best first",
    "length_penalty": "hypotheses are ranked by log p / length ** this; with "
    "--consensus 1",
    "min_words": "no caption ends before",
    "max_words": "no caption goes on after",
    "no_repeat_ngram_size": "no n-gram of this many words comes twice; 0: any",
    "allow_unknown": "whether the unknown word may be said",
    "temperature": "sampling divides log-probabilities by it",
    "top_k": "sampling takes this many of the likeliest words; 0: all",
    "top_p": "sampling takes the fewest words with this probability",
    "context_mode": "what a word is said from: the expected annotation, the one at "
    "the attention's peak, or one drawn by it",
    "consensus": "of so many hypotheses take the one that people's captions "
    "of similar photos agree with; 0: the one that scores best",
    "seed": "of the samples",
}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _is(types, field, kind) -> bool:
    hint = types[field.name]
    return hint is kind or kind in typing.get_args(hint)
