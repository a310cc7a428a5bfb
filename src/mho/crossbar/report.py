"""What programming a crossbar did."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mho.cells.life import Broken
from mho.cells.population import Cells
from mho.cells.programming import Programming, Written
from mho.core.text import quantity
from mho.crossbar.tiling import Tiling
from mho.hardware import Hardware


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked of the cells of a crossbar.

    Attributes:
        weight: the weights ``[groups · rows, cols]``, a copy in their own dtype.
        hardware: what the crossbar is made of.
        groups: how many matrices lie side by side.
        broken: the cells that were broken before.
    """

    weight: Tensor
    hardware: Hardware
    groups: int
    broken: Broken | None

    def target(self, like: Tensor) -> Tensor:
        """Return the conductances asked for (S), in the dtype of ``like``."""
        encoding, window = self.hardware.encoding, self.hardware.device.window
        target, _ = encoding.encode(self.weight.to(like), *window)
        if not encoding.defect_aware:
            return target
        stuck, stuck_g = (None, None) if self.broken is None else self.broken.dense(target)
        found, _ = encoding.suit(target, stuck, stuck_g, self.groups, *window)
        return found


@dataclass(frozen=True, eq=False, repr=False)
class ProgramReport:
    """What was asked of the cells, what they hold, and what it took.

    It keeps one matrix, the weights; of the cells, which it shares with the crossbar until one of
    the two changes, only what has changed since.

    Attributes:
        asked: the weights, and what their conductances follow from.
        cells: the population as it was programmed.
        relative_error: ``‖achieved weight - target weight‖ / ‖target weight‖`` (Frobenius).
        stuck: fraction of cells that cannot be programmed.
        written: pulses, time, energy and failures, as far as the policy knows them.
        programming: the policy.
        tiling: which physical arrays the cells lie on.
    """

    asked: Asked
    cells: Cells
    relative_error: float
    stuck: float
    written: Written = field(default_factory=Written)
    programming: Programming | None = None
    tiling: Tiling | None = None

    @property
    @torch.no_grad()
    def target(self) -> Tensor:
        """Conductances asked for ``[slices, groups · rows, physical cols]`` (S)."""
        return self.asked.target(self.cells.like)

    @property
    @torch.no_grad()
    def achieved(self) -> Tensor:
        """Conductances stored, shaped as ``target`` (S)."""
        return self.cells.g.clone()

    @property
    def pulses(self) -> int:
        """Pulses that all cells together received."""
        given = self.written.pulses
        if isinstance(given, Tensor) and given.dim():
            return int(given.sum())
        return int(given) * self.cells.like.numel()

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
        slices, rows, cols = self.cells.shape
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
