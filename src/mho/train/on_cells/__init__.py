"""In-situ training: any torch optimizer proposes, and the cells answer in pulses."""

from mho.train.on_cells.in_situ import InSitu
from mho.train.on_cells.layouts import CellLayout, DifferentialPair, MultiCell, SingleCell
from mho.train.on_cells.pulses import PulseRule
from mho.train.on_cells.voltage import VoltagePulses
from mho.train.on_cells.weights import WeightCells

__all__ = [
    "CellLayout",
    "DifferentialPair",
    "InSitu",
    "MultiCell",
    "PulseRule",
    "SingleCell",
    "VoltagePulses",
    "WeightCells",
]
