"""Currents and voltages of a crossbar with real wires: the two functions the house uses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mho.checks import instance, one_of
from mho.circuit import cg, merge
from mho.circuit.grid import Grid, canonical, turn_cells, turn_cols, turn_rows
from mho.circuit.lines import Ohms, as_lines, conductances, solving_device
from mho.circuit.wires import Wires

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
    resistances do to 0, and is exact (about 1e-13 of its largest entry; solved in float64).
    Differentiable in ``G`` and in the resistances.

    Args:
        G: conductances ``[..., m, n]`` [S]: rows are word lines, columns bit lines.
        wires: line resistances and which ends are used.
        source: instead of ``wires.source``: one number, or one per word line ``[..., m]`` [ohm].
        word: instead of ``wires.word``, likewise ``[..., m]``.
        bit: instead of ``wires.bit``: one number, or one per bit line ``[..., n]`` [ohm].
        sense: instead of ``wires.sense``, likewise ``[..., n]``.
        method: ``"merge"`` (direct), ``"cg"`` (iterative, for comparison), or ``"auto"``: merging,
            which is faster at every size and severity because ``T`` is min(m, n) solutions.

    Returns:
        ``T`` ``[..., m, n]`` [S], in the dtype and on the device of ``G``.

    Raises:
        ValueError: for negative or NaN conductances or resistances, arrays that do not conduct at
            all, shapes that do not match, or gated arrays (where no fixed ``T`` exists).
        TypeError: for what is not a floating-point tensor.
    """
    one_of("method", method, METHODS)
    given = {"source": source, "word": word, "bit": bit, "sense": sense}
    grid = _prepare(G, wires, given)
    if wires.ideal and not any(value is not None for value in given.values()):
        return G.clone()
    T = _in_chunks(cg.effective if method == "cg" else merge.effective, grid)
    return turn_cells(T, wires).reshape(G.shape).to(G)


def _in_chunks(solver: Callable[..., Tensor], grid: Grid, *given: Tensor) -> Tensor:
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


@dataclass(frozen=True)
class Solution:
    """Everything about an array under given voltages. Positive currents flow word to bit line.

    Args:
        word_voltages: node voltages on the word lines ``[..., m, n]`` [V].
        bit_voltages: node voltages on the bit lines ``[..., m, n]`` [V].
        cell_currents: ``[..., m, n]`` [A].
        currents: into the sinks ``[..., n]`` [A].
        source_power: delivered by drivers and sinks ``[...]`` [W].
        dissipated_power: turned into heat in cells and wires ``[...]`` [W].
    """

    word_voltages: Tensor
    bit_voltages: Tensor
    cell_currents: Tensor
    currents: Tensor
    source_power: Tensor
    dissipated_power: Tensor

    @property
    def cell_voltages(self) -> Tensor:
        """Voltage across every cell, word line to bit line ``[..., m, n]`` [V]."""
        return self.word_voltages - self.bit_voltages


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
    grid = _prepare(G, wires, given)
    _, m, n = grid.cells.shape
    drivers = _excitation("voltages", voltages, m, G)
    sinks = _excitation("sink", torch.as_tensor(sink, dtype=G.dtype, device=G.device), n, G)
    lead, drivers, sinks = _match(G, drivers, sinks)
    drivers, sinks = turn_rows(drivers, wires), turn_cols(sinks, wires)
    iterate = method == "cg" or (method == "auto" and _iterating_pays(grid, drivers.shape[1]))
    solver = cg.cell_currents if iterate else merge.cell_currents
    found = _finish(grid, drivers, sinks, _in_chunks(solver, grid, drivers, sinks))
    single = voltages.ndim == 1 and (not isinstance(sink, Tensor) or sink.ndim < 2)
    return _as_given(found, wires, lead[:-1] if single else lead, G)


def _iterating_pays(grid: Grid, vectors: int) -> bool:
    sweeps = cg.most_iterations(grid)
    if grid.cells[0].numel() > LARGE:
        return sweeps < cg.LIMIT
    return vectors * sweeps < MERGE_SWEEPS


