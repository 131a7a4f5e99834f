"""Writes `reference/recipes.md` from the docstrings of the recipes.

python docs/recipes.py
"""

import importlib
import inspect
import pathlib
import re
import textwrap

from show_attend_tell.configs import recipes

_COLUMNS = ("Data", "Expected", "Reproduced", "Time")
_ORDER = ("scenes", "flickr8k", "flickr30k", "coco")
_INTRODUCTION = """# Recipes

A recipe is a configuration that `train` starts from; every option is a flag
that replaces its value. Each is a file in `show_attend_tell/configs/recipes`,
from which this page is generated: `python docs/recipes.py`.

"""
_NOTES = """
Recipes for Flickr8k and Flickr30k choose among twenty hypotheses of a beam by
[consensus](../explanation/consensus.md) with people's captions of similar
photos of training. `--consensus=0` takes the beam's best, as the paper does; so
does every export. Costs and figures with intervals: [Results on
Flickr8k](../results/flickr8k.md).
"""


def document() -> str:
    """Returns the page."""
    names = sorted(recipes.RECIPES, key=_rank)
    lines = ["| `--recipe` | " + " | ".join(map(str.lower, _COLUMNS)) + " |"]
    lines.append("|---" * (1 + len(_COLUMNS)) + "|")
    lines += [_row(name) for name in names]
    commands = "\n".join(_command(name) for name in names)
    return (
        f"{_INTRODUCTION}" + "\n".join(lines) + f"\n{_NOTES}\n"
        f"The commands:\n\n```sh\n{commands}\n```\n"
    )


def _rank(name: str):
    data, _, kind = name.partition("_")
    return _ORDER.index(data), "best" in kind, "hard" in kind


def _docstring(name: str) -> str:
    return inspect.getdoc(importlib.import_module(f"{recipes.__name__}.{name}"))


def _row(name: str) -> str:
    text = _docstring(name) + "\n"
    cells = [
        re.search(rf"^{column}: (.*?)\.\n(?=\S|$|\Z)", text, re.M | re.S)[1]
        for column in _COLUMNS
    ]
    cells = [re.sub(r"\s+", " ", cell) for cell in cells]
    return f"| `{name}` | " + " | ".join(cells) + " |"


def _command(name: str) -> str:
    return textwrap.dedent(
        re.search(r"\n\n(    .*?)\n\n", _docstring(name), re.S)[1]
    )


if __name__ == "__main__":
    path = pathlib.Path(__file__).parent / "reference" / "recipes.md"
    path.write_text(document())
