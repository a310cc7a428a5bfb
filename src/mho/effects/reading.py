"""Effects of reading: noise that is new at every read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mho import checks
from mho.behaviour import Context
from mho.effects.base import ReadingEffect
from mho.effects.programming import REFERENCES


@dataclass(frozen=True)
class ReadNoise(ReadingEffect):
    """White Gaussian conductance noise, independent per cell and per read.

    It is drawn where it is exact and cheap: at the bit lines, with variance ``Σ_i v_i² σ²(G_ij)``.

    Attributes:
        sigma: relative standard deviation, >= 0.
        relative_to: ``"range"`` (of ``g_max - g_min``) or ``"value"`` (of each conductance).
    """

    sigma: float
    relative_to: str = "range"

    def __post_init__(self) -> None:
        checks.number("ReadNoise sigma", self.sigma, least=0.0)
        checks.one_of("relative_to", self.relative_to, REFERENCES)

    def read_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Standard deviation (S) per cell: one number, or one per cell."""
        if self.relative_to == "value":
            return g * self.sigma
        return self.sigma * context.g_range
