"""Recipes: from YAML and `key=value` overrides to a validated `Recipe`, or to all mistakes."""

from __future__ import annotations

from pcsearch.recipe.load import load_recipe, load_recipes, shipped_recipes
from pcsearch.recipe.problems import RecipeError
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import Space

__all__ = [
    "Recipe",
    "RecipeError",
    "Space",
    "load_recipe",
    "load_recipes",
    "shipped_recipes",
]
