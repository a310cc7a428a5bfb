"""Crossbars: arrays of devices, their tiles, programming and passive solutions."""

from mho.compat._names import lend
from mho.compat.memtorch.bh.crossbar import Passive, Program
from mho.compat.memtorch.bh.crossbar.Crossbar import (
    Crossbar,
    Scheme,
    init_crossbar,
    simulate_matmul,
)
from mho.compat.memtorch.bh.crossbar.Passive import solve_passive
from mho.compat.memtorch.bh.crossbar.Program import gen_programming_signal, naive_program
from mho.compat.memtorch.bh.crossbar.Tile import (
    Tile,
    gen_tiles,
    tile_matmul,
    tile_matmul_row,
    tiled_inference,
)
from mho.compat.memtorch.bh.memristor.Data_Driven2021 import Data_Driven2021

CUDA_supported_memristor_models = [Data_Driven2021]
"""Models that MemTorch programmed on a GPU; here all of them are tensors, on any device."""

__all__ = [
    "CUDA_supported_memristor_models",
    "Crossbar",
    "Data_Driven2021",
    "Passive",
    "Program",
    "Scheme",
    "Tile",
    "gen_programming_signal",
    "gen_tiles",
    "init_crossbar",
    "naive_program",
    "simulate_matmul",
    "solve_passive",
    "tile_matmul",
    "tile_matmul_row",
    "tiled_inference",
]

lend(
    Crossbar,
    Data_Driven2021,
    gen_tiles,
    CUDA_supported_memristor_models=CUDA_supported_memristor_models,
)
lend(Tile)
