"""Access to the cells of arrays: who is selected together.

What the others see of it is said by `mho.circuit.half_select`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mho.circuit.half_select import as_arrays


def rows(chosen: Tensor) -> Iterator[Tensor]:
    """Yield masks of the chosen cells row by row (that of all arrays at once), no empty ones."""
    arrays = as_arrays(chosen)
    for index in arrays.any(2).any(0).nonzero().flatten().tolist():
        mask = torch.zeros_like(arrays)
        mask[:, index] = arrays[:, index]
        yield mask.reshape(chosen.shape)


def cells(row: Tensor) -> Tensor:
    """Return masks ``[count, …]`` of chosen cells of one row, column by column.

    Arrays (leading dimensions) have drivers of their own: in each column, the cells of all.
    """
    columns = as_arrays(row).any(1).any(0).nonzero()
    alone = torch.arange(row.shape[-1], device=row.device) == columns
    return row & alone.reshape(len(columns), *[1] * (row.dim() - 1), -1)


def serial(chosen: Tensor, order: str) -> int:
    """Return how many groups of the chosen cells come one after the other.

    Arrays (leading dimensions) have drivers of their own and are worked on together.

    Args:
        chosen: of a population's shape.
        order: ``"all"``, ``"row"`` or ``"cell"``.
    """
    if order == "all":
        return int(chosen.any())
    arrays = as_arrays(chosen)
    if order == "row":
        return int(arrays.any(2).any(0).sum())
    return int(arrays.any(0).sum())