def _finish(grid: Grid, drivers: Tensor, sinks: Tensor, cell_currents: Tensor) -> Solution:
    # Node voltages follow from the cells' currents by running sums, exactly as the lines add up.
    drop, rise = grid.word_drop(cell_currents), grid.bit_rise(cell_currents)
    currents = cell_currents.sum(-2)
    on_word = cell_currents.flip(-1).cumsum(-1).flip(-1)
    on_bit = cell_currents.flip(-2).cumsum(-2).flip(-2)
    fed = drivers * on_word[..., 0]
    lost = drop.new_zeros(())
    if grid.end is not None:
        far = grid.far_current((grid.word[:, None] * on_word).cumsum(-1))
        on_word = on_word - far[..., None]
        lost = (grid.end[:, None] * far.square()).sum(-1)
    word_voltages = drivers[..., None] - drop
    bit_voltages = sinks[..., None, :] + rise
    heat = (
        cell_currents * (word_voltages - bit_voltages)
        + grid.word[:, None] * on_word.square()
        + grid.bit[:, None] * on_bit.square()
    ).sum((-2, -1)) + lost
    power = fed.sum(-1) - (sinks * currents).sum(-1)
    return Solution(word_voltages, bit_voltages, cell_currents, currents, power, heat)


def _as_given(found: Solution, wires: Wires, lead: tuple[int, ...], G: Tensor) -> Solution:
    m, n = G.shape[-2:]

    def cells(values: Tensor) -> Tensor:
        return turn_cells(values, wires).reshape(*lead, m, n).to(G)

    return Solution(
        word_voltages=cells(found.word_voltages),
        bit_voltages=cells(found.bit_voltages),
        cell_currents=cells(found.cell_currents),
        currents=turn_cols(found.currents, wires).reshape(*lead, n).to(G),
        source_power=found.source_power.reshape(lead).to(G),
        dissipated_power=found.dissipated_power.reshape(lead).to(G),
    )


def _prepare(G: Tensor, wires: Wires, given: dict[str, Ohms | None]) -> Grid:
    instance("wires", wires, Wires)
    if wires.gated:
        raise ValueError(
            "wires must not be gated here: in a gated array the inputs switch the cells, so "
            "currents are no fixed T times the inputs; use mho.circuit.solve_gated"
        )
    cells = conductances(G)
    _, m, n = cells.shape
    lead = G.shape[:-2]
    sizes = {"source": m, "word": m, "bit": n, "sense": n}
    lines = {
        name: as_lines(
            name, getattr(wires, name) if given[name] is None else given[name], lead, size, cells
        )
        for name, size in sizes.items()
    }
    return canonical(cells, wires, **lines)


def _match(G: Tensor, drivers: Tensor, sinks: Tensor) -> tuple[tuple[int, ...], Tensor, Tensor]:
    # Voltages as [N, V, m] and [N, V, n] with the arrays' N, and the shape [..., V] of the answer.
    m, n = G.shape[-2:]
    try:
        pair = torch.broadcast_shapes(drivers.shape[:-1], sinks.shape[:-1])
        lead = (*torch.broadcast_shapes(G.shape[:-2], pair[:-1]), pair[-1])
    except RuntimeError:
        lead = ()
    # One array under batches of voltages: the batches are just more vectors.
    if not lead or (G.ndim > 2 and lead[:-1] != G.shape[:-2]):
        raise ValueError(
            f"voltages [..., vectors, m] and sink [..., vectors, n] must fit G of shape "
            f"{list(G.shape)}, got {list(drivers.shape)} and {list(sinks.shape)}"
        )
    arrays = math.prod(G.shape[:-2])
    drivers = drivers.expand(*lead, m).reshape(arrays, -1, m)
    return lead, drivers, sinks.expand(*lead, n).reshape(arrays, -1, n)


def _excitation(name: str, values: Tensor, size: int, G: Tensor) -> Tensor:
    instance(name, values, Tensor)
    if values.ndim == 0 and name == "sink":
        values = values.expand(size)
    if values.ndim == 0 or values.shape[-1] != size:
        raise ValueError(
            f"{name} must have shape [..., {size}] to fit G of shape {list(G.shape)}, "
            f"got {list(values.shape)}"
        )
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite entries")
    values = values.to(device=solving_device(G), dtype=torch.float64)
    return values[None] if values.ndim == 1 else values
