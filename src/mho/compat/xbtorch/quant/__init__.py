"""Fixed-point numbers and WAGE quantisation."""

from mho.compat.xbtorch.quant.quantizers import (
    FixedPointQuantF,
    fixed_point_quantize_wrapper,
    get_range_fixed_point,
)
from mho.compat.xbtorch.quant.quantizers import fixed_point_quantize as fixed_point_quantize

__all__ = [
    "FixedPointQuantF",
    "fixed_point_quantize_wrapper",
    "get_range_fixed_point",
]
