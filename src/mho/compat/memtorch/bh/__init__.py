"""Behaviour: devices, crossbars, converters and non-idealities."""
# ruff: noqa: F401, F403, F405

from mho.compat import _names
from mho.compat.memtorch.bh import nonideality
from mho.compat.memtorch.bh.crossbar import *
from mho.compat.memtorch.bh.memristor import *
from mho.compat.memtorch.bh.Quantize import *
from mho.compat.memtorch.bh.StochasticParameter import *

_names.lend(StochasticParameter)
