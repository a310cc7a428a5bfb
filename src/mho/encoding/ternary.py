"""Ternary weights: -1, 0 and +1 on differential pairs of two-state cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.core import checks
from mho.encoding.binary import check_two_states
from mho.encoding.compared import LEAST_RATIO, refuse_currents, trit_of
from mho.encoding.differential import Differential, pair


@dataclass(frozen=True)
class Ternary(Differential):
    """``weight ≈ scale · {-1, 0, +1}``, rounded as ternary weight networks do.

    A weight is zero if its magnitude is below ``threshold`` times the mean magnitude; the scale
    is the mean magnitude of the others. Weights that are ternary already are kept exactly. The
    gradient is straight through.

    With ``compared`` a sense amplifier compares the two cells of each pair, and its trit is
    multiplied and added in digital logic: a pair counts where its cells differ by more than 3 to
    1, so that errors of cells matter only where they cross that line.

    Attributes:
        scaling: only its ``per_column`` counts; the percentile must be 100.
        subtract: as for `Differential`.
        threshold: >= 0, in units of the mean magnitude.
        compared: see above; hardware with an ADC, an amplifier, wires or read noise is refused,
            and a window of less than 3 to 1, or from 0 S, where a zero has no ratio.

    Sources: F. Li, B. Liu, 2016, arXiv:1605.04711; A. Laborieux et al., AICAS 2020, doi
    10.1109/AICAS48895.2020.9073877 (compared pairs; the line at 3 to 1 is this package's own).
    """

    threshold: float = 0.7
    compared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("threshold", self.threshold, least=0.0)
        check_two_states(self, self.compared)

    def refuse(self, hardware: Any) -> None:
        """See `Encoding.refuse`."""
        if not self.compared:
            return
        refuse_currents("Ternary", hardware)
        low, high = hardware.device.window
        if low <= 0.0:
            raise ValueError(
                "Ternary with compared=True tells pairs apart by the ratio of their cells, and a "
                f"zero is two cells at the window's lower end: it must be > 0 S, got {low:g} S"
            )
        if high < LEAST_RATIO * low:
            raise ValueError(
                f"Ternary with compared=True tells pairs apart whose cells are {LEAST_RATIO:g} to 1"
                f" or more, got a window of {high / low:.3g} to 1"
            )

    @property
    def states(self) -> int:
        """Two: a cell is at one end of the window or at the other."""
        return 2

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`."""
        magnitude = weight.detach().abs()
        dim = 0 if self.scaling.per_column else None
        mean = magnitude.mean(dim)
        kept = (magnitude > 0) & (magnitude >= self.threshold * mean)
        level = (magnitude * kept).sum(dim) / kept.sum(dim).clamp(min=1)
        level = torch.where(level > 0, level, torch.ones_like(level))
        trit = torch.sign(weight.detach()) * kept
        scale = level if self.compared else level / (g_max - g_min)
        g = pair(trit * (g_max - g_min), g_min)
        return self.straight_through(g, weight, scale), scale

    def converted(self, g: Tensor) -> Tensor:
        """See `Encoding.converted`: trits, where pairs are compared."""
        return trit_of(g) if self.compared else super().converted(g)
