"""Crossbars: arrays of devices, their tiles, programming and passive solutions."""

from mho.compat.memtorch.bh.crossbar import Passive
from mho.compat.memtorch.bh.crossbar.Crossbar import (
    Crossbar,
    Scheme,
    init_crossbar,
    simulate_matmul,
)
from mho.compat.memtorch.bh.crossbar.Program import gen_programming_signal, naive_program
from mho.compat.memtorch.bh.crossbar.Tile import (
    Tile,
    gen_tiles,
    tile_matmul,
    tile_matmul_row,
    tiled_inference,
)

__all__ = [
    "Crossbar",
    "Passive",
    "Scheme",
    "Tile",
    "gen_programming_signal",
    "gen_tiles",
    "init_crossbar",
    "naive_program",
    "simulate_matmul",
    "tile_matmul",
    "tile_matmul_row",
    "tiled_inference",
]
