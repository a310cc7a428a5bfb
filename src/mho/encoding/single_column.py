"""Single columns: signed weights on one cell each, against shared offset columns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.encoding.base import Encoding


@dataclass(frozen=True)
class SingleColumn(Encoding):
    """``weight = scale · (G - G_ref)``: one cell a weight, and an offset column for many.

    An offset column is a real column of cells at mid-window beside the others: it is stuck,
    noisy and drifting like them, is converted like them, and is subtracted digitally. Its errors
    are common to all outputs that share it; one for a few outputs costs columns, and does not lie
    in another tile than they do where ``group + 1`` divides the columns of an array.

    Attributes:
        scaling: which weight fills the range.
        group: outputs that share an offset column, >= 1: it stands after each group of so many
            (the last may be smaller). None: one after all outputs of the layer.
    """

    group: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group is not None:
            checks.integer("SingleColumn group", self.group)

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        """Every column has its own converter."""
        return ((1.0,),)

    def physical_cols(self, cols: int) -> int:
        """The outputs' columns and the offset columns."""
        return cols + (1 if self.group is None else -(-cols // self.group))

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`."""
        clipped, limit = self.fit(weight)
        half = 0.5 * (g_max - g_min)
        scale = limit / half
        # In this order no rounding can leave the window.
        data = (clipped / limit + 1.0) * half + g_min
        g = torch.cat(
            [
                torch.cat((part, torch.full_like(part[:, :1], half + g_min)), dim=1)
                for part in self._groups(data)
            ],
            dim=1,
        )
        return g.unsqueeze(0), scale

    def outputs(self, result: Tensor) -> Tensor:
        """Subtract each offset column from the columns that share it."""
        return self._with_offset(result, -1.0)

    def touched(self, count: Tensor) -> Tensor:
        """See `Encoding.touched`: an offset column's cells belong to all that share it."""
        return self._with_offset(count, 1.0)

    def drive_columns(self, x: Tensor) -> Tensor:
        """Drive each offset column with minus the sum of its outputs' inputs."""
        parts = [(part, -part.sum(-1, keepdim=True)) for part in self._groups(x)]
        return torch.cat([both for pair in parts for both in pair], dim=-1)

    def _with_offset(self, lines: Tensor, sign: float) -> Tensor:
        """Add the offset column times ``sign``: from ``[…, physical cols]`` to ``[…, cols]``."""
        if self.group is None:
            return torch.add(lines[..., :-1], lines[..., -1:], alpha=sign)
        width = self.group + 1
        whole = lines.shape[-1] // width * width
        blocks = [lines[..., :whole].unflatten(-1, (-1, width)), lines[..., None, whole:]]
        return torch.cat(
            [torch.add(b[..., :-1], b[..., -1:], alpha=sign).flatten(-2) for b in blocks], dim=-1
        )

    def _groups(self, values: Tensor) -> tuple[Tensor, ...]:
        """Cut ``[…, cols]`` into what shares an offset column."""
        return (values,) if self.group is None else values.split(self.group, dim=-1)
