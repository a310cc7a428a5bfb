"""Training that knows the device."""

from typing import Any

from mho.core import renamed
from mho.crossbar.input_range import InputRangeRule
from mho.crossbar.training import NoiseInjection
from mho.train import recipes
from mho.train.distributed import LowRankState, SharedSamples, average_models, low_rank_hook
from mho.train.loop import History, fit
from mho.train.on_cells import (
    CellLayout,
    DifferentialPair,
    InSitu,
    MultiCell,
    PulseRule,
    SingleCell,
    VoltagePulses,
    WeightCells,
)
from mho.train.on_cells.coincidence import ExpectedPulses, PulsedUpdate, StochasticPulses
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.tiki_taka import TikiTaka
from mho.train.on_cells.transfer_rules import AGAD, Chopped, TikiTakaV1, TikiTakaV2, TransferRule
from mho.train.quantised import wage
from mho.train.quantised.optimizer import QuantisedOptimizer
from mho.train.quantised.scheme import Formats, Scheme, quantise
from mho.train.quantised.wage import SSE, WAGE
from mho.train.recipes.recipe import DropConnect, Recipe
from mho.train.recipes.settings import Distillation, Optimisation, Periphery, distillation_loss

__all__ = [
    "AGAD",
    "SSE",
    "WAGE",
    "CellLayout",
    "Chopped",
    "DifferentialPair",
    "Distillation",
    "DropConnect",
    "ExpectedPulses",
    "Formats",
    "History",
    "InSitu",
    "InputRangeRule",
    "LowRankState",
    "MultiCell",
    "NoiseInjection",
    "Optimisation",
    "Periphery",
    "PulseRule",
    "PulsedSGD",
    "PulsedUpdate",
    "QuantisedOptimizer",
    "Recipe",
    "Scheme",
    "SharedSamples",
    "SingleCell",
    "StochasticPulses",
    "TikiTaka",
    "TikiTakaV1",
    "TikiTakaV2",
    "TransferRule",
    "VoltagePulses",
    "WeightCells",
    "average_models",
    "distillation_loss",
    "fit",
    "low_rank_hook",
    "quantise",
    "recipes",
    "wage",
]


def __getattr__(name: str) -> Any:
    return renamed.of_module(__name__, name, {"Practice": NoiseInjection})
