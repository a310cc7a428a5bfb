"""Behaviour: devices, crossbars, converters and non-idealities."""
# ruff: noqa: F403

from mho.compat._names import lend
from mho.compat.memtorch.bh import Quantize, crossbar, memristor, nonideality
from mho.compat.memtorch.bh.crossbar import *
from mho.compat.memtorch.bh.memristor import *
from mho.compat.memtorch.bh.Quantize import quant_methods, quantize
from mho.compat.memtorch.bh.StochasticParameter import (
    Dict2Obj,
    StochasticParameter,
    unpack_parameters,
)

__all__ = [
    "Dict2Obj",
    "Quantize",
    "StochasticParameter",
    "crossbar",
    "memristor",
    "nonideality",
    "quant_methods",
    "quantize",
    "unpack_parameters",
]
__all__ += crossbar.__all__
__all__ += memristor.__all__

lend(StochasticParameter)
