"""Differential pairs: one cell for the positive part of a weight, one for the negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.core import checks, derivatives
from mho.encoding.base import Encoding

SUBTRACTIONS = ("analog", "digital")


@dataclass(frozen=True)
class Differential(Encoding):
    """``weight = scale · (G⁺ - G⁻)``; the idle cell of a pair rests at ``g_min``.

    Attributes:
        scaling: which weight fills the range.
        subtract: where the pair is subtracted: ``"analog"``, as currents before one ADC, or
            ``"digital"``, after one conversion each.
    """

    subtract: str = "analog"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("subtract", self.subtract, SUBTRACTIONS)

    @property
    def analog(self) -> tuple[tuple[float, ...], ...]:
        """One converter sees the difference, or two see one cell each."""
        return ((1.0, -1.0),) if self.subtract == "analog" else ((1.0, 0.0), (0.0, 1.0))

    @property
    def digital(self) -> tuple[float, ...]:
        """The digital difference, where there is one."""
        return (1.0,) if self.subtract == "analog" else (1.0, -1.0)

    def encode(self, weight: Tensor, g_min: float, g_max: float) -> tuple[Tensor, Tensor]:
        """See `Encoding.encode`; exact, so its gradient is too."""
        clipped, limit = self.fit(weight)
        scale = limit / (g_max - g_min)
        signed = clipped / scale
        return pair(signed, g_min), scale

    def ideal(
        self, weight: Tensor, g_min: float, g_max: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """See `Encoding.ideal`: a pair's difference is the weight itself."""
        if self.subtract == "digital" or type(self).encode is not Differential.encode:
            return super().ideal(weight, g_min, g_max)
        clipped, limit = self.fit(weight)
        scale = limit / (g_max - g_min)
        return clipped, scale, scale.reciprocal()

    def each(self, weight: Tensor, scale: Tensor, g_min: float, g_max: float) -> Tensor | None:
        """See `Encoding.each`."""
        if type(self).encode is not Differential.encode:
            return None
        return pair(weight / scale, g_min)


class _Pair(torch.autograd.Function):
    """``[max(x, 0), max(-x, 0)] + rest``; at exactly zero each half takes half the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(signed: Tensor, rest: float) -> Tensor:
        return _halves(signed, rest)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (signed,) = ctx.saved_tensors
        positive, negative = grads[0].unbind(0)
        both = (positive + negative).mul(signed.sign())
        return (positive - negative).add(both).mul(0.5), None


def pair(signed: Tensor, rest: float) -> Tensor:
    """Split signed values into ``[positive part, negative part] + rest``, stacked in front.

    A weight of exactly zero keeps the gradient of the pair (two clamps would lose or double it).
    """
    if derivatives.forward_mode():  # torch.compile takes no Function that defines it
        both = torch.stack((signed, -signed))
        return (both + both.abs()) * 0.5 + rest  # |0| has the derivative 0
    transformed = torch._C._are_functorch_transforms_active()
    if not (signed.requires_grad and torch.is_grad_enabled()) and not transformed:
        return _halves(signed, rest)  # an autograd function costs more than all it does
    found: Tensor = _Pair.apply(signed, rest)
    return found


def _halves(signed: Tensor, rest: float) -> Tensor:
    return torch.stack((signed, -signed)).clamp_(min=0.0).add_(rest)
