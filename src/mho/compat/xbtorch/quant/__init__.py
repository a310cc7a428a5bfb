"""Fixed-point numbers and WAGE quantisation."""
# ruff: noqa: F401

from mho.compat.xbtorch.quant.quantizers import (
    FixedPointQuantF,
    fixed_point_quantize,
    fixed_point_quantize_wrapper,
    get_range_fixed_point,
)
