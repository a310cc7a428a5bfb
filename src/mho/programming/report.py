"""What a write–verify did: to every cell, and in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.cells.programming import Round
from mho.core.text import quantity

if TYPE_CHECKING:
    from mho.programming.scheme import WriteVerify


REACHED, OUT_OF_WINDOW, STUCK, OUT_OF_PULSES, MISREAD = range(5)
REASONS = ("reached", "out of window", "stuck", "out of pulses", "misread")
_NAMED_CELLS = 5


class ProgrammingError(RuntimeError):
    """Some cells do not hold what they should, and the scheme says ``on_failure="raise"``.

    Attributes:
        report: what was done all the same.
    """

    def __init__(self, report: WriteReport, name: str = "") -> None:
        super().__init__(f"{name}: {report}" if name else str(report))
        self.report = report


@dataclass(frozen=True, eq=False)
class WriteReport:
    """What was asked of the cells, what they hold and what it took.

    All tensors are of the population's shape.

    Attributes:
        scheme: how they were programmed.
        selected: cells that were to be programmed.
        target: conductances asked for (S).
        achieved: conductances now (S), true ones (not as a noisy read sees them).
        tolerance: largest error allowed (S), one per cell.
        pulses: pulses each cell was given (int64; half-selected ones are not counted).
        reason: why a cell failed (int8): an index into ``REASONS``, 0 where it did not.
            ``out of window``: the target is beyond what this cell can hold; ``stuck``: it did
            not move any more (in a passive array, perhaps because neighbours' pulses undid its
            own); ``out of pulses``: it did not converge; ``misread``: a noisy read
            took it for reached.
        history: fraction of the selected cells truly within tolerance, before the first round
            and after each round.
        time: of programming (s), verify reads included.
        energy: dissipated in the cells by all pulses (J), half-selected cells included.
        half_selected_energy: of it, in cells that were not selected (J).
        read_energy: dissipated in the cells by verify reads (J).
        reads: readings of bit lines by all verify reads: of one cell, or of one code pattern.
        rounds_given: the pulses of every round, in order, where the scheme records them.
    """

    scheme: WriteVerify
    selected: Tensor
    target: Tensor
    achieved: Tensor
    tolerance: Tensor
    pulses: Tensor
    reason: Tensor
    history: tuple[float, ...]
    time: float
    energy: float
    half_selected_energy: float
    read_energy: float
    reads: int
    rounds_given: tuple[Round, ...] | None = None

    @property
    def error(self) -> Tensor:
        """``achieved - target`` (S)."""
        return self.achieved - self.target

    @property
    def failed(self) -> Tensor:
        """Mask of the selected cells that do not hold their target within tolerance."""
        return self.reason != REACHED

    @property
    def rounds(self) -> int:
        """How many rounds gave pulses."""
        return len(self.history) - 1

    @property
    def reasons(self) -> dict[str, int]:
        """How many cells failed for each reason that occurred."""
        counts = torch.bincount(self.reason.flatten().long(), minlength=len(REASONS)).tolist()
        return {name: n for name, n in zip(REASONS, counts, strict=True) if n and name != "reached"}

    def cells(self, reason: str) -> list[tuple[int, ...]]:
        """Return the indices of the cells that failed for a reason (or ``"reached"``).

        Raises:
            ValueError: if there is no such reason.
        """
        if reason not in REASONS:
            raise ValueError(f"reason must be one of {', '.join(REASONS)}; got {reason!r}")
        found = (self.reason == REASONS.index(reason)) & self.selected
        return [tuple(index) for index in found.nonzero().tolist()]

    def __str__(self) -> str:
        scheme, chosen = self.scheme, int(self.selected.sum())
        good = chosen - int(self.failed.sum())
        way = f"{scheme.access}, {scheme.order}" + (
            f", {scheme.bias}" if scheme.access == "1R" else ""
        )
        pulses = self.pulses[self.selected].double()
        mean, most = (float(pulses.mean()), int(pulses.max())) if chosen else (0.0, 0)
        lines = [
            f"{good:,} of {chosen:,} cells within {scheme.tolerance:.3g} of their "
            f"{scheme.relative_to} ({way})",
            f"{mean:.1f} pulses a cell (most {most}), {self.rounds} rounds, "
            f"{quantity(self.time, 's', zero='0 s')}, "
            f"{quantity(self.energy, 'J', zero='0 J')} in pulses and "
            f"{quantity(self.read_energy, 'J', zero='0 J')} in {self.reads:,} reads",
        ]
        for reason, count in self.reasons.items():
            first = ", ".join(str(list(i)) for i in self.cells(reason)[:_NAMED_CELLS])
            more = ", …" if count > _NAMED_CELLS else ""
            lines.append(f"failed, {reason}: {count:,} (at {first}{more})")
        return "\n".join(lines)
