"""In-situ training: any torch optimizer proposes, and the cells answer in pulses."""

from mho.train.in_situ.layouts import CellLayout, DifferentialPair, MultiCell, SingleCell
from mho.train.in_situ.optimizer import InSitu
from mho.train.in_situ.pulses import PulseRule
from mho.train.in_situ.voltage import VoltagePulses
from mho.train.in_situ.weights import CellWeights

__all__ = [
    "CellLayout",
    "CellWeights",
    "DifferentialPair",
    "InSitu",
    "MultiCell",
    "PulseRule",
    "SingleCell",
    "VoltagePulses",
]
