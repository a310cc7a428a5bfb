"""WAGE quantisation as in QPyTorch's example, on `mho.train.wage`.

Bits of -1 round nothing; modes of rounding are ``"nearest"`` and ``"stochastic"``.
"""

# ruff: noqa: N802
from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from mho.compat.xbtorch._numbers import integral
from mho.compat.xbtorch.quant.quantizers import Word, word
from mho.train.quantised import wage
from mho.train.quantised.layers import Rounding

__all__ = ["QG", "QW", "C", "WAGEQuantizer", "shift"]


def shift(x: Tensor) -> Tensor:
    """Divide by the power of two not below the largest magnitude; zeros stay zeros."""
    return x / wage.shift(wage.peak(x.detach()), "ceil")


def C(x: Tensor, bits: int) -> Tensor:
    """Clip to what bits can say, ``±(1 - 2^(1 - bits))``; 1, and more than 15, clip to ±1."""
    return x if bits == -1 else wage.clip(x, integral(bits))


def QW(x: Tensor, bits: int, scale: float = 1.0, mode: str = "nearest") -> Tensor:
    """Round weights to ``bits`` bits, and divide by the layer's scale if that is above 1.8."""
    if bits == -1:
        return x
    y = word(bits, bits - 1, rounding=mode).rounded(x.detach())
    return y / float(scale) if scale > 1.8 else y


def QG(x: Tensor, bits_G: int, lr: float, mode: str = "nearest") -> Tensor:
    """Return the step that a gradient stands for, in multiples of ``2^(1 - bits_G)``.

    The learning rate is in these multiples, for the largest entries of a gradient.
    """
    return rounded_step(per_step(x, bits_G) * float(lr), bits_G, mode)


def per_step(x: Tensor, bits: int) -> Tensor:
    """Return a gradient in steps of the weights, for a learning rate of 1."""
    return x if bits == -1 else shift(x) / 2.0 ** (float(bits) - 1)


def rounded_step(step: Tensor, bits: int, mode: str) -> Tensor:
    """Return a change of weights in whole steps."""
    if bits == -1:
        return step
    return word(bits, bits - 1, rounding=mode, clamp=False).rounded(step.detach())


def _quantised(x: Tensor, activations: Word | None, errors: Rounding) -> Tensor:
    # Of errors the rounding comes first, then what is clipped forward stops them.
    rounded: Tensor = errors(x if activations is None else activations.rounded(x))
    return rounded


def _error(x: Tensor, number: Word) -> Tensor:
    return number.rounded(shift(x))


class WAGEQuantizer(nn.Module):
    """Rounds activations on their way forward, and errors on their way back.

    Errors are first divided by a power of two (`shift`). Where an activation was clipped, no
    error comes through.

    Args:
        bits_A, A_mode: bits and rounding of activations.
        bits_E, E_mode: bits and rounding of errors.

    Attributes:
        activate_number: number format of activations, or None.
        error_number: number format of errors, or None.
        quantizer: what `forward` calls.
    """

    def __init__(
        self, bits_A: int, bits_E: int, A_mode: str = "nearest", E_mode: str = "nearest"
    ) -> None:
        super().__init__()
        numbers = ((bits_A, A_mode), (bits_E, E_mode))
        self.activate_number, self.error_number = (
            None if bits == -1 else word(bits, bits - 1, rounding=mode) for bits, mode in numbers
        )
        errors = self.error_number and partial(_error, number=self.error_number)
        self.quantizer: Any = partial(
            _quantised, activations=self.activate_number, errors=Rounding(None, errors)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded activations."""
        rounded: Tensor = self.quantizer(x)
        return rounded

    def extra_repr(self) -> str:
        """Say which numbers there are."""
        return f"activations={self.activate_number}, errors={self.error_number}"
