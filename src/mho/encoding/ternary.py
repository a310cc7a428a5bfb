"""Ternary weights: -1, 0 and +1 on differential pairs of two-state cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.encoding.differential import Differential, pair


@dataclass(frozen=True)
class Ternary(Differential):
    """``weight ≈ scale · {-1, 0, +1}``, rounded as ternary weight networks do.

    A weight is zero if its magnitude is below ``threshold`` times the mean magnitude; the scale
    is the mean magnitude of the others. Weights that are ternary already are kept exactly. The
    gradient is straight through.

    Attributes:
        scaling: only its ``per_column`` counts; the percentile must be 100.
        subtract: as for `Differential`.
        threshold: >= 0, in units of the mean magnitude.

    Source: F. Li, B. Liu, 2016, arXiv:1605.04711.
    """

    threshold: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("threshold", self.threshold, least=0.0)
        if self.scaling.percentile != 100.0:
            raise ValueError("Ternary finds its own scale: scaling.percentile must be 100")

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
        scale = level / (g_max - g_min)
        g = pair(trit * (g_max - g_min), g_min)
        return self.straight_through(g, weight, scale), scale
