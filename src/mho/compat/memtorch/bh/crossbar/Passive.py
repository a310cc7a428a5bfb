# ruff: noqa: N999
"""Passive (1R) crossbars with line resistances, on `mho.circuit`."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.circuit import Wires, effective_conductance, solve
from mho.compat._common import real, require, truth, whole

__all__ = ["solve_passive"]


def wires(R_source: float | None, R_line: float | None) -> Wires:
    """Return lines driven at the left ends and held at the bottom ends through ``R_source``."""
    message = "source_resistance and line_resistance must be given when transistor is False"
    require(R_source is not None and R_line is not None, message)
    source, line = (real(n, v, least=0.0) for n, v in (("R_source", R_source), ("R_line", R_line)))
    return Wires(source=source, word=line, bit=line, sense=source)


def effective(conductances: Tensor, R_source: float | None, R_line: float | None) -> Tensor:
    """Return ``T`` (S), of the conductances' shape, with which currents are ``V @ T``."""
    _positive(conductances)
    return effective_conductance(conductances, wires(R_source, R_line))


def solve_passive(
    conductance_matrix: Tensor,
    V_WL: Tensor,
    V_BL: Tensor,
    R_source: float,
    R_line: float,
    n_input_batches: int | None = None,
    det_readout_currents: bool = True,
    use_bindings: bool = True,
    cuda_malloc_heap_size: int | None = None,
) -> Tensor:
    """Solve a passive crossbar under given line voltages.

    Args:
        conductance_matrix: of one physical array, ``[rows, columns]`` (S), >= 0.
        V_WL: word-line voltages, ``[rows]``, or ``[batches, rows]`` with batches (V).
        V_BL: bit-line voltages, ``[columns]``, or ``[batches, columns]`` (V).
        R_source: between sources and lines (Ω), >= 0.
        R_line: between neighbouring cells (Ω), >= 0.
        n_input_batches: number of voltage vectors; None: one vector without a batch dimension.
        det_readout_currents: return currents (True) or the voltages across the cells (False).
        use_bindings: has no effect.
        cuda_malloc_heap_size: has no effect.

    Returns:
        Currents out of the bit lines, ``[columns]`` or ``[batches, columns]`` (A); or cell
        voltages, ``[rows, columns]`` or ``[batches, rows, columns]`` (V).

    Raises:
        Refused: if an argument is refused.
    """
    det_readout_currents = truth("det_readout_currents", det_readout_currents)
    require(
        isinstance(conductance_matrix, Tensor) and conductance_matrix.ndim == 2,
        "conductance_matrix must be a tensor [rows, columns]",
    )
    lines = wires(R_source, R_line)
    _positive(conductance_matrix)
    rows, columns = conductance_matrix.shape
    lead = () if n_input_batches is None else (whole("n_input_batches", n_input_batches),)
    word, bit = (torch.as_tensor(volts).to(conductance_matrix) for volts in (V_WL, V_BL))
    for name, volts, size in (("V_WL", word, rows), ("V_BL", bit, columns)):
        shape, found = [*lead, size], list(volts.shape)
        require(found == shape, f"{name} must have shape {shape}, got {found}")
    if det_readout_currents and not bool(bit.any()):
        return word @ effective_conductance(conductance_matrix, lines)
    solution = solve(conductance_matrix, lines, word, sink=bit)
    return solution.currents if det_readout_currents else solution.cell_voltages


def _positive(conductances: Tensor) -> None:
    require(
        not bool((conductances.detach() < 0).any()),
        "conductances must be >= 0: the difference of a positive and a negative crossbar is not "
        "an array; solve the two and subtract their currents",
    )
