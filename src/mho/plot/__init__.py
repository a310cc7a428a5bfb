"""Pictures. Functions take matplotlib Axes (or make them) and return them.

Needs matplotlib: ``pip install "mho[viz]"``.
"""

from mho.plot.accuracy import accuracy_against, accuracy_of_chips, time_axis
from mho.plot.chip import fault_tolerance, floor_plan
from mho.plot.cores import core_plan, core_timeline
from mho.plot.cost import cost_breakdown
from mho.plot.crossbar import conductance_map, target_histogram, weight_error
from mho.plot.landscape import landscape_contour, landscape_line, landscape_surface
from mho.plot.loops import loop_fit
from mho.plot.quantiser import converter_curve, converter_nonlinearity, transfer_curve
from mho.plot.styles import style
from mho.plot.training import accuracy_curve, rank_accuracy, weight_histogram, writes_map
from mho.plot.twin import (
    gains_and_offsets,
    measured_against_predicted,
    residuals_by_current,
    residuals_by_line,
    residuals_in_order,
    suspicious_map,
    transforms,
    twin_sheet,
)

__all__ = [
    "accuracy_against",
    "accuracy_curve",
    "accuracy_of_chips",
    "conductance_map",
    "converter_curve",
    "converter_nonlinearity",
    "core_plan",
    "core_timeline",
    "cost_breakdown",
    "fault_tolerance",
    "floor_plan",
    "gains_and_offsets",
    "landscape_contour",
    "landscape_line",
    "landscape_surface",
    "loop_fit",
    "measured_against_predicted",
    "rank_accuracy",
    "residuals_by_current",
    "residuals_by_line",
    "residuals_in_order",
    "style",
    "suspicious_map",
    "target_histogram",
    "time_axis",
    "transfer_curve",
    "transforms",
    "twin_sheet",
    "weight_error",
    "weight_histogram",
    "writes_map",
]
