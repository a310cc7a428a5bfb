"""Passive (1R, selectorless) arrays: line biases, sneak paths in reads, disturb in writes.

Without a transistor per cell every cell is always between two lines. What the lines of the other
cells do is the *scheme* (Chen 2013, doi 10.1109/TED.2013.2246791):

    scheme      selected row, col    other rows   other cols    half-selected cells    others
    grounded    V, 0                 0            0             V (row), 0 (col)       0
    V/2         V, 0                 V/2          V/2           V/2                    0
    V/3         V, 0                 V/3          2V/3          V/3                    -V/3
    floating    V, 0                 –            –             where currents balance
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from mho.circuit.newton import Law
from mho.circuit.nonlinear import NonlinearSolution, solve_nonlinear
from mho.circuit.selector import InSeries
from mho.circuit.wires import Wires
from mho.core.checks import instance, integer, number, one_of

SCHEMES = ("grounded", "V/2", "V/3", "floating")
_OTHERS = {"grounded": (0.0, 0.0), "V/2": (1 / 2, 1 / 2), "V/3": (1 / 3, 2 / 3)}

Selection: TypeAlias = "int | Tensor"


class Population(Protocol):
    """Cells as this room needs them; ``mho.devices.SwitchingCells`` are such."""

    shape: tuple[int, ...]

    def current(self, v: Tensor) -> Tensor:
        """Return currents (A) under voltages (V) that do not move the cells."""

    def conductance(self) -> Tensor:
        """Return low-voltage conductances (S)."""

    def apply_pulse(self, v: Tensor, duration: float) -> None:
        """Move the cells by constant voltages (V) for a time (s)."""


@dataclass(frozen=True, eq=False)
class Bias:
    """Voltages of all lines, for one or several selections.

    Args:
        word: of the word lines ``[m]`` or ``[vectors, m]`` [V]; of floating ones, a first guess.
        bit: of the bit lines, likewise ``[..., n]`` [V].
        selected_rows: bool ``[..., m]``.
        selected_cols: bool ``[..., n]``.
        floating: whether lines that are not selected float.
    """

    word: Tensor
    bit: Tensor
    selected_rows: Tensor
    selected_cols: Tensor
    floating: bool = False

    @property
    def ideal_voltages(self) -> Tensor:
        """Cell voltages ``[..., m, n]`` with ideal wires and no floating line: word minus bit."""
        if self.floating:
            raise ValueError("voltages of floating lines depend on the cells: use solve_bias")
        return self.word[..., :, None] - self.bit[..., None, :]


def bias(
    scheme: str, shape: tuple[int, int], row: Selection, col: Selection, voltage: float
) -> Bias:
    """Return the line voltages of a read or a write of selected cells.

    Args:
        scheme: ``"grounded"``, ``"V/2"``, ``"V/3"`` or ``"floating"``.
        shape: of the array ``(m, n)``.
        row: one row; or one a selection, integers ``[vectors]``; or bool ``[m]``,
            ``[vectors, m]``, for several rows at once.
        col: likewise of columns.
        voltage: over the selected cells, on the word line [V].

    Returns:
        The bias; many selections are vectors.

    Raises:
        ValueError: for an unknown scheme, or rows or columns that the array does not have.
        TypeError: for another kind of selection.
    """
    one_of("scheme", scheme, SCHEMES)
    number("voltage", voltage)
    m, n = shape
    rows, cols = _selected("row", row, m), _selected("col", col, n)
    try:
        lead = torch.broadcast_shapes(rows.shape[:-1], cols.shape[:-1])
    except RuntimeError:
        raise ValueError(
            f"row and col must select as many, got {list(rows.shape)} and {list(cols.shape)}"
        ) from None
    rows, cols = rows.expand(*lead, m), cols.expand(*lead, n)
    # A floating line is guessed half way.
    on_word, on_bit = _OTHERS.get(scheme, (0.5, 0.5))
    word = voltage * torch.where(rows, 1.0, torch.full_like(rows, on_word, dtype=torch.float64))
    bit = voltage * torch.where(cols, 0.0, torch.full_like(cols, on_bit, dtype=torch.float64))
    return Bias(word, bit, rows, cols, scheme == "floating")


def solve_bias(current: Law, wires: Wires, lines: Bias) -> NonlinearSolution:
    """Solve an array of any cells under a bias, with its wires (see ``solve_nonlinear``).

    Args:
        current: the law of all cells.
        wires: line resistances and which ends are used.
        lines: the bias.

    Raises:
        NotConvergedError: naming the selections that did not converge.
        ValueError: as for ``solve_nonlinear``.
        TypeError: likewise.
    """
    instance("lines", lines, Bias)
    return solve_nonlinear(
        current,
        (lines.word.shape[-1], lines.bit.shape[-1]),
        wires,
        lines.word,
        sink=lines.bit,
        floating_words=~lines.selected_rows if lines.floating else None,
        floating_bits=~lines.selected_cols if lines.floating else None,
    )


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
    first: Tensor | None = None
    for _ in range(pulses * parts):
        over = _over_cells(cells, lines, wires or Wires(), selector)
        first = over if first is None else first
        cells.apply_pulse(over, duration / parts)
    assert first is not None
    alone = lines.selected_rows[:, None] & lines.selected_cols[None, :]
    return Disturb(before, cells.conductance().clone(), first, alone)


def _over_cells(
    cells: Population, lines: Bias, wires: Wires, selector: Callable[[Tensor], Tensor] | None
) -> Tensor:
    law = cells.current if selector is None else InSeries(cells.current, selector)
    if wires.ideal and not lines.floating:
        over = lines.ideal_voltages.to(cells.conductance().device)
    else:
        over = solve_bias(law, wires, lines).cell_voltages
    return law.cell_share(over) if isinstance(law, InSeries) else over


def _selected(name: str, which: Selection, size: int) -> Tensor:
    instance(name, which, (int, Tensor))
    if isinstance(which, bool):
        raise TypeError(f"{name} must be an integer or a tensor, got {which!r}")
    if isinstance(which, int):
        which = torch.tensor(which)
    if which.dtype == torch.bool:
        if which.ndim == 0 or which.shape[-1] != size or not bool(which.any(-1).all()):
            raise ValueError(
                f"{name} must select at least one of {size} lines, bool [..., {size}], "
                f"got {list(which.shape)}"
            )
        return which
    if which.dtype.is_floating_point or which.ndim > 1:
        raise TypeError(f"{name} must be an integer, integers [vectors] or bool, got {which!r}")
    if which.numel() == 0 or int(which.min()) < 0 or int(which.max()) >= size:
        raise ValueError(f"{name} must be in 0…{size - 1}, got {which.tolist()}")
    return torch.arange(size, device=which.device) == which[..., None]
