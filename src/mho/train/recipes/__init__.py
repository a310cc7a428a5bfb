"""Recipes of noise-aware training: your own, and published ones by name."""

from mho.crossbar.input_range import InputRangeRule
from mho.train.recipes.published import (
    ANALOG_FOUNDATION_MODEL,
    ANALOGNETS,
    ANALOGNETS_CLIPPING,
    RASCH_2023,
    RECIPES,
    named,
)
from mho.train.recipes.recipe import DropConnect, Recipe
from mho.train.recipes.settings import Distillation, Optimisation, Periphery, distillation_loss

__all__ = [
    "ANALOGNETS",
    "ANALOGNETS_CLIPPING",
    "ANALOG_FOUNDATION_MODEL",
    "RASCH_2023",
    "RECIPES",
    "Distillation",
    "DropConnect",
    "InputRangeRule",
    "Optimisation",
    "Periphery",
    "Recipe",
    "distillation_loss",
    "named",
]
