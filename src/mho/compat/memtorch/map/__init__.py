"""Mapping, scaling and tuning."""

from mho.compat.memtorch.map import Input, Module, Parameter
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Module import naive_tune
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.utils import convert_range, pad_tensor

__all__ = [
    "Input",
    "Module",
    "Parameter",
    "convert_range",
    "naive_map",
    "naive_scale",
    "naive_tune",
    "pad_tensor",
]
