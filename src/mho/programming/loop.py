"""Write–verify: pulses and reads until every cell holds its target or is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mho.core import checks, notice
from mho.programming.controller import Controller
from mho.programming.pulser import Pulser
from mho.programming.reading import Verifier
from mho.programming.report import (
    MISREAD,
    OUT_OF_PULSES,
    OUT_OF_WINDOW,
    REACHED,
    STUCK,
    ProgrammingError,
    WriteReport,
)

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
        name: of what is written, for warnings.
    """

    def __init__(
        self,
        cells: Any,
        target: Tensor,
        scheme: WriteVerify,
        select: Tensor | None,
        generator: torch.Generator | None,
        name: str = "",
    ) -> None:
        self.cells, self.target, self.scheme, self.name = cells, target, scheme, name
        every = torch.ones_like(target, dtype=torch.bool)
        self.selected = every if select is None else _mask("select", select, target)
        self.tolerance = self._tolerance()
        g_min, g_max = cells.spec.window
        self.verifier = Verifier(scheme, target, g_max - g_min, generator)
        self.pulser = Pulser(cells, scheme, record=scheme.record)
        self.writer = self.pulser.writer

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
        noise = self.verifier.noise
        # In a passive array an accepted cell can be disturbed again; elsewhere it is left alone.
        again = self.scheme.access == "1R"
        control = Controller(
            self.scheme, self.target, self.tolerance, self.selected, noise, again=again
        )
        history = [self._reached()]
        for _ in range(self.scheme.max_pulses):
            orders = control.next(self._read(control))
            if not bool(orders.active.any()):
                break
            self.pulser.give(orders)
            history.append(self._reached())
        else:
            given = control.pulses
            control.next(self._read(control))  # the last pulses are verified too
            control.pulses = given  # what it orders is given no more
        report = self._report(control, history)
        self._complain(report)
        return report

    def _read(self, control: Controller) -> Tensor:
        """Verify: read all cells that may still need pulses (S)."""
        wanted = self.selected & ~control.stuck
        if self.scheme.access == "1T1R":
            wanted = wanted & ~control.accepted
        return self.verifier.read(self.writer, wanted)

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
            time=self.pulser.time + self.verifier.time,
            energy=self.pulser.energy,
            half_selected_energy=self.pulser.half_selected,
            read_energy=self.verifier.energy,
            reads=self.verifier.reads,
            rounds_given=tuple(self.pulser.rounds) if self.scheme.record else None,
        )

    def _complain(self, report: WriteReport) -> None:
        if self.scheme.on_failure == "raise" and report.reasons:
            raise ProgrammingError(report, self.name)
        if self.scheme.on_failure == "warn" and "out of pulses" in report.reasons:
            of = f" of {self.name}" if self.name else ""
            notice.warn(f"write–verify{of} did not converge:\n{report}", RuntimeWarning)


def _mask(name: str, mask: Tensor, like: Tensor) -> Tensor:
    checks.shape(name, mask, tuple(like.shape))
    if mask.dtype != torch.bool:
        raise TypeError(f"{name} must be a mask (torch.bool), got {mask.dtype}")
    return mask.to(like.device)
