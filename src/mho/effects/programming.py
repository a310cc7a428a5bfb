"""Effects of programming: what is stored is not quite what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho import checks
from mho.behaviour import Context
from mho.effects.base import ProgrammingEffect
from mho.periphery.quantize import straight_through

REFERENCES = ("range", "value")


@dataclass(frozen=True)
class WriteNoise(ProgrammingEffect):
    """Gaussian programming error, ``g + sigma · reference · N(0, 1)``, never below 0 S.

    It comes after all other effects of programming; see `mho.behaviour.Behaviour.write_std`.

    Attributes:
        sigma: relative standard deviation, >= 0.
        relative_to: ``"range"`` (of ``g_max - g_min``) or ``"value"`` (of the target itself).
    """

    sigma: float
    relative_to: str = "range"

    def __post_init__(self) -> None:
        checks.number("WriteNoise sigma", self.sigma, least=0.0)
        checks.one_of("relative_to", self.relative_to, REFERENCES)

    def write_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Standard deviation (S): one number, or one per cell."""
        if self.relative_to == "value":
            return g * self.sigma
        return self.sigma * context.g_range


@dataclass(frozen=True)
class FiniteStates(ProgrammingEffect):
    """Cells that hold only some conductances, evenly spaced in the window.

    The gradient is straight through.

    Attributes:
        states: how many, >= 2; the window's two ends are among them.
    """

    states: int

    def __post_init__(self) -> None:
        checks.integer("FiniteStates states", self.states, least=2)

    def program(self, g: Tensor, context: Context) -> Tensor:
        """Round to the nearest state; what lies outside the window goes to its end."""
        step = context.g_range / (self.states - 1)
        inside = g.clamp(context.g_min, context.g_max)
        level = torch.round((inside.detach() - context.g_min) / step)
        return straight_through(level * step + context.g_min, inside)
