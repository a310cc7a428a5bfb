"""What programming a crossbar did."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mho.cells.programming import Programming, Written
from mho.core.text import quantity
from mho.crossbar.tiling import Tiling


@dataclass(frozen=True, eq=False, repr=False)
class ProgramReport:
    """What was asked of the cells, what they hold, and what it took.

    Attributes:
        target: conductances asked for ``[slices, rows, cols]`` (S).
        achieved: conductances stored, of the same shape (S).
        relative_error: ``‖achieved weight - target weight‖ / ‖target weight‖`` (Frobenius).
        stuck: fraction of cells that cannot be programmed.
        written: pulses, time, energy and failures, as far as the policy knows them.
        programming: the policy.
        tiling: which physical arrays the cells lie on.
    """

    target: Tensor
    achieved: Tensor
    relative_error: float
    stuck: float
    written: Written = field(default_factory=Written)
    programming: Programming | None = None
    tiling: Tiling | None = None

    @property
    def pulses(self) -> int:
        """Pulses that all cells together received."""
        given = self.written.pulses
        if isinstance(given, Tensor) and given.dim():
            return int(given.sum())
        return int(given) * self.target.numel()

    @property
    def seconds(self) -> float | None:
        """Duration of programming (s); None where it is not known."""
        return self.written.seconds

    @property
    def energy(self) -> float | None:
        """Energy dissipated in the cells (J); None where it is not known."""
        return self.written.energy

    @property
    def failed(self) -> int | None:
        """Cells found not to hold what they should; None where nobody looked."""
        return None if self.written.failed is None else int(torch.sum(self.written.failed))

    def __str__(self) -> str:
        slices, rows, cols = self.target.shape
        text = (
            f"{slices} × {rows} × {cols} cells programmed: relative weight error "
            f"{self.relative_error:.3g}, {self.stuck:.2%} of the cells stuck"
        )
        known = [f"{self.pulses:,} pulses"]
        known += [] if self.seconds is None else [quantity(self.seconds, "s", zero="0 s")]
        known += [] if self.energy is None else [quantity(self.energy, "J", zero="0 J")]
        known += [] if self.failed is None else [f"{self.failed:,} cells failed"]
        return f"{text}; {', '.join(known)}"

    __repr__ = __str__
