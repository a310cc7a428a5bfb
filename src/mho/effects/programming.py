"""Effects of programming: what is stored is not quite what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.spread import UNSEEN_ROUNDS, Spread, check_order, positive
from mho.core import checks, derivatives, random
from mho.effects.base import ProgrammingEffect
from mho.periphery.quantize import straight_through

REFERENCES = ("range", "value")
_MAX_REDRAWS = 100


@dataclass(frozen=True)
class WriteNoise(ProgrammingEffect):
    """Gaussian programming error, ``g + sigma · reference · N(0, 1)``, never below 0 S.

    It comes after all other effects of programming; see `mho.cells.behaviour.Behaviour.write_std`.

    Attributes:
        sigma: relative standard deviation, >= 0.
        relative_to: ``"range"`` (of ``g_max - g_min``) or ``"value"`` (of the target itself).
    """

    sigma: float
    relative_to: str = "range"

    def __post_init__(self) -> None:
        checks.number("WriteNoise sigma", self.sigma, least=0.0, most=1e6)
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
        inside = derivatives.clip(g, context.g_min, context.g_max)
        level = torch.round((inside.detach() - context.g_min) / step)
        return straight_through(level * step + context.g_min, inside)


@dataclass(frozen=True)
class CycleVariability(ProgrammingEffect):
    """Cells whose window is another after every write: new R_on and R_off each time.

    A target stands where it stood in the nominal window, in the window just drawn:
    ``g = 1/R_off' + (target − g_min)/(g_max − g_min) · (1/R_on' − 1/R_off')``. Where the two
    draws of a cell cross, both are drawn again.

    Attributes:
        r_on: resistance of the low-resistance state (Ω), > 0; a number or a `Spread`.
        r_off: resistance of the high-resistance state (Ω), > r_on; a number or a `Spread`.

    Raises:
        TypeError, ValueError: if a resistance is refused.
    """

    r_on: float | Spread
    r_off: float | Spread

    def __post_init__(self) -> None:
        for name in ("r_on", "r_off"):
            value = positive(f"CycleVariability {name}", getattr(self, name))
            object.__setattr__(self, name, value)
        check_order("r_on", self.r_on, "r_off", self.r_off)

    def program(self, g: Tensor, context: Context) -> Tensor:
        """Store every target in its cell's window of this cycle.

        Raises:
            ValueError: if the two resistances keep crossing.
        """
        on = _sample(self.r_on, context.shape, context)
        off = _sample(self.r_off, context.shape, context)
        share = (g - context.g_min) / context.g_range
        if context.rng is None and random.foreseen(context.device):
            for _ in range(UNSEEN_ROUNDS):
                crossed = on >= off
                on = torch.where(crossed, _sample(self.r_on, context.shape, context), on)
                off = torch.where(crossed, _sample(self.r_off, context.shape, context), off)
            ends = torch.maximum(on, off).reciprocal(), torch.minimum(on, off).reciprocal()
            return torch.lerp(*ends, share)
        for _ in range(_MAX_REDRAWS):
            crossed = on >= off
            count = int(crossed.sum())
            if not count:
                return torch.lerp(off.reciprocal(), on.reciprocal(), share)
            on[crossed] = _sample(self.r_on, (count,), context)
            off[crossed] = _sample(self.r_off, (count,), context)
        raise ValueError("CycleVariability: r_on and r_off keep crossing; narrow their spreads")


def _sample(value: float | Spread, shape: tuple[int, ...], context: Context) -> Tensor:
    if isinstance(value, Spread):
        return context.sample(value, shape)
    return torch.full(shape, value, dtype=context.dtype, device=context.device)
