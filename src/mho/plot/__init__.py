"""Pictures. Functions take matplotlib Axes (or make them) and return them.

Needs matplotlib: ``pip install 'mho[viz]'``.
"""

from mho.plot.accuracy import accuracy_against, accuracy_of_chips, time_axis
from mho.plot.chip import fault_tolerance, floor_plan
from mho.plot.cost import cost_breakdown
from mho.plot.crossbar import conductance_map, target_histogram, weight_error
from mho.plot.landscape import landscape_contour, landscape_line, landscape_surface
from mho.plot.loops import loop_fit
from mho.plot.quantiser import transfer_curve
from mho.plot.styles import style
from mho.plot.training import accuracy_curve, rank_accuracy, weight_histogram, writes_map

__all__ = [
    "accuracy_against",
    "accuracy_curve",
    "accuracy_of_chips",
    "conductance_map",
    "cost_breakdown",
    "fault_tolerance",
    "floor_plan",
    "landscape_contour",
    "landscape_line",
    "landscape_surface",
    "loop_fit",
    "rank_accuracy",
    "style",
    "target_histogram",
    "time_axis",
    "transfer_curve",
    "weight_error",
    "weight_histogram",
    "writes_map",
]
