"""Looking at a model from outside: what it costs, how its loss lies."""

from mho.analysis import chips, components
from mho.analysis.architecture import ChipArchitecture, Part
from mho.analysis.components.base import Component, Estimate
from mho.analysis.components.survey import adc_energy
from mho.analysis.directions import (
    hessian_directions,
    random_direction,
    snapshot,
    trajectory_directions,
)
from mho.analysis.landscapes import Landscape, landscape
from mho.analysis.layer_cost import cost
from mho.analysis.layer_errors import LayerError, LayerErrors, layers
from mho.analysis.peaks import Peak, peak
from mho.analysis.records import Cost, LayerCost, PartCost, Programming
from mho.analysis.technology import Technology
from mho.analysis.timing import ChargeSteps, Levels, PulseWidths, Timing
from mho.analysis.tuning import Tuned, tune

__all__ = [
    "ChargeSteps",
    "ChipArchitecture",
    "Component",
    "Cost",
    "Estimate",
    "Landscape",
    "LayerCost",
    "LayerError",
    "LayerErrors",
    "Levels",
    "Part",
    "PartCost",
    "Peak",
    "Programming",
    "PulseWidths",
    "Technology",
    "Timing",
    "Tuned",
    "adc_energy",
    "chips",
    "components",
    "cost",
    "hessian_directions",
    "landscape",
    "layers",
    "peak",
    "random_direction",
    "snapshot",
    "trajectory_directions",
    "tune",
]
