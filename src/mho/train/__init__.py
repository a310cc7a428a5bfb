"""Training that knows the device."""

from mho.practice import Practice
from mho.train import wage
from mho.train.coincidence import ExpectedPulses, PulsedUpdate, StochasticPulses
from mho.train.distributed import LowRankState, low_rank_hook
from mho.train.fit import History, fit
from mho.train.in_situ import (
    CellLayout,
    CellWeights,
    DifferentialPair,
    InSitu,
    MultiCell,
    PulseRule,
    SingleCell,
    VoltagePulses,
)
from mho.train.pulsed_sgd import PulsedSGD
from mho.train.quantised import Formats, Scheme, quantise
from mho.train.quantised_optimizer import QuantisedOptimizer
from mho.train.recipe import DropConnect, Recipe
from mho.train.transfer import TikiTaka
from mho.train.transfer_rules import AGAD, Chopped, TikiTakaV1, TikiTakaV2, TransferRule
from mho.train.wage import SSE, WAGE

__all__ = [
    "AGAD",
    "SSE",
    "WAGE",
    "CellLayout",
    "CellWeights",
    "Chopped",
    "DifferentialPair",
    "DropConnect",
    "ExpectedPulses",
    "Formats",
    "History",
    "InSitu",
    "LowRankState",
    "MultiCell",
    "Practice",
    "PulseRule",
    "PulsedSGD",
    "PulsedUpdate",
    "QuantisedOptimizer",
    "Recipe",
    "Scheme",
    "SingleCell",
    "StochasticPulses",
    "TikiTaka",
    "TikiTakaV1",
    "TikiTakaV2",
    "TransferRule",
    "VoltagePulses",
    "fit",
    "low_rank_hook",
    "quantise",
    "wage",
]
