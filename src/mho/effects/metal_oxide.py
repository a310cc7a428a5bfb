"""Metal-oxide cells that fail: with time (retention) and with use (endurance).

    threshold = p0 · exp(p1 · cell_size + p2 · T_c)        T_c = min(critical_temperature / T, 1)
    sudden:   R = stable                                   past the threshold
    gradual:  log10 R = p3 (p1 · cell_size + p2 · T_c) (log10 x − log10 threshold) + log10 R0

with x the time (s) or the set–reset cycles. Cells in the low- and the high-resistance state, told
apart at the midpoint ``(R_on + R_off) / 2``, follow laws of their own.

Source: C. Lammie, M. Rahimi Azghadi, D. Ielmini, "Empirical metal-oxide RRAM device endurance and
retention model for deep learning simulations", Semicond. Sci. Technol. 2021,
doi 10.1088/1361-6641/abf29d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.spread import Spread, positive
from mho.core import checks
from mho.core.constants import as_tensor
from mho.core.spec import Spec
from mho.effects.base import AgingEffect, Effect, ProgrammingEffect


@dataclass(frozen=True)
class FailureLaw(Spec):
    """When cells of one resistance state fail, and how.

    Attributes:
        p0: the threshold's factor (s, or cycles), > 0; a number, or a `Spread` from cell to cell.
        p1: its exponent per cell size (1/m).
        p2: its exponent per reduced temperature.
        p3: slope of a gradual failure; 0 is no change.
        stable: resistance (Ω) that a sudden failure leaves, > 0; None: failures are gradual.

    Raises:
        TypeError, ValueError: if a parameter is refused, or both p3 and stable are given.
    """

    p0: float | Spread
    p1: float = 0.0
    p2: float = 0.0
    p3: float = 0.0
    stable: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "p0", positive("FailureLaw p0", self.p0))
        for name in ("p1", "p2", "p3"):
            checks.number(f"FailureLaw {name}", getattr(self, name))
        if self.stable is not None:
            checks.number("FailureLaw stable", self.stable, above=0.0)
            if self.p3:
                raise ValueError("give p3 (gradual failure) or stable (sudden failure), not both")


@dataclass(frozen=True)
class _MetalOxide(Effect):
    """What retention and endurance share.

    Attributes:
        lrs: law of cells in the low-resistance state; None: they never fail.
        hrs: law of cells in the high-resistance state; None: they never fail.
        cell_size: side or diameter of a cell (m), > 0.
        temperature: of the cells (K), > 0.
        critical_temperature: below which temperature no longer matters (K), > 0.
    """

    lrs: FailureLaw | None = None
    hrs: FailureLaw | None = None
    cell_size: float = 10e-9
    temperature: float = 300.0
    critical_temperature: float = 300.0

    def __post_init__(self) -> None:
        for state in ("lrs", "hrs"):
            if getattr(self, state) is not None:
                checks.instance(state, getattr(self, state), FailureLaw)
        for name in ("cell_size", "temperature", "critical_temperature"):
            checks.number(name, getattr(self, name), above=0.0)

    @property
    def reduced_temperature(self) -> float:
        """``T_c``, 1 below the critical temperature."""
        return min(self.critical_temperature / self.temperature, 1.0)

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw each cell's thresholds, where they are spread."""
        drawn = {}
        for state in ("lrs", "hrs"):
            law = getattr(self, state)
            if law is not None and isinstance(law.p0, Spread):
                drawn[state] = context.sample(law.p0)
        return drawn

    def fail(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Return conductances (S) after the clock of failure went from ``start`` to ``stop``."""
        # In conductances: 1/((R_on + R_off)/2), which is 0 where a cell can be switched off wholly.
        midpoint = 2.0 * context.g_min * context.g_max / (context.g_min + context.g_max)
        low = g.detach() > midpoint
        return torch.where(
            low,
            self._failed(g, "lrs", context, start, stop),
            self._failed(g, "hrs", context, start, stop),
        )

    def _failed(self, g: Tensor, state: str, context: Context, start: float, stop: float) -> Tensor:
        law: FailureLaw | None = getattr(self, state)
        if law is None:
            return g
        exponent = law.p1 * self.cell_size + law.p2 * self.reduced_temperature
        p0: Any = context.state.get(state, law.p0)
        threshold = as_tensor(p0, g) * math.exp(exponent)
        if law.stable is not None:
            now = (start < threshold) & (threshold <= stop)
            return torch.where(now, 1.0 / law.stable, g)
        past = stop / threshold, start / threshold
        ratio = past[0].clamp(min=1.0) / past[1].clamp(min=1.0)
        return g * ratio ** -(law.p3 * exponent)


@dataclass(frozen=True)
class Retention(_MetalOxide, AgingEffect):
    """Metal-oxide cells that lose their state with time; x of the law is the time in seconds.

    Which law a cell follows is told by its conductance as it was last written; it follows that law
    to the end, also past the midpoint. So an hour twice is two hours.

    Attributes:
        lrs: law of cells in the low-resistance state (``p0`` in s); None: they keep it.
        hrs: law of cells in the high-resistance state; None: they keep it.
        cell_size: side or diameter of a cell (m), > 0.
        temperature: of the cells (K), > 0.
        critical_temperature: below which temperature no longer matters (K), > 0.

    Source: see `mho.effects.metal_oxide`.
    """

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Fail from ``start``, when ``g`` was written, to ``stop`` seconds after programming."""
        return self.fail(g, context, start, stop)


@dataclass(frozen=True)
class Endurance(_MetalOxide, ProgrammingEffect):
    """Metal-oxide cells worn by use: what is written holds only as their past cycles allow.

    Attributes:
        lrs: law of cells in the low-resistance state (``p0`` in cycles); None: they do not wear.
        hrs: law of cells in the high-resistance state; None: they do not wear.
        cell_size: side or diameter of a cell (m), > 0.
        temperature: of the cells (K), > 0.
        critical_temperature: below which temperature no longer matters (K), > 0.
        cycles: set–reset cycles that the cells have been through, >= 0.

    Source: see `mho.effects.metal_oxide`.
    """

    cycles: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("Endurance cycles", self.cycles, least=0.0)

    def program(self, g: Tensor, context: Context) -> Tensor:
        """What worn cells hold of the conductances written."""
        return self.fail(g, context, 0.0, self.cycles)
