"""Write–verify of a population of cells."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.cells.population import Cells
from mho.core import checks, random
from mho.devices.pulsed import PulsedCells
from mho.devices.switching_cells import SwitchingCells
from mho.programming.loop import Run
from mho.programming.report import WriteReport
from mho.programming.scheme import WriteVerify


@torch.no_grad()
def write_verify(
    cells: Cells,
    target: Tensor | float,
    scheme: WriteVerify | None = None,
    *,
    select: Tensor | None = None,
    seed: int = 0,
) -> WriteReport:
    """Program cells by write–verify, all of a population at once.

    Of a population ``[…, rows, cols]`` the last two dimensions are an array, all others count
    arrays with drivers of their own that are programmed side by side; a vector is one row. In
    each round all cells are verified, then pulsed group after group (`WriteVerify.order`). Cells
    within tolerance are not touched again, but by the half-select voltages of a passive array:
    there they are verified, and if need be programmed, anew. (Where a passive array is pulsed
    cell by cell, on ideal wires, the pulses of one amplitude in a round are taken together, each
    cell's own before those that half-select it. On wires with resistance the circuit is solved
    with the cells as they are before a round's pulses of one polarity: before those of one row,
    where cells are pulsed one by one.)

    The time is that of the longest array: per round and group one read, and one pulse (the
    longest train) with its pause for each polarity that occurs.

    Args:
        cells: voltage-driven or pulse-count cells, as they are now; they are changed. Broken ones
            answer to nothing, and the controller does not know of them.
        target: conductances (S), of (or broadcast to) the population's shape.
        scheme: what to do; `WriteVerify.for_device` if not given.
        select: mask of the cells to program; all if not given. The others see half-selection.
        seed: of read noise. (What is random in the cells comes from their own seed.)

    Returns:
        What was done and which cells failed.

    Raises:
        TypeError, ValueError: if an argument is refused; the cells are then unchanged.
        ProgrammingError: if cells failed and the scheme says to raise.

    Warns:
        RuntimeWarning: if cells did not converge and the scheme says to warn.
    """
    if not isinstance(cells, (SwitchingCells, PulsedCells)):
        found = type(getattr(cells, "spec", cells)).__name__
        raise TypeError(f"cells must be voltage-driven or pulse-count cells, got those of {found}")
    if scheme is None:
        scheme = WriteVerify.for_device(cells.spec)
    checks.instance("scheme", scheme, WriteVerify)
    scheme.check(cells.spec)
    generator = random.generator(seed, cells.g.device)
    run = Run(cells, _targets(target, cells), scheme.fitted(cells.spec), select, generator)
    report = run.go()
    if isinstance(cells, SwitchingCells):  # cells written by counts have counted for themselves
        cells.count(report.pulses)
    return report


def _targets(target: Tensor | float, cells: Cells) -> Tensor:
    target = checks.one_each("target", target, cells.conductance())
    if target.numel() and float(target.min()) < 0.0:
        raise ValueError(f"target must be >= 0 S, got {float(target.min())!r}")
    return target.detach().clone()
