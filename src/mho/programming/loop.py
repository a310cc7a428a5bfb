"""Write–verify: pulses and reads until every cell holds its target or is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.circuit.half_select import as_arrays
from mho.core import checks, notice
from mho.devices.switching_cells import SwitchingCells
from mho.programming import access
from mho.programming.controller import Controller, Orders
from mho.programming.passive import PassiveWriter
from mho.programming.report import (
    MISREAD,
    OUT_OF_PULSES,
    OUT_OF_WINDOW,
    REACHED,
    STUCK,
    ProgrammingError,
    WriteReport,
)
from mho.programming.writers import CountWriter, VoltageWriter

if TYPE_CHECKING:
    from mho.programming.scheme import WriteVerify

# Reads are compared with tolerances at the precision conductances are stored with.
_SLACK = 1e-6


class Run:
    """One write–verify.

    Args:
        cells: as they are now; they are changed.
        target: conductances (S), of the population's shape.
        scheme: what to do.
        select: mask of the cells to program; all if not given.
        generator: of read noise.
    """

    def __init__(
        self,
        cells: Any,
        target: Tensor,
        scheme: WriteVerify,
        select: Tensor | None,
        generator: torch.Generator | None,
    ) -> None:
        self.cells, self.target, self.scheme = cells, target, scheme
        every = torch.ones_like(target, dtype=torch.bool)
        self.selected = every if select is None else _mask("select", select, target)
        self.tolerance = self._tolerance()
        g_min, g_max = cells.spec.window
        self.noise = scheme.read_noise * (g_max - g_min)
        self.generator = generator
        self.writer: VoltageWriter | CountWriter = (
            VoltageWriter(cells) if isinstance(cells, SwitchingCells) else CountWriter(cells)
        )
        self.time = self.energy = self.half_selected = self.read_energy = 0.0

    def _tolerance(self) -> Tensor:
        scheme, (g_min, g_max) = self.scheme, self.cells.spec.window
        if scheme.relative_to == "window":
            return torch.full_like(self.target, scheme.tolerance * (g_max - g_min) * (1 + _SLACK))
        if bool((self.selected & (self.target == 0.0)).any()):
            raise ValueError(
                'target must be > 0 S where the tolerance is relative to it: no cell is "within '
                f'{scheme.tolerance:g}" of nothing'
            )
        return self.target * scheme.tolerance * (1 + _SLACK)

    def go(self) -> WriteReport:
        """Work round after round; see `write_verify`."""
        control = Controller(self.scheme, self.target, self.tolerance, self.selected, self.noise)
        history = [self._reached()]
        for _ in range(self.scheme.max_pulses):
            orders = control.next(self._read(control))
            if not bool(orders.active.any()):
                break
            self._pulse(orders)
            history.append(self._reached())
        else:
            control.next(self._read(control))  # the last pulses are verified too
        report = self._report(control, history)
        self._complain(report)
        return report

    def _read(self, control: Controller) -> Tensor:
        """Verify: read all cells that may still need pulses (S)."""
        g = self.writer.conductance()
        scheme, looked_at = self.scheme, self.selected & ~control.stuck
        if scheme.access == "1T1R":
            looked_at = looked_at & ~control.accepted
        self.time += access.serial(looked_at, scheme.order) * scheme.read_time
        if scheme.read_voltage and scheme.read_time:
            power = scheme.read_voltage * self.writer.current(scheme.read_voltage)
            self.read_energy += _sum(power * scheme.read_time, looked_at)
        if self.noise:
            g = g + self.noise * torch.empty_like(g).normal_(generator=self.generator)
        return g

    def _pulse(self, orders: Orders) -> None:
        for way, schedule in (
            (orders.up, self.scheme.set_pulses),
            (~orders.up, self.scheme.reset_pulses),
        ):
            chosen = orders.active & way
            pause = schedule.width + self.scheme.refractory
            if isinstance(self.writer, CountWriter):
                self.energy += _sum(self.writer.train(orders, chosen, self.scheme))
                self.time += pause * _longest(orders.count, chosen, self.scheme.order)
                continue
            self.time += pause * access.serial(chosen, self.scheme.order)
            volts = self.writer.voltages(orders, chosen)
            if self.scheme.access == "1T1R":  # no group disturbs another: all in one
                if bool(chosen.any()):
                    self.energy += _sum(self.writer.pulse(volts, schedule.width))
                continue
            joules, half_selected = PassiveWriter(self.writer, self.scheme).pulse(
                chosen, volts, schedule.width
            )
            self.energy += joules
            self.half_selected += half_selected

    def _reached(self) -> float:
        good = (self.writer.conductance() - self.target).abs() <= self.tolerance
        return float((good & self.selected).sum()) / max(int(self.selected.sum()), 1)

    def _report(self, control: Controller, history: list[float]) -> WriteReport:
        g = self.writer.conductance()
        failed = self.selected & ((g - self.target).abs() > self.tolerance)
        near = self.cells.spec.reach(self.target, self.cells.parameters_drawn())
        beyond = (near - self.target).abs() > self.tolerance
        stuck = self.cells.stuck
        if stuck is not None:
            beyond = beyond & ~stuck
        reason = torch.full_like(self.target, OUT_OF_PULSES, dtype=torch.int8)
        reason[control.accepted] = MISREAD
        reason[control.stuck] = STUCK
        reason[beyond] = OUT_OF_WINDOW
        reason[~failed] = REACHED
        return WriteReport(
            scheme=self.scheme,
            selected=self.selected,
            target=self.target,
            achieved=g.clone(),
            tolerance=self.tolerance,
            pulses=control.pulses,
            reason=reason,
            history=tuple(history),
            time=self.time,
            energy=self.energy,
            half_selected_energy=self.half_selected,
            read_energy=self.read_energy,
        )

    def _complain(self, report: WriteReport) -> None:
        if self.scheme.on_failure == "raise" and report.reasons:
            raise ProgrammingError(report)
        if self.scheme.on_failure == "warn" and "out of pulses" in report.reasons:
            notice.warn(f"write–verify did not converge:\n{report}", RuntimeWarning)


def _sum(values: Tensor, mask: Tensor | None = None) -> float:
    if mask is not None:
        values = torch.where(mask, values, 0.0)
    return float(values.sum(dtype=torch.float64))


def _longest(count: Tensor, chosen: Tensor, order: str) -> int:
    """Return how many pulses come one after the other: the longest train of each group."""
    given = as_arrays(torch.where(chosen, count, 0))
    if order == "all":
        return int(given.max()) if given.numel() else 0
    return int((given.amax(2) if order == "row" else given).amax(0).sum())


def _mask(name: str, mask: Tensor, like: Tensor) -> Tensor:
    checks.shape(name, mask, tuple(like.shape))
    if mask.dtype != torch.bool:
        raise TypeError(f"{name} must be a mask (torch.bool), got {mask.dtype}")
    return mask.to(like.device)
