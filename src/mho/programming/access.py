"""Access to the cells of arrays: who is selected together, and what the others see."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def as_arrays(x: Tensor) -> Tensor:
    """View a population's tensor as ``[arrays, rows, cols]``; a vector is one row."""
    if x.dim() < 2:
        return x.reshape(1, 1, -1)
    return x.reshape(-1, *x.shape[-2:])


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


def line_voltages(volts: Tensor, bias: str) -> tuple[Tensor, Tensor]:
    """Return the line voltages of a passive array that put voltages on cells of one row.

    The selected word line is driven with V (``V/3``) or V/2 (``V/2``), V being the largest
    voltage wanted; the bit line of a selected cell with what leaves this cell its own voltage;
    the other lines rest at 0 (``V/2``), or at V/3 (word) and 2V/3 (bit). For a single cell these
    are the textbook's schemes.

    Source: A. Chen, IEEE Trans. Electron Devices 60, 1318 (2013), doi 10.1109/TED.2013.2246791;
    `mho.circuit.passive.bias` gives the same for one amplitude.

    Args:
        volts: wanted on the selected cells ``[arrays, rows, cols]`` (V), 0 on all others; of one
            sign, and in each array all in one row.
        bias: ``"V/2"`` or ``"V/3"``.

    Returns:
        Word line voltages ``[arrays, rows]`` and bit line voltages ``[arrays, cols]`` (V). A
        cell sees the difference.
    """
    on = volts != 0.0
    size = volts.abs()
    wanted = volts.sum(1)
    sign = torch.sign(wanted.sum(1, keepdim=True))
    largest = size.amax((1, 2))[:, None] * sign
    row, col = on.any(2), on.any(1)
    if bias == "V/2":
        word = torch.where(row, largest / 2.0, 0.0)
        bit = torch.where(col, largest / 2.0 - wanted, 0.0)
    else:
        word = torch.where(row, largest, largest / 3.0)
        bit = torch.where(col, largest - wanted, largest * (2.0 / 3.0))
    return word, bit


def seen(volts: Tensor, bias: str) -> Tensor:
    """Return what every cell of passive arrays sees (V); arguments as of `line_voltages`.

    Selected cells see exactly what they are to see.
    """
    arrays = as_arrays(volts)
    word, bit = line_voltages(arrays, bias)
    cells = torch.where(arrays != 0.0, arrays, word[:, :, None] - bit[:, None, :])
    return cells.reshape(volts.shape)


def tallies(chosen: Tensor, bias: str) -> list[tuple[float, Tensor]]:
    """Return what all cells see of equal pulses that the chosen cells get one by one.

    Args:
        chosen: of a population's shape.
        bias: ``"V/2"`` or ``"V/3"``.

    Returns:
        Parts of the pulse's voltage, and how often each cell sees them.
    """
    arrays = as_arrays(chosen).long()
    row, col = arrays.sum(2, keepdim=True), arrays.sum(1, keepdim=True)
    half = row + col - 2 * arrays
    if bias == "V/2":
        found = [(1.0, arrays), (1.0 / 2.0, half)]
    else:
        others = arrays.sum((1, 2), keepdim=True) - half - arrays
        found = [(1.0, arrays), (1.0 / 3.0, half), (-1.0 / 3.0, others)]
    return [(part, count.reshape(chosen.shape)) for part, count in found]
