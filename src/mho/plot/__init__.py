"""Pictures. Functions take matplotlib Axes (or make them) and return them.

All draw in one style by themselves: Axes given are put into it if nothing is drawn there yet, and
matplotlib's own settings stay as they are. Functions of one picture take ``ax``, those of several
``axes``. `style` is for pictures of one's own. Charts for pages are in `mho.plot.interactive`, the
pages in `mho.plot.page`.

Needs matplotlib: ``pip install "mho[viz]"``.
"""

from typing import Any

from mho.core import renamed
from mho.plot.accuracy import accuracy_against, accuracy_of_chips, time_axis
from mho.plot.chip import fault_tolerance, floor_plan
from mho.plot.circuit import current_error, ir_drop, node_voltages
from mho.plot.cores import core_plan, core_timeline
from mho.plot.cost import cost_breakdown
from mho.plot.crossbar import conductance_map, target_histogram, weight_error
from mho.plot.device import device_card
from mho.plot.landscape import landscape_contour, landscape_line, landscape_surface
from mho.plot.layers import layer_errors
from mho.plot.loops import loop_fit
from mho.plot.passive import disturb_map, sneak_map
from mho.plot.programming import convergence, pulses_map
from mho.plot.pulsed import delta_g, fit_report, jump_table, pulse_response
from mho.plot.quantiser import converter_curve, converter_nonlinearity, transfer_curve
from mho.plot.statistical import (
    drift_over_time,
    programming_error,
    programming_fit,
    retention_fit,
    retention_records,
)
from mho.plot.study import (
    parallel_coordinates,
    pareto_front,
    result_against,
    sensitivity_bars,
    study_sheet,
)
from mho.plot.styles import style
from mho.plot.switching import bipolar_switching, hysteresis_loop, window_functions
from mho.plot.training import accuracy_curve, rank_accuracy, weight_histogram, writes_map
from mho.plot.twin import (
    gains_and_offsets,
    measured_against_predicted,
    probability_transforms,
    residuals_by_current,
    residuals_by_line,
    residuals_in_order,
    suspicious_map,
    twin_sheet,
)
from mho.plot.wafer import spread_report

__all__ = [
    "accuracy_against",
    "accuracy_curve",
    "accuracy_of_chips",
    "bipolar_switching",
    "conductance_map",
    "convergence",
    "converter_curve",
    "converter_nonlinearity",
    "core_plan",
    "core_timeline",
    "cost_breakdown",
    "current_error",
    "delta_g",
    "device_card",
    "disturb_map",
    "drift_over_time",
    "fault_tolerance",
    "fit_report",
    "floor_plan",
    "gains_and_offsets",
    "hysteresis_loop",
    "ir_drop",
    "jump_table",
    "landscape_contour",
    "landscape_line",
    "landscape_surface",
    "layer_errors",
    "loop_fit",
    "measured_against_predicted",
    "node_voltages",
    "parallel_coordinates",
    "pareto_front",
    "probability_transforms",
    "programming_error",
    "programming_fit",
    "pulse_response",
    "pulses_map",
    "rank_accuracy",
    "residuals_by_current",
    "residuals_by_line",
    "residuals_in_order",
    "result_against",
    "retention_fit",
    "retention_records",
    "sensitivity_bars",
    "sneak_map",
    "spread_report",
    "study_sheet",
    "style",
    "suspicious_map",
    "target_histogram",
    "time_axis",
    "transfer_curve",
    "twin_sheet",
    "weight_error",
    "weight_histogram",
    "window_functions",
    "writes_map",
]


def __getattr__(name: str) -> Any:
    return renamed.of_module(__name__, name, {"transforms": probability_transforms})
