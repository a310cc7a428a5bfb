# ruff: noqa: N999
"""Modular crossbar tiles: a view of a matrix as a batch of equal pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import require, sides, truth
from mho.compat.memtorch.bh.crossbar._currents import added
from mho.compat.memtorch.bh.crossbar.Passive import effective
from mho.compat.memtorch.bh.Quantize import converter
from mho.compat.memtorch.utils import pad_tensor

__all__ = ["Tile", "gen_tiles", "tile_matmul", "tile_matmul_row", "tiled_inference"]


class Tile:
    """One modular crossbar tile.

    Args:
        tile_shape: rows and columns of the tile.
        patch_num: number of input patches; the array is then ``[patch_num, tile_shape[0]]``.
    """

    def __init__(self, tile_shape: tuple[int, int], patch_num: int | None = None) -> None:
        self.tile_shape = sides(tile_shape)
        self.patch_num = patch_num
        shape = self.tile_shape if patch_num is None else (patch_num, self.tile_shape[0])
        self.array = torch.zeros(shape)

    def update_array(self, new_array: Any) -> None:
        """Put new values into the tile: all, or fewer in its upper left corner.

        Raises:
            Refused: if they do not fit.
        """
        new = torch.from_numpy(new_array) if isinstance(new_array, np.ndarray) else new_array
        rows, columns = self.array.shape
        require(
            new.ndim == 2 and new.shape[0] <= rows and new.shape[1] <= columns,
            f"new_array must fit into {[rows, columns]}, got {list(new.shape)}",
        )
        if new.shape == self.array.shape:
            self.array = new
        else:
            self.array[: new.shape[0], : new.shape[1]] = new.detach().to(self.array)


def gen_tiles(
    tensor: Tensor, tile_shape: tuple[int, int], input: bool = False, use_bindings: bool = True
) -> tuple[Tensor, Tensor]:
    """Cut a matrix into tiles, padded with zeros.

    The matrix is ``[rows, columns]``; for an ``input`` ``[patches, features]``, whose features run
    along the tiles' rows. ``use_bindings`` has no effect.

    Returns:
        The tiles, ``[tiles, rows, columns]`` (of an input ``[tiles, patches, rows]``), and the map
        of their numbers, ``[tile rows, tile columns]`` (of an input ``[tile rows]``).

    Raises:
        Refused: if the tensor is no matrix or the tile shape is refused.
    """
    input = truth("input", input)
    rows, columns = sides(tile_shape)
    require(
        isinstance(tensor, Tensor) and tensor.ndim == 2 and tensor.numel() > 0,
        f"tensor must be a matrix that is not empty, got {list(np.shape(tensor))}",
    )
    padded = pad_tensor(tensor, (1, rows) if input else (rows, columns))
    if input:
        tiles = padded.unflatten(1, (-1, rows)).transpose(0, 1).contiguous()
        return tiles, torch.arange(len(tiles), dtype=torch.get_default_dtype())
    placed = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).transpose(1, 2)
    tiles = placed.reshape(-1, rows, columns)
    numbers = torch.arange(len(tiles), dtype=torch.get_default_dtype())
    return tiles, numbers.view(placed.shape[:2])


def tile_matmul(
    mat_a_tiles: Tensor,
    mat_a_tiles_map: Tensor,
    mat_a_shape: tuple[int, int],
    mat_b_tiles: Tensor,
    mat_b_tiles_map: Tensor,
    mat_b_shape: tuple[int, int],
    source_resistance: float | None = None,
    line_resistance: float | None = None,
    ADC_resolution: int | None = None,
    ADC_overflow_rate: float = 0.0,
    quant_method: str | None = None,
    transistor: bool = True,
    use_bindings: bool = True,
    cuda_malloc_heap_size: int = 50,
) -> Tensor:
    """Multiply two matrices given as tiles, the second one being crossbars.

    Each tile's currents are converted (each input row with a full scale of its own) and the
    results of the tiles that share columns are added.

    The input's tiles are ``[tiles, patches, rows]``, numbered by a map ``[tile rows]``; the
    crossbars' are ``[tiles, rows, columns]`` (S), by a map ``[tile rows, tile columns]``. Shapes
    are those of the matrices they stand for. For all other arguments see `patch_model`; the last
    two have no effect.

    Returns:
        The product, ``[mat_a_shape[0], mat_b_shape[1]]``.

    Raises:
        Refused: if shapes do not fit or an argument is refused.
    """
    transistor = truth("transistor", transistor)
    a, b = mat_a_tiles, mat_b_tiles
    require(
        a.ndim == b.ndim == 3 and a.shape[-1] == b.shape[-2] and a.shape[-2] != 0,
        "tiles must be [tiles, patches, rows] and [tiles, rows, columns], got "
        f"{list(a.shape)} and {list(b.shape)}",
    )
    require(
        mat_b_tiles_map.ndim == 2 and mat_a_tiles_map.numel() == mat_b_tiles_map.shape[0],
        "maps must be [tile rows] and [tile rows, tile columns], got "
        f"{list(mat_a_tiles_map.shape)} and {list(mat_b_tiles_map.shape)}",
    )
    require(
        mat_a_shape[1] == mat_b_shape[0],
        f"a matrix {list(mat_a_shape)} and a matrix {list(mat_b_shape)} have no product",
    )
    ready = converter(ADC_resolution, ADC_overflow_rate, quant_method)
    cells = b if transistor else effective(b, source_resistance, line_resistance)
    cells = cells[mat_b_tiles_map.long().to(cells.device)]
    side_by_side = cells.transpose(1, 2).flatten(2)[..., : int(mat_b_shape[1])]
    inputs = a[mat_a_tiles_map.flatten().long().to(a.device)].to(cells)
    if ready is None:
        out = inputs.transpose(0, 1).flatten(1) @ side_by_side.flatten(0, 1)
    else:
        out = added([torch.bmm(inputs, side_by_side)], cells.shape[-1], ready)
    return out[: int(mat_a_shape[0])]


def tile_matmul_row(
    mat_a_row_tiles: Tensor,
    mat_a_tiles_map: Tensor,
    mat_b_tiles: Tensor,
    mat_b_tiles_map: Tensor,
    mat_b_shape: tuple[int, int],
    source_resistance: float | None = None,
    line_resistance: float | None = None,
    ADC_resolution: int | None = None,
    ADC_overflow_rate: float = 0.0,
    quant_method: str | None = None,
    transistor: bool = True,
) -> Tensor:
    """Multiply one row of a matrix with a matrix, both given as tiles; see `tile_matmul`.

    The row is ``[tiles, rows]`` or ``[tiles, 1, rows]``, the product ``[mat_b_shape[1]]``.
    """
    row = mat_a_row_tiles[:, None] if mat_a_row_tiles.ndim == 2 else mat_a_row_tiles
    require(
        row.ndim == 3 and row.shape[1] == 1,
        f"mat_a_row_tiles must be [tiles, rows], got {list(mat_a_row_tiles.shape)}",
    )
    cells = mat_b_tiles, mat_b_tiles_map, mat_b_shape
    lines = source_resistance, line_resistance
    settings: Any = *lines, ADC_resolution, ADC_overflow_rate, quant_method, transistor
    return tile_matmul(row, mat_a_tiles_map, (1, mat_b_shape[0]), *cells, *settings)[0]


def tiled_inference(input: Tensor, m: Any, transistor: bool) -> Tensor:
    """Read a memristive layer ``m`` that is stored in tiles: ``[patches, outputs]``.

    ``input`` are voltages ``[patches, features]`` (V). Without transistors lines count: positive
    and negative crossbars are solved as the two arrays they are.
    """
    transistor = truth("transistor", transistor)

    def stored(crossbar: Any) -> Tensor:
        g = crossbar.conductance_matrix
        return g if transistor else effective(g, m.source_resistance, m.line_resistance)

    first, cells = m.crossbars[0], m.crossbar_operation(m.crossbars, stored)
    held = cells, first.tiles_map, (first.rows, first.columns)
    tiles, tiles_map = gen_tiles(input, m.tile_shape, input=True)
    converted: Any = m.ADC_resolution, m.ADC_overflow_rate, m.quant_method
    shape = (input.shape[0], input.shape[1])
    return tile_matmul(tiles, tiles_map, shape, *held, None, None, *converted)
