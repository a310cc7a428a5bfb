"""Crossbars: arrays of devices, their tiles, programming and passive solutions."""
# ruff: noqa: F403, F405

from mho.compat import _names
from mho.compat.memtorch.bh.crossbar.Crossbar import *
from mho.compat.memtorch.bh.crossbar.Passive import *
from mho.compat.memtorch.bh.crossbar.Program import *
from mho.compat.memtorch.bh.crossbar.Tile import *
from mho.compat.memtorch.bh.memristor.Data_Driven2021 import Data_Driven2021

CUDA_supported_memristor_models = [Data_Driven2021]
"""Models that MemTorch programmed on a GPU; here all of them are tensors, on any device."""

_names.lend(
    Crossbar,
    Data_Driven2021,
    gen_tiles,
    CUDA_supported_memristor_models=CUDA_supported_memristor_models,
)
_names.lend(Tile)
