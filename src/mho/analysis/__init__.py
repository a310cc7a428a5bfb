"""Looking at a model from outside: what it costs, how its loss lies."""

from mho.analysis import components
from mho.analysis.components import adc_energy
from mho.analysis.directions import (
    hessian_directions,
    random_direction,
    snapshot,
    trajectory_directions,
)
from mho.analysis.landscapes import Landscape, landscape
from mho.analysis.layer_cost import Cost, LayerCost, cost
from mho.analysis.technology import Technology

__all__ = [
    "Cost",
    "Landscape",
    "LayerCost",
    "Technology",
    "adc_energy",
    "components",
    "cost",
    "hessian_directions",
    "landscape",
    "random_direction",
    "snapshot",
    "trajectory_directions",
]
