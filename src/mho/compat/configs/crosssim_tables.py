"""CrossSim's parameters: their defaults, and those that have no counterpart."""

from __future__ import annotations

from typing import Any

_CONVERTER = {
    "model": "IdealADC",
    "bits": 0,
    "signed": True,
    "stochastic_rounding": False,
    "adc_per_ibit": False,
    "calibrated_range": None,
    "adc_range_option": 1,
}
_DRIVER = {
    "model": "IdealDAC",
    "bits": 0,
    "input_bitslicing": False,
    "signed": True,
    "slice_size": 1,
}
_ERROR = {"enable": False, "model": "IdealDevice", "magnitude": 0}
_INPUTS = {"clipping": False, "min": -1.0, "max": 1.0, "percentile": None}

DEFAULTS: dict[str, Any] = {
    "core.style": 1,
    "core.rows_max": 1024,
    "core.cols_max": 1024,
    "core.weight_bits": 0,
    "core.balanced.style": 1,
    "core.balanced.interleaved_posneg": False,
    "core.balanced.subtract_current_in_xbar": True,
    "core.bit_sliced.style": 1,
    "core.bit_sliced.num_slices": 2,
    "core.offset.style": 1,
    "core.mapping.weights.min": None,
    "core.mapping.weights.max": None,
    "core.mapping.weights.percentile": 1.0,
    "xbar.device.cell_bits": 0,
    "xbar.device.Rmin": 1000,
    "xbar.device.Rmax": 10000,
    "xbar.device.time": 0,
    "xbar.device.infinite_on_off_ratio": False,
    "xbar.device.clip_conductance": False,
    "xbar.array.Icol_max": 0,
    "xbar.array.parasitics.enable": False,
    "xbar.array.parasitics.Rp_row": 0,
    "xbar.array.parasitics.Rp_col": 0,
    **{f"core.mapping.inputs.mvm.{k}": v for k, v in _INPUTS.items()},
    **{f"xbar.adc.mvm.{k}": v for k, v in _CONVERTER.items()},
    **{f"xbar.dac.mvm.{k}": v for k, v in _DRIVER.items()},
    **{
        f"xbar.device.{kind}.{k}": v
        for kind in ("programming_error", "read_noise", "drift_error")
        for k, v in _ERROR.items()
    },
}
"""Where a file says nothing of a setting that acts."""

CODES: dict[str, dict[str, int]] = {
    "core.style": {"BALANCED": 1, "BITSLICED": 2, "OFFSET": 3},
    "core.balanced.style": {"ONE_SIDED": 1, "TWO_SIDED": 2},
    "core.bit_sliced.style": {"BALANCED": 1, "OFFSET": 3},
    "core.offset.style": {"DIGITAL_OFFSET": 1, "UNIT_COLUMN_SUBTRACTION": 2},
    "xbar.adc.mvm.adc_range_option": {"CALIBRATED": 1, "MAX": 2, "GRANULAR": 3},
}
"""Names that may be written for numbers."""

NEVER: dict[str, tuple[Any, str]] = {
    "core.complex_matrix": (False, "weights are real: write a complex matrix as a real one"),
    "core.complex_input": (False, "inputs are real: write complex ones as two real ones"),
    "core.mapping.weights.min": (None, "the largest weights fill the window: percentile alone"),
    "core.mapping.weights.max": (None, "the largest weights fill the window: percentile alone"),
    "core.mapping.weights.row_partition_priority": ([], "tiles are filled from the first on"),
    "core.mapping.weights.col_partition_priority": ([], "tiles are filled from the first on"),
    "xbar.adc.mvm.stochastic_rounding": (False, "converters round to the nearest code"),
    "xbar.array.parasitics.selected_rows": ("top", "cells lie at the first word lines"),
    "xbar.array.parasitics.disable_slices": (None, "all slices have the array's wires"),
    "xbar.device.nonlinear_IV.enable": (False, "give the hardware a device with its own I–V curve"),
}
"""Parameters without a counterpart: the value of no effect, and why there is none."""

IDLE = {
    "simulation.": "says how the simulation runs",
    "xbar.device.nonlinear_IV.": "of nonlinear_IV.enable alone",
    "core.output_dtype": "outputs have the model's dtype",
    "core.mapping.weights.clipping": "weights beyond the percentile clip, here too",
}
"""Beginnings of names that need no counterpart, and why."""
