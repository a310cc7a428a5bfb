"""Behaviour: devices, crossbars, converters and non-idealities."""

from mho.compat.memtorch.bh import Quantize, crossbar, memristor, nonideality
from mho.compat.memtorch.bh.crossbar.Crossbar import Crossbar, Scheme, init_crossbar
from mho.compat.memtorch.bh.StochasticParameter import (
    Dict2Obj,
    StochasticParameter,
    unpack_parameters,
)

__all__ = [
    "Crossbar",
    "Dict2Obj",
    "Quantize",
    "Scheme",
    "StochasticParameter",
    "crossbar",
    "init_crossbar",
    "memristor",
    "nonideality",
    "unpack_parameters",
]
