"""Memristive layers."""
# ruff: noqa: F401

from mho.compat import _names
from mho.compat.memtorch.bh.crossbar.Crossbar import init_crossbar, simulate_matmul
from mho.compat.memtorch.bh.crossbar.Tile import tiled_inference
from mho.compat.memtorch.map.Input import naive_scale
from mho.compat.memtorch.map.Module import naive_tune
from mho.compat.memtorch.map.Parameter import naive_map
from mho.compat.memtorch.mn import Module
from mho.compat.memtorch.mn.Conv1d import Conv1d
from mho.compat.memtorch.mn.Conv2d import Conv2d
from mho.compat.memtorch.mn.Conv3d import Conv3d
from mho.compat.memtorch.mn.Linear import Linear
from mho.compat.memtorch.mn.Module import patch_model, supported_module_parameters
from mho.compat.memtorch.mn.RNN import RNN

_crossbars = (init_crossbar, simulate_matmul, tiled_inference)
_layers = (Linear, Conv1d, Conv2d, Conv3d, RNN)
for _layer in _layers:
    _names.lend(_layer, *_crossbars, naive_map, naive_scale, naive_tune)
_names.lend(Module, *_layers, naive_map, naive_scale)
