"""Fixed-point numbers and WAGE quantisation."""

from mho.compat.xbtorch.quant import quantizers
from mho.compat.xbtorch.quant.quantizers import *  # noqa: F403
from mho.compat.xbtorch.quant.quantizers import fixed_point_quantize as fixed_point_quantize

__all__ = quantizers.__all__
