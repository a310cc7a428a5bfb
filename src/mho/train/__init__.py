"""Training that knows the device."""

from typing import Any

from mho.core import renamed
from mho.crossbar.input_range import InputRangeRule
from mho.crossbar.training import NoiseInjection
from mho.train import recipes
from mho.train.advice import Advice, check_device, sgd_floor
from mho.train.distributed import LowRankState, SharedSamples, average_models, low_rank_hook
from mho.train.divergence import LossWatch
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
from mho.train.on_cells.learning_rule import LearningRule, RuleArrays, TileSGD
from mho.train.on_cells.low_rank import LowRankTikiTaka
from mho.train.on_cells.mixed_precision import MixedPrecision
from mho.train.on_cells.multi_tile import MultiTileResidual
from mho.train.on_cells.pulsed_sgd import PulsedSGD
from mho.train.on_cells.residual import ResidualLearning
from mho.train.on_cells.symmetry_tracking import SymmetryTracking
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
    "Advice",
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
    "LearningRule",
    "LossWatch",
    "LowRankState",
    "LowRankTikiTaka",
    "MixedPrecision",
    "MultiCell",
    "MultiTileResidual",
    "NoiseInjection",
    "Optimisation",
    "Periphery",
    "PulseRule",
    "PulsedSGD",
    "PulsedUpdate",
    "QuantisedOptimizer",
    "Recipe",
    "ResidualLearning",
    "RuleArrays",
    "Scheme",
    "SharedSamples",
    "SingleCell",
    "StochasticPulses",
    "SymmetryTracking",
    "TikiTaka",
    "TikiTakaV1",
    "TikiTakaV2",
    "TileSGD",
    "TransferRule",
    "VoltagePulses",
    "WeightCells",
    "average_models",
    "check_device",
    "distillation_loss",
    "fit",
    "low_rank_hook",
    "quantise",
    "recipes",
    "sgd_floor",
    "wage",
]


def __getattr__(name: str) -> Any:
    return renamed.of_module(__name__, name, {"Practice": NoiseInjection})
