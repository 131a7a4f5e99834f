"""Recipes: configurations that are known to work, and how well.

A recipe is a module with a `CONFIG`, whose docstring states its command, the
time it takes, the scores to expect, and whether they were reproduced.
"""

import importlib
import pkgutil

RECIPES = tuple(
    sorted(module.name for module in pkgutil.iter_modules(__path__))
)


def load_recipe(name: str):
    """Returns the `RunConfig` of a recipe."""
    return importlib.import_module(f"{__name__}.{name}").CONFIG
