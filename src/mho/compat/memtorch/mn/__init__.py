"""Memristive layers."""

from mho.compat._names import lend
from mho.compat.memtorch.bh.crossbar import init_crossbar, simulate_matmul, tiled_inference
from mho.compat.memtorch.map import naive_map, naive_scale, naive_tune
from mho.compat.memtorch.mn import Module
from mho.compat.memtorch.mn.Conv1d import Conv1d
from mho.compat.memtorch.mn.Conv2d import Conv2d
from mho.compat.memtorch.mn.Conv3d import Conv3d
from mho.compat.memtorch.mn.Linear import Linear
from mho.compat.memtorch.mn.Module import patch_model, supported_module_parameters
from mho.compat.memtorch.mn.RNN import RNN

__all__ = [
    "RNN",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Linear",
    "Module",
    "naive_map",
    "naive_scale",
    "patch_model",
    "supported_module_parameters",
]

_layers = (Linear, Conv1d, Conv2d, Conv3d, RNN)
for _layer in _layers:
    lend(
        _layer,
        init_crossbar,
        naive_map,
        naive_scale,
        naive_tune,
        simulate_matmul,
        tiled_inference,
    )
lend(Module, *_layers, naive_map, naive_scale)
del _layer, _layers
