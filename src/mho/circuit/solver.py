"""Currents and voltages of a crossbar with real wires: the two functions the house uses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mho.circuit import cg, merge, series
from mho.circuit.grid import Grid, turn_cells
from mho.circuit.lines import Ohms
from mho.circuit.problem import arrays, terminals
from mho.circuit.solution import Solution, as_given, complete
from mho.circuit.wires import Wires
from mho.core.checks import one_of

METHODS = ("auto", "merge", "cg")

CELLS_AT_ONCE = 1 << 14
"""Cells handled together on a CPU: more leaves the cache (measured: 2^13 to 2^15 are best)."""

CELLS_AT_ONCE_GPU = 1 << 22

LARGE = 1 << 20
"""Cells from which ``solve`` iterates if it can: merging would need gigabytes."""

MERGE_SWEEPS = 160
"""Iterations, over all vectors, that cost as much as merging an array and going back down."""


def effective_conductance(
    G: Tensor,
    wires: Wires,
    *,
    source: Ohms | None = None,
    word: Ohms | None = None,
    bit: Ohms | None = None,
    sense: Ohms | None = None,
    method: str = "auto",
) -> Tensor:
    """Return the effective conductance matrix: a linear array's currents are ``V @ T``.

    ``T`` depends on the cells and wires alone, holds for sinks at 0 V, tends to ``G`` as the
    resistances do to 0, and is exact: about 1e-13 of its largest entry, solved in float64. On good
    wires, where the first terms of a series do, the error is at most 1e-10 of the largest entry by
    a bound that is evaluated (mostly it is 1e-12), or the array is merged after all.
    Differentiable in ``G`` and in the resistances.

    Args:
        G: conductances ``[..., m, n]`` [S]: rows are word lines, columns bit lines.
        wires: line resistances and which ends are used.
        source: instead of ``wires.source``: one number, or one per word line ``[..., m]`` [ohm].
        word: instead of ``wires.word``, likewise ``[..., m]``.
        bit: instead of ``wires.bit``: one number, or one per bit line ``[..., n]`` [ohm].
        sense: instead of ``wires.sense``, likewise ``[..., n]``.
        method: ``"merge"`` (direct: ``mho.circuit.merge``), ``"series"`` (for good wires, and
            without gradient in their resistances: ``mho.circuit.series``), ``"cg"`` (iterative, for
            comparison: slower always, because ``T`` is min(m, n) solutions), or ``"auto"``: the
            series where it pays, else merging.

    Returns:
        ``T`` ``[..., m, n]`` [S], in the dtype and on the device of ``G``.

    Raises:
        ValueError: for negative or NaN conductances or resistances, arrays that do not conduct at
            all, shapes that do not match, or gated arrays (where no fixed ``T`` exists).
        TypeError: for what is not a floating-point tensor.
        RuntimeError: if ``"series"`` or ``"cg"``, asked for by name, is not accurate enough.
    """
    one_of("method", method, tuple(_SOLVERS))
    given = {"source": source, "word": word, "bit": bit, "sense": sense}
    grid = arrays(G, wires, given)
    if wires.ideal and not any(value is not None for value in given.values()):
        return G.clone()
    T = in_chunks(_SOLVERS[method], grid)
    return turn_cells(T, wires).reshape(G.shape).to(G)


def _effective(grid: Grid) -> Tensor:
    lost = series.loss(grid)
    if series.pays(grid, lost):
        T = series.effective(grid, lost)
        if T is not None:
            return T
    return merge.effective(grid)


def _series(grid: Grid) -> Tensor:
    T = series.effective(grid, series.loss(grid))
    if T is None:
        raise RuntimeError(
            f"the series does not get as near as {series.ACCURACY:.0e}: the lines' resistance is "
            f"too large beside the cells'; use method='merge'"
        )
    return T


_SOLVERS: dict[str, Callable[[Grid], Tensor]] = {
    "auto": _effective,
    "merge": merge.effective,
    "cg": cg.effective,
    "series": _series,
}


def in_chunks(solver: Callable[..., Tensor], grid: Grid, *given: Tensor) -> Tensor:
    """Return what a solver makes of arrays, as many at a time as the cache holds."""
    count, m, n = grid.cells.shape
    most = CELLS_AT_ONCE if grid.cells.device.type == "cpu" else CELLS_AT_ONCE_GPU
    size = max(1, most // (m * n))
    parts = [slice(start, start + size) for start in range(0, count, size)]
    chunks = [(grid.pick(part), *(value[part] for value in given)) for part in parts]
    if len(chunks) == 1:
        return solver(*chunks[0])
    if torch.is_grad_enabled():
        # Many tiles in training: keep one chunk's blocks in memory at a time, compute them twice.
        return torch.cat([checkpoint(solver, *chunk, use_reentrant=False) for chunk in chunks])
    return torch.cat([solver(*chunk) for chunk in chunks])


def solve(
    G: Tensor,
    wires: Wires,
    voltages: Tensor,
    *,
    sink: Tensor | float = 0.0,
    source: Ohms | None = None,
    word: Ohms | None = None,
    bit: Ohms | None = None,
    sense: Ohms | None = None,
    method: str = "auto",
) -> Solution:
    """Solve an array for every voltage and current in it.

    Args:
        G: conductances ``[..., m, n]`` [S].
        wires: line resistances and which ends are used.
        voltages: drivers, ``[m]`` or ``[..., vectors, m]`` as for ``voltages @ G`` [V].
        sink: voltage of the sinks: one number, ``[n]`` or ``[..., vectors, n]`` [V].
        source: as for ``effective_conductance``, and so the next three.
        word: likewise.
        bit: likewise.
        sense: likewise.
        method: ``"merge"`` (direct), ``"cg"`` (iterative), or ``"auto"``: iterating where a bound
            on the iterations says that they cost less, which is so for few vectors on good wires,
            and for more than a million cells, where merging would need gigabytes.

    Returns:
        The solution; its leading dimensions are those of ``voltages @ G``. Differentiable (twice
        with ``method="merge"``).

    Raises:
        ValueError: as for ``effective_conductance``, and for voltages that are not finite.
        TypeError: for what is not a floating-point tensor.
        RuntimeError: if an iteration does not converge.
    """
    one_of("method", method, METHODS)
    given = {"source": source, "word": word, "bit": bit, "sense": sense}
    grid = arrays(G, wires, given)
    ends = terminals(G, wires, voltages, sink)
    iterate = method == "cg" or (method == "auto" and _iterating_pays(grid, ends.drivers.shape[1]))
    solver = cg.cell_currents if iterate else merge.cell_currents
    currents = in_chunks(solver, grid, ends.drivers, ends.sinks)
    found = complete(grid, ends.drivers, ends.sinks, currents)
    return as_given(found, wires, ends.lead[:-1] if ends.single else ends.lead, G)


def _iterating_pays(grid: Grid, vectors: int) -> bool:
    sweeps = cg.most_iterations(grid)
    if grid.cells[0].numel() > LARGE:
        return sweeps < cg.LIMIT
    return vectors * sweeps < MERGE_SWEEPS
