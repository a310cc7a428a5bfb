"""Overlap and add (col2im): where the kernel taps of pixels fall in an output."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Spread(NamedTuple):
    """How each pixel of an image of any number of dimensions spreads over the output."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def whole(self, size: tuple[int, ...]) -> list[int]:
        """Size of the output before anything is cut off it."""
        sides = zip(size, self.kernel, self.stride, self.dilation, strict=True)
        return [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in sides]

    def add(self, columns: Tensor) -> Tensor:
        """Add up overlapping taps.

        Args:
            columns: what every pixel gives to every channel at every tap,
                ``[batch, *size, channels · Π kernel]``.

        Returns:
            ``[batch, channels, *whole]``.
        """
        size = tuple(columns.shape[1:-1])
        whole = self.whole(size)
        if len(size) == 1:
            laid = columns.transpose(1, 2)
            return self._fold(laid, slice(0, 1), (whole[0], 1), padded=True).squeeze(-1)
        if len(size) == 2:
            laid = columns.flatten(1, 2).transpose(1, 2)
            return self._fold(laid, slice(0, 2), (whole[0], whole[1]))
        # Depth is one more image dimension: first the planes, then one over another.
        batch, deep = columns.shape[0], size[0]
        laid = columns.flatten(2, 3).flatten(0, 1).transpose(1, 2)
        planes = self._fold(laid, slice(1, 3), (whole[1], whole[2])).flatten(2)
        planes = planes.unflatten(0, (batch, deep)).transpose(1, 2)  # [batch, channels · kd, …]
        found = self._fold(
            planes.flatten(2), slice(0, 1), (whole[0], whole[1] * whole[2]), padded=True
        )
        return found.unflatten(-1, (whole[1], whole[2]))

    def _fold(
        self, laid: Tensor, dims: slice, out: tuple[int, int], *, padded: bool = False
    ) -> Tensor:
        """Fold ``[batch, channels · taps, places]`` over one (``padded``) or two dimensions."""
        more = (1,) if padded else ()
        found: Tensor = F.fold(
            laid,
            out,
            self.kernel[dims] + more,
            stride=self.stride[dims] + more,
            dilation=self.dilation[dims] + more,
        )
        return found

    @property
    def taps(self) -> int:
        """Weights of a kernel."""
        return math.prod(self.kernel)
