"""Recipes are valid, and the documents state what their docstrings do."""

import importlib
import pathlib
import runpy

import pytest

from show_attend_tell.configs.recipes import RECIPES, load_recipe

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name):
    options = {}
    if load_recipe(name).objective.name == "self_critical":
        options = {"warm_start": "RUN"}
    if load_recipe(name).objective.attention_supervision:
        options["boxes"] = "ENTITIES"
    load_recipe(name).replace(**options).check()
    module = importlib.import_module(f"show_attend_tell.configs.recipes.{name}")
    assert f"--recipe={name} " in module.__doc__.replace("\n", " ")


def test_the_document_of_recipes_is_generated():
    table = runpy.run_path(str(ROOT / "docs" / "recipes.py"))["document"]()
    path = ROOT / "docs" / "reference" / "recipes.md"
    assert path.read_text() == table, "run: python docs/recipes.py"
