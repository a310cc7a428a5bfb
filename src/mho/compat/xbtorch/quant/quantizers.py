"""Fixed-point numbers with straight-through gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mho.compat._common import seed, truth
from mho.compat.xbtorch._numbers import integral
from mho.core import random
from mho.periphery.formats import FixedPoint

__all__ = ["FixedPointQuantF", "fixed_point_quantize_wrapper", "get_range_fixed_point"]


class Word(FixedPoint):
    """mho's fixed-point number, with QPyTorch's names ``wl`` and ``fl`` of its bits."""

    @property
    def wl(self) -> int:
        """Bits of a word, sign included."""
        return self.word

    @property
    def fl(self) -> int:
        """Bits behind the point."""
        return self.fraction

    def bounds(self) -> tuple[float, float] | None:
        """Return the ends beyond which no gradient comes through: those of the range."""
        return self.range if self.clamp else None

    def rounded(self, x: Tensor) -> Tensor:
        """Round, stochastically as torch's global generator says."""
        return self(x, random.stream(seed()) if self.stochastic else None)


def word(
    wl: Any, fl: Any, symmetric: Any = True, rounding: str = "nearest", **options: Any
) -> Word:
    """Return a number format, of bits however they are given."""
    made: Any = {"symmetric": truth("symmetric", symmetric), "rounding": rounding, **options}
    return Word(integral(wl), integral(fl), **made)


def fixed_point_quantize(
    x: Tensor,
    wl: int,
    fl: int,
    clamp: bool = True,
    symmetric: bool = False,
    rounding: str = "nearest",
) -> Tensor:
    """Round to integers of ``wl`` bits times ``2^-fl``, without gradient.

    Args:
        x: floating point, any shape.
        wl: bits of a word, sign included.
        fl: bits behind the point.
        clamp: clip to the range of the word.
        symmetric: leave the lowest number out.
        rounding: ``"nearest"`` or ``"stochastic"``.
    """
    clamp = truth("clamp", clamp)
    return word(wl, fl, symmetric, rounding=rounding, clamp=clamp).rounded(x.detach())


class FixedPointQuantF(torch.autograd.Function):
    """Fixed-point rounding whose gradient passes unchanged."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, wl: int, fl: int, symmetric: bool = True, rounding: str = "nearest"
    ) -> Tensor:
        """Round; see `fixed_point_quantize`."""
        return word(wl, fl, symmetric, rounding=rounding).rounded(input.detach())

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        """Pass the gradient on."""
        return grad_output, None, None, None, None


def fixed_point_quantize_wrapper(
    input: Tensor, wl: int, fl: int, symmetric: bool = True, rounding: str = "nearest"
) -> Tensor:
    """Round, see `fixed_point_quantize`; the gradient passes unchanged."""
    rounded: Tensor = FixedPointQuantF.apply(input, wl, fl, symmetric, rounding)
    return rounded


def get_range_fixed_point(num_format: Any) -> tuple[float, float]:
    """Return the lowest and highest number of a format: anything with wl, fl and symmetric."""
    return word(num_format.wl, num_format.fl, num_format.symmetric).range
