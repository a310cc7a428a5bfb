"""WAGE quantisation as in QPyTorch's example, on `mho.train.wage`."""

# ruff: noqa: N802
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mho.compat.xbtorch._seeds import seed
from mho.compat.xbtorch.quant.quantizers import fixed_point_quantize
from mho.core import random
from mho.periphery.formats import FixedPoint
from mho.train.quantised import wage


def shift(x: Tensor) -> Tensor:
    """Divide by the power of two not below the largest magnitude; zeros stay zeros.

    Args:
        x: any shape.
    """
    largest = x.detach().abs().amax() if x.numel() else x.new_ones(())
    return x / wage.shift(largest, "ceil")


def C(x: Tensor, bits: int) -> Tensor:
    """Clip to what ``bits`` bits can say, ``±(1 - 2^(1 - bits))``.

    Args:
        x: any shape.
        bits: 1, and more than 15, clip to ±1.
    """
    return wage.clip(x, bits)


def QW(x: Tensor, bits: int, scale: float = 1.0, mode: str = "nearest") -> Tensor:
    """Round weights to ``bits`` bits, and divide by the layer's scale if that is above 1.8.

    Args:
        x: any shape.
        bits: of a weight.
        scale: of the layer.
        mode: ``"nearest"`` or ``"stochastic"``.
    """
    y = fixed_point_quantize(x, bits, bits - 1, symmetric=True, rounding=mode)
    return y / scale if scale > 1.8 else y


def QG(x: Tensor, bits_G: int, lr: float, mode: str = "nearest") -> Tensor:
    """Return the step of weights that a gradient stands for: in multiples of ``2^(1 - bits_G)``.

    Args:
        x: a gradient.
        bits_G: of a gradient.
        lr: learning rate, in steps.
        mode: ``"nearest"`` or ``"stochastic"``.
    """
    step = shift(x) * (lr / 2.0 ** (bits_G - 1))
    return fixed_point_quantize(
        step, bits_G, bits_G - 1, clamp=False, symmetric=True, rounding=mode
    )


class _Quantised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, forward: FixedPoint | None, backward: FixedPoint | None
    ) -> Tensor:
        ctx.forward_number, ctx.number = forward, backward
        if forward is not None:
            ctx.save_for_backward(x)
            return forward(x.detach(), _stream(forward))
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad = grads[0]
        if ctx.number is not None:
            grad = ctx.number(shift(grad), _stream(ctx.number))
        if ctx.forward_number is not None:
            low, high = ctx.forward_number.range
            (x,) = ctx.saved_tensors
            grad = grad.masked_fill((x < low) | (x > high), 0.0)
        return grad, None, None


def _stream(number: FixedPoint) -> Tensor | None:
    return random.stream(seed()) if number.stochastic else None


class WAGEQuantizer(nn.Module):
    """Rounds activations on their way forward, and errors on their way back.

    Errors are first divided by a power of two (`shift`). Where an activation was clipped, no
    error comes through.

    Args:
        bits_A: of activations; -1 leaves them.
        bits_E: of errors; -1 leaves them.
        A_mode: rounding of activations, ``"nearest"`` or ``"stochastic"``.
        E_mode: rounding of errors.
    """

    def __init__(
        self, bits_A: int, bits_E: int, A_mode: str = "nearest", E_mode: str = "nearest"
    ) -> None:
        super().__init__()
        self.activate_number = _number(bits_A, A_mode)
        self.error_number = _number(bits_E, E_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded activations."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            number = self.activate_number
            return x if number is None else number(x, _stream(number))
        rounded: Tensor = _Quantised.apply(x, self.activate_number, self.error_number)
        return rounded

    def extra_repr(self) -> str:
        """Say which numbers there are."""
        return f"activations={self.activate_number}, errors={self.error_number}"


def _number(bits: int, mode: str) -> FixedPoint | None:
    return None if bits == -1 else FixedPoint(bits, bits - 1, symmetric=True, rounding=mode)
