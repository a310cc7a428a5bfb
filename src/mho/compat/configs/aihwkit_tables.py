"""AIHWKit's settings: values where nothing is printed, and those that have no counterpart.

Printed configurations leave out what stands at its default; the defaults are those of AIHWKit 1.1.
Source: M. J. Rasch et al., "A flexible and fast PyTorch toolkit for simulating training and
inference on analog crossbar arrays", AICAS 2021, doi 10.1109/AICAS51828.2021.9458494.
"""

from __future__ import annotations

from typing import Any

_IO: dict[str, Any] = {
    "is_perfect": False,
    "mv_type": "ONE_PASS",
    "inp_bound": 1.0,
    "inp_noise": 0.0,
    "inp_res": 1 / (2**7 - 2),
    "inp_sto_round": False,
    "inp_asymmetry": 0.0,
    "out_bound": 12.0,
    "out_noise": 0.06,
    "out_noise_std": 0.0,
    "out_res": 1 / (2**9 - 2),
    "out_sto_round": False,
    "out_scale": 1.0,
    "out_asymmetry": 0.0,
    "bound_management": "ITERATIVE",
    "noise_management": "ABS_MAX",
    "w_noise": 0.0,
    "w_noise_type": "NONE",
    "ir_drop": 0.0,
    "ir_drop_g_ratio": 1.0 / 0.35 / 5e-6,
    "out_nonlinearity": 0.0,
    "out_nonlinearity_std": 0.0,
    "slope_calibration": 0.0,
    "v_offset_std": 0.0,
    "v_offset_w_min": -1.0,
    "r_series": 0.0,
    "w_read_asymmetry_dtod": 0.0,
    "max_bm_factor": 1000,
    "max_bm_res": 0.25,
    "bm_test_negative_bound": True,
    "nm_thres": 0.0,
}
_TIMED = {
    "ir_drop": 1.0,
    "ir_drop_rs": 0.15,
    "ir_drop_segments": 8,
    "ir_drop_time_step_resolution_scale": 1.0,
    "ir_drop_v_read": 0.4005,
    "apply_xdep_pcm_read_noise": False,
    "xdep_pcm_read_noise_scale": 1.0,
    "adc_quantization": True,
    "adc_frequency": 6.24,
    "ir_drop_integration_sum": False,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "IOParameters": _IO,
    "PresetIOParameters": _IO | {"out_bound": 20.0, "out_noise": 0.1},
    "IOParametersIRDropT": _IO | _TIMED,
    "InputRangeParameter": {
        "enable": False,
        "learn_input_range": True,
        "init_value": 3.0,
        "init_from_data": 100,
        "init_std_alpha": 3.0,
        "decay": 0.001,
        "input_min_percentage": 0.95,
        "manage_output_clipping": False,
        "output_min_percentage": 0.95,
        "gradient_scale": 1.0,
        "gradient_relative": True,
        "calibration_info": None,
    },
    "MappingParameter": {
        "digital_bias": True,
        "weight_scaling_omega": 0.0,
        "weight_scaling_columnwise": False,
        "weight_scaling_lr_compensation": False,
        "learn_out_scaling": False,
        "out_scaling_columnwise": False,
        "max_input_size": 512,
        "max_output_size": 512,
    },
    "WeightClipParameter": {"fixed_value": -1.0, "sigma": 2.5, "type": "NONE"},
    "WeightRemapParameter": {
        "remapped_wmax": 1.0,
        "max_scale_range": 0.0,
        "max_scale_ref": 0.0,
        "type": "NONE",
    },
    "WeightModifierParameter": {
        "std_dev": 0.0,
        "per_batch_sample": False,
        "res": 0.0,
        "sto_round": False,
        "dorefa_clip": 0.6,
        "pdrop": 0.0,
        "enable_during_test": False,
        "rel_to_actual_wmax": True,
        "assumed_wmax": 1.0,
        "copy_last_column": False,
        "coeffs": [0.0105392, 0.0768, -0.046925],
        "type": "NONE",
        "g_max": 25.0,
        "pcm_zero_thres": 0.0,
        "pcm_t_inference": 0.0,
        "pcm_prob_at_reset": 0.0,
        "pcm_prob_at_gmax": 0.0,
        "pcm_prob_at_random": 0.0,
        "pcm_t0": 20.0,
    },
    "PeripheryQuantizationParameter": {
        "n_bits": 0,
        "symmetric": True,
        "learn_quant_params": False,
        "init_learning_after": 100,
    },
}
"""Defaults by class and field."""

NEVER: dict[str, tuple[Any, str]] = {
    "act_quant_config": (None, "outputs are not rounded once more, after the array"),
    "pre_post.periph_quant.n_bits": (0, "scales and biases have the model's precision"),
    "forward.inp_noise": (
        0.0,
        "drivers here have no noise of each read; DAC(errors=…) is mismatch",
    ),
    "forward.inp_sto_round": (False, "drivers round to the nearest level"),
    "forward.inp_asymmetry": (0.0, "both signs are driven alike; see DriverErrors(inl=…)"),
    "forward.out_sto_round": (False, "converters round to the nearest code"),
    "forward.out_asymmetry": (0.0, "both signs are converted alike; see Architecture(inl=…)"),
    "forward.out_scale": (1.0, "a factor on the outputs belongs into the network"),
    "forward.slope_calibration": (0.0, "mho.calibrate fits a gain of each output to data instead"),
    "forward.v_offset_std": (0.0, "see Amplifier(gain=Spread(…)), which acts on pairs as one"),
    "forward.r_series": (0.0, "see Array(wires=Wires(sense=…)), in ohms and solved"),
    "forward.w_read_asymmetry_dtod": (0.0, "cells conduct alike for both signs of the input"),
    "forward.apply_xdep_pcm_read_noise": (False, "read noise here goes by the voltage squared"),
}
"""Settings without a counterpart: the value of no effect, and why there is none."""

BESIDE = {
    "pre_post.periph_quant.symmetric": "of n_bits alone",
    "pre_post.periph_quant.learn_quant_params": "of n_bits alone",
    "pre_post.periph_quant.init_learning_after": "of n_bits alone",
    "forward.v_offset_w_min": "of v_offset_std alone",
    "forward.max_bm_factor": "of bound management alone",
    "forward.max_bm_res": "of bound management alone",
    "forward.bm_test_negative_bound": "of bound management alone",
    "forward.xdep_pcm_read_noise_scale": "of apply_xdep_pcm_read_noise alone",
}
"""Settings that act only with another one, which is reported."""

SIMULATION = (
    "runtime", "backward", "update", "device", "tile_class", "tile_array_class",
    "simulator_tile_class", "noise_model_class",
)  # fmt: skip
"""Groups of settings that say how the simulation runs, or how a digital update is done."""


def defaults_of(kind: str) -> dict[str, Any]:
    """Return the defaults of a class; of an unknown one that is named like it, those it goes by."""
    if kind in DEFAULTS:
        return DEFAULTS[kind]
    return _IO if "IOParameters" in kind else {}
