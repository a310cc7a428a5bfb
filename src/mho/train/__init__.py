"""Training that knows the device."""

from mho.practice import Practice
from mho.train import wage
from mho.train.coincidence import ExpectedPulses, PulsedUpdate, StochasticPulses
from mho.train.distributed import LowRankState, low_rank_hook
from mho.train.fit import History, fit
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
    "Chopped",
    "DropConnect",
    "ExpectedPulses",
    "Formats",
    "History",
    "LowRankState",
    "Practice",
    "PulsedSGD",
    "PulsedUpdate",
    "QuantisedOptimizer",
    "Recipe",
    "Scheme",
    "StochasticPulses",
    "TikiTaka",
    "TikiTakaV1",
    "TikiTakaV2",
    "TransferRule",
    "fit",
    "low_rank_hook",
    "quantise",
    "wage",
]
