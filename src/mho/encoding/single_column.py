"""Single columns: signed weights on one cell each, against a shared reference column."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.encoding.base import Encoding


@dataclass(frozen=True)
class SingleColumn(Encoding):
    """``weight = scale · (G - G_ref)``: one cell a weight, and one offset column for all.

    The offset column is a real column of cells at mid-window beside the others: it is stuck,
    noisy and drifting like them, is converted like them, and is subtracted digitally.
    """

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        """Every column has its own converter."""
        return ((1.0,),)

    def physical_cols(self, cols: int) -> int:
        """The outputs' columns and the offset column."""
        return cols + 1

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`."""
        clipped, limit = self.fit(weight)
        half = 0.5 * (g_max - g_min)
        scale = limit / half
        # In this order no rounding can leave the window.
        data = (clipped / limit + 1.0) * half + g_min
        reference = torch.full_like(data[:, :1], half + g_min)
        return torch.cat((data, reference), dim=1).unsqueeze(0), scale

    def outputs(self, result: Tensor) -> Tensor:
        """Subtract the offset column from all others."""
        return result[..., :-1] - result[..., -1:]

    def drive_columns(self, x: Tensor) -> Tensor:
        """Drive the offset column with minus the sum of all inputs."""
        return torch.cat((x, -x.sum(-1, keepdim=True)), dim=-1)
