"""Passive (1R, selectorless) arrays: sneak paths in reads, disturb in writes.

Line voltages are those of `mho.circuit.half_select`; here the circuit is solved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mho.circuit.half_select import Bias, Selection, bias
from mho.circuit.newton import Law
from mho.circuit.nonlinear import NonlinearSolution, solve_nonlinear
from mho.circuit.selector import InSeries
from mho.circuit.solver import solve
from mho.circuit.wires import Wires
from mho.core.checks import instance, integer, number


class Population(Protocol):
    """Cells as this room needs them; ``mho.devices.SwitchingCells`` are such."""

    shape: tuple[int, ...]

    def current(self, v: Tensor) -> Tensor:
        """Return currents (A) under voltages (V) that do not move the cells."""

    def conductance(self) -> Tensor:
        """Return low-voltage conductances (S)."""

    def apply_pulse(self, v: Tensor, duration: float) -> None:
        """Move the cells by constant voltages (V) for a time (s)."""


def solve_bias(
    current: Law, wires: Wires, lines: Bias, *, tolerance: float | None = None
) -> NonlinearSolution:
    """Solve arrays of any cells under a bias, with their wires (see ``solve_nonlinear``).

    Args:
        current: the law of all cells.
        wires: line resistances and which ends are used.
        lines: the bias ``[m]``, ``[vectors, m]`` or ``[..., vectors, m]``.
        tolerance: as for ``solve_nonlinear``.

    Raises:
        NotConvergedError: naming the selections that did not converge.
        ValueError: as for ``solve_nonlinear``.
        TypeError: likewise.
    """
    instance("lines", lines, Bias)
    return solve_nonlinear(
        current,
        (*lines.word.shape[:-2], lines.word.shape[-1], lines.bit.shape[-1]),
        wires,
        lines.word,
        sink=lines.bit,
        floating_words=~lines.selected_rows if lines.floating else None,
        floating_bits=~lines.selected_cols if lines.floating else None,
        tolerance=tolerance,
    )


def cell_voltages(
    current: Law,
    wires: Wires,
    lines: Bias,
    *,
    selector: Callable[[Tensor], Tensor] | None = None,
    conductance: Tensor | None = None,
    tolerance: float | None = None,
) -> Tensor:
    """Return the voltages over cells under a bias, with their wires and selectors (V).

    Args:
        current: the law of all cells.
        wires: line resistances and which ends are used.
        lines: the bias, as for ``solve_bias``.
        selector: law of a selector in series with each cell, such as ``Selector().current``.
        conductance: of ohmic cells ``[..., m, n]`` (S): without selectors and floating lines their
            circuit is linear.
        tolerance: as for ``solve_nonlinear``.

    Raises:
        NotConvergedError, ValueError, TypeError: as for ``solve_bias``.
    """
    law = current if selector is None else InSeries(current, selector)
    if wires.ideal and not lines.floating:
        over = lines.ideal_voltages
    elif conductance is not None and selector is None and not lines.floating:
        return solve(conductance, wires, lines.word, sink=lines.bit).cell_voltages
    else:
        over = solve_bias(law, wires, lines, tolerance=tolerance).cell_voltages
    return law.cell_share(over) if isinstance(law, InSeries) else over


@dataclass(frozen=True)
class SneakRead:
    """What a read senses, and what of it is not the selected cells'.

    Args:
        sensed: current at the selected bit lines, 0 at others ``[..., n]`` [A].
        direct: what the selected cells would carry alone, at the full voltage ``[..., n]`` [A].
        solution: everything else.
    """

    sensed: Tensor
    direct: Tensor
    solution: NonlinearSolution

    @property
    def sneak(self) -> Tensor:
        """Sneak current, less what wires lose: ``sensed - direct`` ``[..., n]`` [A]."""
        return self.sensed - self.direct

    @property
    def ratio(self) -> Tensor:
        """``sneak/direct``, of all selected bit lines together ``[...]``."""
        return self.sneak.sum(-1) / self.direct.sum(-1)


def sneak_read(
    current: Law,
    shape: tuple[int, int],
    row: Selection,
    col: Selection | None,
    voltage: float,
    *,
    wires: Wires | None = None,
    scheme: str = "floating",
) -> SneakRead:
    """Read cells of a passive array, and tell their own current from sneak currents.

    Args:
        current: the law of all cells, for voltages ``[m, n]`` or ``[vectors, m, n]``.
        shape: of the array ``(m, n)``.
        row: the row read, as for ``bias``.
        col: the column read; None: all columns, so a row at once.
        voltage: of the selected word line [V].
        wires: of the array; ideal if None.
        scheme: what other lines do.

    Returns:
        Sensed and direct currents.

    Raises:
        NotConvergedError: as for ``solve_bias``.
        ValueError: as for ``bias``.
        TypeError: likewise.
    """
    cols = torch.ones(shape[1], dtype=torch.bool) if col is None else col
    lines = bias(scheme, shape, row, cols, voltage)
    solution = solve_bias(current, wires or Wires(), lines)
    alone = lines.selected_rows[..., :, None] & lines.selected_cols[..., None, :]
    direct = torch.where(alone, current(torch.where(alone, voltage, 0.0).to(lines.word)), 0.0)
    sensed = torch.where(lines.selected_cols, solution.currents, 0.0)
    return SneakRead(sensed, direct.sum(-2).to(sensed), solution)


@dataclass(frozen=True)
class Disturb:
    """What a write did to all cells.

    Args:
        before: conductances ``[m, n]`` [S].
        after: likewise.
        voltages: over the cells at the first pulse's start ``[m, n]`` [V].
        selected: bool ``[m, n]``: the cells that were meant.
    """

    before: Tensor
    after: Tensor
    voltages: Tensor
    selected: Tensor

    @property
    def change(self) -> Tensor:
        """Relative change of conductance ``[m, n]``."""
        moved = self.after - self.before
        return torch.where(moved == 0, 0.0, moved / self.before)

    @property
    def worst(self) -> float:
        """Largest relative change, in size, of a cell that was not selected."""
        return float(torch.where(self.selected, 0.0, self.change).abs().max())


@torch.no_grad()
def disturb(
    cells: Population,
    lines: Bias,
    duration: float,
    *,
    wires: Wires | None = None,
    selector: Callable[[Tensor], Tensor] | None = None,
    pulses: int = 1,
    parts: int = 1,
) -> Disturb:
    """Write under a bias and let every cell answer to the voltage it really sees.

    The voltages are solved at the start of each part of each pulse and held for its length: more
    parts follow cells that change so much within a pulse that others feel it.

    Args:
        cells: the array's cells ``[m, n]``; they are moved.
        lines: the bias; one selection.
        duration: of a pulse [s].
        wires: of the array; ideal if None.
        selector: law of a selector in series with each cell, such as ``Selector().current``.
        pulses: how many.
        parts: how many parts each pulse is cut into.

    Returns:
        Conductances before and after, and the cells' voltages.

    Raises:
        NotConvergedError: if the circuit is not solved; cells keep what earlier parts did.
        ValueError: if shapes do not match or a number is out of range.
    """
    number("duration", duration, above=0.0)
    integer("pulses", pulses)
    integer("parts", parts)
    shape = (lines.word.shape[-1], lines.bit.shape[-1])
    if lines.word.ndim != 1 or tuple(cells.shape) != shape:
        raise ValueError(
            f"lines must be one bias of an array {list(cells.shape)}, got word lines "
            f"{list(lines.word.shape)} and bit lines {list(lines.bit.shape)}"
        )
    before = cells.conductance().clone()
    counted: Any = cells if hasattr(cells, "writes") else None
    writes = counted and counted.writes.clone()
    first: Tensor | None = None
    for _ in range(pulses * parts):
        over = cell_voltages(cells.current, wires or Wires(), lines, selector=selector)
        first = over if first is None else first
        cells.apply_pulse(over, duration / parts)
    assert first is not None
    alone = lines.selected_rows[:, None] & lines.selected_cols[None, :]
    if counted is not None:  # whole pulses, of the cells that were meant to have them
        counted.writes = writes + pulses * alone.to(writes)
    return Disturb(before, cells.conductance().clone(), first, alone)
