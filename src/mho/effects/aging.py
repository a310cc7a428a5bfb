"""Effects of aging: stored conductances change with time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mho.cells.behaviour import Context
from mho.core import checks
from mho.effects.base import AgingEffect


@dataclass(frozen=True)
class PowerLawDrift(AgingEffect):
    """``G(t) = G(t0) · (t / t0)^(-ν)`` for t > t0, with an exponent of each cell's own.

    Drift composes: aging by a day, then by another, equals aging by two days.

    Attributes:
        nu: mean drift exponent.
        nu_spread: standard deviation of the exponent from cell to cell, >= 0.
        t0: time after programming at which the stored value was read (s), > 0.

    Source: V. Joshi et al., 2020, doi 10.1038/s41467-020-16108-9.
    """

    memoryless: ClassVar[bool] = True

    nu: float
    nu_spread: float = 0.0
    t0: float = 1.0

    def __post_init__(self) -> None:
        checks.number("PowerLawDrift nu", self.nu)
        checks.number("PowerLawDrift nu_spread", self.nu_spread, least=0.0)
        checks.number("PowerLawDrift t0", self.t0, above=0.0)

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw every cell's exponent (nothing where all are alike)."""
        if self.nu_spread == 0.0:
            return {}
        return {"nu": context.normal().mul_(self.nu_spread).add_(self.nu)}

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Drift from ``start`` to ``stop`` seconds after programming."""
        ratio = max(stop, self.t0) / max(start, self.t0)
        nu = context.state.get("nu", self.nu)
        return g * ratio**-nu
