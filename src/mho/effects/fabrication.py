"""Effects of fabrication: cells born broken."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.life import Broken
from mho.cells.spread import Spread, check
from mho.core import checks, random
from mho.core.constants import constant
from mho.effects.base import FabricationEffect


@dataclass(frozen=True)
class StuckAt(FabricationEffect):
    """Cells that no programming moves and no time changes.

    A cell is stuck low (HRS), stuck high (LRS) or was never formed (and conducts like HRS or
    less), each with its own probability, independently of all others.

    Attributes:
        low: probability of a cell stuck at ``g_low``.
        high: probability of a cell stuck at ``g_high``.
        unformed: probability of a cell that never formed.
        g_low: conductance of stuck-low cells (S); a number, a `Spread`, or None for the device's
            ``g_min``. May lie outside the programmable window.
        g_high: the same for stuck-high cells; None is ``g_max``.
        g_unformed: the same for unformed cells; None is ``g_min``.

    Spread conductances without a lower bound of their own are kept at or above 0 S.

    Raises:
        ValueError: if a probability is outside [0, 1] or they add up to more than 1.
    """

    low: float = 0.0
    high: float = 0.0
    unformed: float = 0.0
    g_low: float | Spread | None = None
    g_high: float | Spread | None = None
    g_unformed: float | Spread | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high", "unformed"):
            checks.probability(f"StuckAt {name}", getattr(self, name))
        total = self.low + self.high + self.unformed
        if total > 1.0 + 1e-12:
            raise ValueError(f"low + high + unformed must be <= 1, got {total!r}")
        for name in ("g_low", "g_high", "g_unformed"):
            value = getattr(self, name)
            if value is None:
                continue
            check(f"StuckAt {name}", value, least=0.0)
            if isinstance(value, Spread) and value.low is None:
                object.__setattr__(self, name, value.replace(low=0.0))

    def broken(self, context: Context) -> Broken | None:
        """Draw which cells are broken and what they conduct.

        In training on an accelerator, and where torch traces, their number stays unknown.
        """
        total = self.low + self.high + self.unformed
        if total == 0.0:
            return None
        padded = context.rng is None and random.foreseen(context.device)
        count, source = math.prod(context.shape), context.generator
        broken = _bernoulli(count, total, source, context.device, padded=padded)
        fate = context.uniform((len(broken),)) * total
        value = torch.where(
            fate < self.low,
            self._value(self.g_low, context.g_min, fate, context),
            torch.where(
                fate < self.low + self.high,
                self._value(self.g_high, context.g_max, fate, context),
                self._value(self.g_unformed, context.g_min, fate, context),
            ),
        )
        return Broken(broken, value, padded)

    @staticmethod
    def _value(
        value: float | Spread | None, default: float, like: Tensor, context: Context
    ) -> Tensor:
        if isinstance(value, Spread):
            return context.sample(value, tuple(like.shape))
        return like.new_full((), default if value is None else value)


@dataclass(frozen=True)
class StuckCells(FabricationEffect):
    """Cells of one very array that no programming moves: where they are, and what they conduct.

    As a measured map says it (`mho.fit.hardware`). All crossbars made of the hardware have them, so
    they must be large enough; further crossbars of other sizes take a `StuckAt`.

    Attributes:
        places: ``(slice, row, column)`` of each, counted from 0 in ``Crossbar.G``.
        conductances: of each (S), >= 0.

    Raises:
        TypeError, ValueError: if a place is named twice, the two differ in length, or a value is
            refused.
    """

    places: tuple[tuple[int, int, int], ...]
    conductances: tuple[float, ...]

    def __post_init__(self) -> None:
        places = _listed("places", self.places, "(slice, row, column) each")
        each = (_listed("places", place, "(slice, row, column) each") for place in places)
        object.__setattr__(self, "places", tuple(each))
        given = _listed("conductances", self.conductances, "one number (S) a place")
        object.__setattr__(self, "conductances", given)
        for place in self.places:
            if len(place) != 3:
                raise ValueError(
                    f"StuckCells places must be (slice, row, column) each, got {place!r}"
                )
            for index in place:
                checks.integer("every index of StuckCells places", index, least=0)
        for g in self.conductances:
            checks.number("StuckCells conductances", g, least=0.0)
        if len(self.places) != len(self.conductances):
            raise ValueError(
                "StuckCells must have as many conductances as places, got "
                f"{len(self.conductances)} and {len(self.places)}"
            )
        if len(set(self.places)) != len(self.places):
            raise ValueError("StuckCells places must each be named once")

    def broken(self, context: Context) -> tuple[Tensor, Tensor] | None:
        """Return the cells and what they conduct.

        Raises:
            ValueError: if a place lies outside the population.
        """
        if not self.places:
            return None
        shape = (1,) * (3 - len(context.shape)) + context.shape
        most = [max(indices) for indices in zip(*self.places, strict=True)]
        if any(index >= size for index, size in zip(most, shape, strict=True)):
            raise ValueError(
                f"StuckCells places must lie inside the cells {list(shape)}, got up to {most}"
            )
        at = constant(self.places, torch.int64, context.device)
        position = (at[:, 0] * shape[1] + at[:, 1]) * shape[2] + at[:, 2]
        return position, constant(self.conductances, context.dtype, context.device)


def _listed(name: str, values: Any, form: str) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"StuckCells {name} must be {form}, got {values!r}")
    return tuple(values)


def _bernoulli(
    count: int,
    probability: float,
    generator: torch.Generator | None,
    device: torch.device,
    *,
    padded: bool = False,
) -> Tensor:
    """Return the indices that come true in ``count`` independent trials.

    The gaps between them are geometric, so that only the rare broken cells cost a draw.

    Args:
        count: of trials.
        probability: of each.
        generator: source of randomness; None is torch's own.
        device: of the result.
        padded: return as many as there will hardly ever be (six standard deviations above the
            mean), ``count`` for those that there are not.
    """
    expected = count * probability
    draws = int(expected + 6 * math.sqrt(expected) + 16)
    found = torch.empty(0, dtype=torch.int64, device=device)
    last = -1
    while last < count:
        uniform = torch.rand(draws, generator=generator, dtype=torch.float64, device=device)
        gaps = 1 + (torch.log1p(-uniform) / math.log1p(-min(probability, 1 - 1e-16))).long()
        if padded:
            return (gaps.cumsum(0) - 1).clamp(max=count)
        found = torch.cat((found, last + gaps.cumsum(0)))
        last = int(found[-1])
    return found[found < count]
