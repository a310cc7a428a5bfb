"""What the drivers of an array with wires are loaded by: power without a solution per vector.

A linear array draws the currents ``I = V Y`` from its drivers, with sinks at 0 V. ``Y`` depends on
cells and wires alone, as ``T`` does (`mho.circuit.effective_conductance`), is symmetric, and the
power that the drivers deliver is the quadratic form ``V Y V^T``. Merging the cells of the array
(`mho.circuit.merge`) ends with it: one merge is exact for any number of vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mho.circuit import merge
from mho.circuit.grid import Grid
from mho.circuit.plan import plan
from mho.circuit.problem import arrays
from mho.circuit.solver import in_chunks
from mho.circuit.wires import Wires


def driver_conductance(G: Tensor, wires: Wires) -> Tensor:
    """Return by what the drivers of a linear array are loaded: their currents are ``V @ Y``.

    Exact, solved in float64; tends to a diagonal matrix of the cells' row sums as the resistances
    do to 0. With drivers at both ends of a word line the currents of the two are added.

    Args:
        G: conductances ``[..., m, n]`` [S]: rows are word lines, columns bit lines.
        wires: line resistances and which ends are used.

    Returns:
        ``Y`` ``[..., m, m]`` [S], symmetric, in the dtype and on the device of ``G``. The power
        that drivers deliver at voltages ``V [vectors, m]`` is ``((V @ Y) * V).sum(-1)`` [W].

    Raises:
        ValueError: as for `mho.circuit.effective_conductance`.
        TypeError: for what is not a floating-point tensor.
    """
    grid = arrays(G, wires, dict.fromkeys(("source", "word", "bit", "sense")))
    if wires.ideal:
        return torch.diag_embed(G.sum(-1))
    Y = in_chunks(_from_both_ends if grid.end is not None else _merged, grid)
    if wires.read == "bottom":  # the canonical array has its sinks at row 0
        Y = Y.flip((-2, -1))
    return Y.reshape(*G.shape[:-1], G.shape[-2]).to(G)


def _merged(grid: Grid) -> Tensor:
    _, m, n = grid.cells.shape
    way = plan(m, n, both=False)
    blocks = merge.cell_ports(grid, way)
    for step in way.steps:
        blocks = merge.grow(blocks, step)
    word = way.near_word.to(blocks.device)[:m]
    return blocks.index_select(-2, word).index_select(-1, word)


def _from_both_ends(grid: Grid) -> Tensor:
    # All that the cells of a row carry comes from the row's two drivers.
    count, m, n = grid.cells.shape
    drivers = torch.eye(m, dtype=grid.cells.dtype, device=grid.cells.device)
    sinks = drivers.new_zeros(count, m, n)
    return merge.cell_currents(grid, drivers.expand(count, m, m), sinks).sum(-1)
