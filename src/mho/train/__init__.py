"""Training that knows the device."""

from mho.practice import Practice
from mho.train import wage
from mho.train.fit import History, fit
from mho.train.quantised import Formats, Scheme, quantise
from mho.train.quantised_optimizer import QuantisedOptimizer
from mho.train.recipe import DropConnect, Recipe
from mho.train.wage import SSE, WAGE

__all__ = [
    "SSE",
    "WAGE",
    "DropConnect",
    "Formats",
    "History",
    "Practice",
    "QuantisedOptimizer",
    "Recipe",
    "Scheme",
    "fit",
    "quantise",
    "wage",
]
