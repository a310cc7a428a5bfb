# ruff: noqa: N999
"""Modular crossbar tiles: a view of a matrix as a batch of equal pieces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar.Passive import effective
from mho.compat.memtorch.bh.Quantize import convert, quant_methods
from mho.periphery import ADC

__all__ = ["Tile", "gen_tiles", "tile_matmul", "tile_matmul_row", "tiled_inference"]


class Tile:
    """One modular crossbar tile.

    Args:
        tile_shape: rows and columns of the tile.
        patch_num: number of input patches; the array is then ``[patch_num, tile_shape[0]]``.
    """

    def __init__(self, tile_shape: tuple[int, int], patch_num: int | None = None) -> None:
        self.tile_shape = _tile_shape(tile_shape)
        self.patch_num = patch_num
        shape = self.tile_shape if patch_num is None else (patch_num, self.tile_shape[0])
        self.array = torch.zeros(shape)

    def update_array(self, new_array: Any) -> None:
        """Put new values into the tile.

        Args:
            new_array: of the tile's shape, or smaller: then it fills the upper left corner and
                the other values stay.

        Raises:
            ValueError: if it does not fit.
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

    Args:
        tensor: ``[rows, columns]``; for an input, ``[patches, features]``.
        tile_shape: rows and columns of a tile.
        input: cut an input: its features run along the tiles' rows.
        use_bindings: has no effect.

    Returns:
        The tiles, ``[tiles, rows, columns]`` (of an input ``[tiles, patches, rows]``), and the map
        of their numbers, ``[tile rows, tile columns]`` (of an input ``[tile rows]``).

    Raises:
        ValueError: if the tensor is no matrix or the tile shape is refused.
    """
    rows, columns = _tile_shape(tile_shape)
    require(
        isinstance(tensor, Tensor) and tensor.ndim == 2 and tensor.numel() > 0,
        f"tensor must be a matrix that is not empty, got {list(np.shape(tensor))}",
    )
    if input:
        count = math.ceil(tensor.shape[1] / rows)
        padded = F.pad(tensor, (0, count * rows - tensor.shape[1]))
        tiles = padded.view(tensor.shape[0], count, rows).transpose(0, 1)
        return tiles.contiguous(), torch.arange(count, dtype=torch.get_default_dtype())
    high, wide = math.ceil(tensor.shape[0] / rows), math.ceil(tensor.shape[1] / columns)
    padded = F.pad(tensor, (0, wide * columns - tensor.shape[1], 0, high * rows - tensor.shape[0]))
    tiles = padded.view(high, rows, wide, columns).transpose(1, 2)
    numbers = torch.arange(high * wide, dtype=torch.get_default_dtype()).view(high, wide)
    return tiles.reshape(high * wide, rows, columns), numbers


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

    Args:
        mat_a_tiles: input tiles, ``[tiles, patches, rows]``.
        mat_a_tiles_map: their numbers, ``[tile rows]``.
        mat_a_shape: shape of the input.
        mat_b_tiles: crossbar tiles, ``[tiles, rows, columns]``.
        mat_b_tiles_map: their numbers, ``[tile rows, tile columns]``.
        mat_b_shape: shape of the matrix they stand for.
        source_resistance: between sources and lines (Ω); only without transistors.
        line_resistance: between neighbouring cells (Ω); only without transistors.
        ADC_resolution: bits, with a ``quant_method``.
        ADC_overflow_rate: fraction of currents that full scale may leave out.
        quant_method: one of ``quant_methods``; None: no conversion.
        transistor: 1T1R cells (True), or passive ones (False), whose lines count.
        use_bindings: has no effect.
        cuda_malloc_heap_size: has no effect.

    Returns:
        The product, ``[mat_a_shape[0], mat_b_shape[1]]``.

    Raises:
        ValueError: if shapes do not fit or an argument is refused.
    """
    require(
        mat_a_tiles.ndim == 3
        and mat_b_tiles.ndim == 3
        and mat_a_tiles.shape[-1] == mat_b_tiles.shape[-2]
        and mat_a_tiles.shape[-2] != 0,
        "tiles must be [tiles, patches, rows] and [tiles, rows, columns], got "
        f"{list(mat_a_tiles.shape)} and {list(mat_b_tiles.shape)}",
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
    if quant_method is not None:
        check_converter(ADC_resolution, ADC_overflow_rate, quant_method)
    if not transistor:
        mat_b_tiles = _passive(mat_b_tiles, source_resistance, line_resistance)
    inputs = mat_a_tiles[mat_a_tiles_map.flatten().long().to(mat_a_tiles.device)]
    cells = mat_b_tiles[mat_b_tiles_map.long().to(mat_b_tiles.device)]
    out = multiply(
        inputs.to(cells), cells, ADC_resolution, ADC_overflow_rate, quant_method, mat_b_shape[1]
    )
    return out[: mat_a_shape[0]]


def multiply(
    inputs: Tensor,
    cells: Tensor,
    ADC_resolution: int | None = None,
    ADC_overflow_rate: float = 0.0,
    quant_method: str | None = None,
    columns: int | None = None,
) -> Tensor:
    """Multiply input tiles with crossbar tiles, convert, and add along the tile rows.

    Args:
        inputs: ``[tile rows, patches, rows]`` (V).
        cells: ``[tile rows, tile columns, rows, columns]`` (S).
        ADC_resolution: bits.
        ADC_overflow_rate: fraction of currents that full scale may leave out.
        quant_method: None: no conversion.
        columns: how many are no padding; None: all. Padding is not converted, so that no fault in
            it changes a converter's full scale.

    Returns:
        ``[patches, columns]`` (A).
    """
    high, wide, rows, width = cells.shape
    count = wide * width if columns is None else columns
    side_by_side = cells.transpose(1, 2).reshape(high, rows, wide * width)[..., :count]
    if quant_method is None or ADC_resolution is None:
        return inputs.transpose(0, 1).flatten(1) @ side_by_side.flatten(0, 1)
    currents = torch.bmm(inputs, side_by_side)
    return sum_converted([currents], width, ADC_resolution, ADC_overflow_rate, quant_method)


def sum_converted(
    currents: list[Tensor],
    width: int,
    ADC_resolution: int | None,
    ADC_overflow_rate: float,
    quant_method: str | None,
) -> Tensor:
    """Convert every tile's currents, each row with a full scale of its own, and add the tiles.

    Args:
        currents: ``[tile rows, patches, columns]`` (A), in any number of pieces; overwritten.
        width: columns of a tile.
        ADC_resolution: bits.
        ADC_overflow_rate: fraction of currents that full scale may leave out.
        quant_method: one of ``quant_methods``.

    Returns:
        ``[patches, columns]`` (A).
    """
    assert ADC_resolution is not None
    assert quant_method is not None
    count = currents[0].shape[-1]
    whole = count // width * width
    sums = []
    for start, stop in ((0, whole), (whole, count)):
        if start == stop:
            continue
        pieces = [
            c[..., start:stop].unflatten(-1, (-1, min(width, stop - start))) for c in currents
        ]
        converted = [_convert(p, ADC_resolution, ADC_overflow_rate, quant_method) for p in pieces]
        total = converted[0].sum(0)
        for more in converted[1:]:
            total = total + more.sum(0)
        sums.append(total.flatten(1))
    return sums[0] if len(sums) == 1 else torch.cat(sums, dim=-1)


def _convert(currents: Tensor, bits: int, overflow_rate: float, quant_method: str) -> Tensor:
    graded = torch.is_grad_enabled() and currents.requires_grad
    if graded or quant_method != "linear" or bits == 1 or overflow_rate:
        return convert(currents, bits, overflow_rate, quant_method, each_row=True)
    # In place: at this size fresh memory costs more than the arithmetic.
    limit = torch.maximum(currents.amax(-1, keepdim=True), -currents.amin(-1, keepdim=True))
    adc = ADC(bits=int(bits), method=quant_method)
    step = adc.step(torch.where(limit == 0.0, 1.0, limit))
    return adc.to_levels(currents.div_(step)).mul_(step)


def check_converter(bits: int | None, overflow_rate: float | None, quant_method: str) -> None:
    """Refuse an impossible converter."""
    require(
        quant_method in quant_methods,
        f"quant_method must be None or one of {quant_methods}, got {quant_method!r}",
    )
    require(
        isinstance(bits, (int, np.integer)) and not isinstance(bits, bool) and bits > 0,
        f"ADC_resolution must be an integer > 0 with a quant_method, got {bits!r}",
    )
    require(
        isinstance(overflow_rate, (int, float)) and 0 <= overflow_rate <= 1,
        f"ADC_overflow_rate must be in [0, 1], got {overflow_rate!r}",
    )


def _passive(
    tiles: Tensor, source_resistance: float | None, line_resistance: float | None
) -> Tensor:
    require(
        source_resistance is not None and line_resistance is not None,
        "source_resistance and line_resistance must be given when transistor is False",
    )
    assert source_resistance is not None
    assert line_resistance is not None
    return effective(tiles, source_resistance, line_resistance)


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

    Args:
        mat_a_row_tiles: the row, ``[tiles, rows]`` or ``[tiles, 1, rows]``.
        mat_a_tiles_map: as for `tile_matmul`, and so the others.
        mat_b_tiles: crossbar tiles.
        mat_b_tiles_map: their numbers.
        mat_b_shape: shape of the matrix they stand for.
        source_resistance: between sources and lines (Ω).
        line_resistance: between neighbouring cells (Ω).
        ADC_resolution: bits.
        ADC_overflow_rate: fraction of currents that full scale may leave out.
        quant_method: one of ``quant_methods``; None: no conversion.
        transistor: 1T1R cells (True), or passive ones (False).

    Returns:
        The product, ``[mat_b_shape[1]]``.
    """
    row = mat_a_row_tiles[:, None] if mat_a_row_tiles.ndim == 2 else mat_a_row_tiles
    require(
        row.ndim == 3 and row.shape[1] == 1,
        f"mat_a_row_tiles must be [tiles, rows], got {list(mat_a_row_tiles.shape)}",
    )
    return tile_matmul(
        row,
        mat_a_tiles_map,
        (1, mat_b_shape[0]),
        mat_b_tiles,
        mat_b_tiles_map,
        mat_b_shape,
        source_resistance,
        line_resistance,
        ADC_resolution,
        ADC_overflow_rate,
        quant_method,
        transistor,
    )[0]


def tiled_inference(input: Tensor, m: Any, transistor: bool) -> Tensor:
    """Read a memristive layer that is stored in tiles.

    Args:
        input: scaled inputs, ``[patches, features]`` (V).
        m: the layer.
        transistor: 1T1R cells (True), or passive ones (False), whose lines count: positive and
            negative crossbars are solved as the two arrays they are.

    Returns:
        ``[patches, outputs]``.
    """

    def stored(crossbar: Any) -> Tensor:
        g: Tensor = crossbar.conductance_matrix
        return g if transistor else _passive(g, m.source_resistance, m.line_resistance)

    first = m.crossbars[0]
    tiles, tiles_map = gen_tiles(input, m.tile_shape, input=True)
    return tile_matmul(
        tiles,
        tiles_map,
        (input.shape[0], input.shape[1]),
        m.crossbar_operation(m.crossbars, stored),
        first.tiles_map,
        (first.rows, first.columns),
        ADC_resolution=m.ADC_resolution,
        ADC_overflow_rate=m.ADC_overflow_rate,
        quant_method=m.quant_method,
    )


def _tile_shape(tile_shape: tuple[int, int]) -> tuple[int, int]:
    require(
        len(tile_shape) == 2 and all(int(side) == side and side > 0 for side in tile_shape),
        f"tile_shape must be two integers > 0, got {tile_shape!r}",
    )
    return int(tile_shape[0]), int(tile_shape[1])


# ``memtorch.bh.crossbar.Tile`` is the class and the module: its names hang on both.
for _name in (gen_tiles, tile_matmul, tile_matmul_row, tiled_inference):
    setattr(Tile, _name.__name__, staticmethod(_name))
Tile.Tile = Tile  # type: ignore[attr-defined]
del _name
