"""Effects of aging: stored conductances change with time, and with being read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.spread import Spread, positive
from mho.core import checks, derivatives
from mho.core.constants import as_tensor
from mho.core.polynomials import coefficients, grid, polynomial
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
        checks.number("PowerLawDrift nu_spread", self.nu_spread, least=0.0, most=1e6)
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


@dataclass(frozen=True)
class Relaxation(AgingEffect):
    """Cells move away from what was programmed, with the logarithm of time, each by its own score.

        G(t) = max(G_prog + mean(x) ln(t/t0) + (start(x) + spread(x) ln(t/t0)) · score, 0)

    for t >= t0, with ``x = G_prog / g_max``. At any earlier time but 0 a cell is where it is at
    t0. Each score is a standard normal that its cell keeps, so that an hour twice is two hours.
    The devices `mho.devices.ReRAMCMO` and `mho.devices.ReRAMWan` relax by themselves, as
    published; this is for others. Of CMO/HfOx cells mean is -0.089e-6, spread 0.042e-6 and start
    0.41e-6 S.

    Attributes:
        mean: mean move (S) per factor e of time; a number, or coefficients of a polynomial in x,
            lowest order first.
        spread: growth of the standard deviation from cell to cell (S) per factor e of time, >= 0;
            a number or coefficients.
        start: standard deviation (S) at t0, >= 0; a number or coefficients.
        t0: first time measured (s), > 0.

    Raises:
        TypeError, ValueError: if a value is refused, or ``spread`` or ``start`` is negative
            somewhere in 0 <= x <= 1.

    Source: the form is that of D. F. Falcone et al., 2025, arXiv:2502.04524.
    """

    mean: float | tuple[float, ...] = 0.0
    spread: float | tuple[float, ...] = 0.0
    start: float | tuple[float, ...] = 0.0
    t0: float = 1.0

    def __post_init__(self) -> None:
        for name in ("mean", "spread", "start"):
            value = coefficients(f"Relaxation {name}", getattr(self, name))
            object.__setattr__(self, name, value)
        checks.number("Relaxation t0", self.t0, above=0.0)
        x = grid()
        for name in ("spread", "start"):
            least = float(self._of(x, name).min())
            if least < 0.0:
                raise ValueError(f"Relaxation {name} must be >= 0 S, got {least:.3g}")

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw every cell's score."""
        return {"score": context.normal()}

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Relax from ``start``, when ``g`` was written, to ``stop`` seconds after programming."""
        (log, begun), (log_then, begun_then) = self._clock(stop), self._clock(start)
        passed, begins = log - log_then, begun - begun_then
        if passed == 0.0 and begins == 0.0:
            return g
        x = derivatives.clip(g / context.g_max, 0.0, 1.0)
        shift = passed * self._of(x, "mean")
        deviation = passed * self._of(x, "spread") + begins * self._of(x, "start")
        return torch.relu(g + shift + deviation * context.state["score"])

    def _of(self, x: Tensor, name: str) -> Tensor:
        return polynomial(x, getattr(self, name))

    def _clock(self, seconds: float) -> tuple[float, float]:
        # ln(t/t0), and whether anything has moved yet.
        return math.log(max(seconds, self.t0) / self.t0), float(seconds > 0.0)


TOWARD = ("high", "low")
_LARGEST_EXPONENT = 700.0  # e to more overflows
_ALL_THE_WAY = 1e4  # factors e: nothing is left of any distance


@dataclass(frozen=True)
class ReadDisturb(AgingEffect):
    """Reads move cells, a little each, towards one end of their window.

        G(n) = bound + (G − bound) exp(−(n_eff / reads)^shape)
        n_eff = n · net · exp((voltage − reference) / slope)

    n is the number of reads since a cell was last written, as `mho.age` is told
    (``mho.age(model, seconds, reads=8000)``): a forward pass of a simulation is no wear of a chip.
    Reads in two spells are their sum. Cells beyond the bound stay there. No rate law is agreed on:
    this one is stretched-exponential in the reads, as accumulated small moves of many filaments
    are, and exponential in the voltage, as the switching that disturbs cells is.

    Attributes:
        reads: after which a cell has gone 63 % of its way at the reference voltage, > 0; a number
            or a `Spread` over the cells.
        toward: ``"high"`` (reads of the set polarity, to g_max) or ``"low"`` (to g_min).
        shape: exponent of the number of reads, > 0; 1 is a constant rate, less one that tires.
        voltage: of the reads (V), >= 0.
        reference: voltage at which ``reads`` was measured (V), >= 0.
        slope: voltage that makes reads e times as harmful (V), > 0.
        net: share of the harm that is not undone by reads of the other polarity, 0…1; 1 for reads
            of one polarity, near 0 where polarities take turns.
    """

    memoryless: ClassVar[bool] = True
    counts_reads: ClassVar[bool] = True

    reads: float | Spread
    toward: str = "high"
    shape: float = 1.0
    voltage: float = 0.2
    reference: float = 0.2
    slope: float = 0.05
    net: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", positive("ReadDisturb reads", self.reads))
        checks.one_of("toward", self.toward, TOWARD)
        for name in ("shape", "slope"):
            checks.number(f"ReadDisturb {name}", getattr(self, name), above=0.0)
        for name in ("voltage", "reference"):
            checks.number(f"ReadDisturb {name}", getattr(self, name), least=0.0)
        checks.probability("ReadDisturb net", self.net)

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw how many reads every cell bears (nothing where all are alike)."""
        if not isinstance(self.reads, Spread):
            return {}
        return {"reads": context.sample(self.reads)}

    def harm(self, reads: float) -> float:
        """Return the number of reads at the reference voltage, of one polarity, that do as much."""
        exponent = (self.voltage - self.reference) / self.slope
        return reads * self.net * math.exp(min(exponent, _LARGEST_EXPONENT))

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Move by the reads of the time that passes (``context.reads``)."""
        before, after = (self.harm(reads) for reads in context.reads)
        if after == before:
            return g
        borne: Tensor | float = context.state.get("reads", self.reads)  # type: ignore[arg-type]
        way = self._way(after, borne) - self._way(before, borne)
        gone = -torch.expm1(-as_tensor(way, g))
        if self.toward == "high":
            return g + torch.relu(context.g_max - g) * gone
        return g - torch.relu(g - context.g_min) * gone

    def _way(self, harm: float, borne: Tensor | float) -> Tensor | float:
        """Return how far (in factors e) that much harm brings cells; enough where it is all."""
        if isinstance(borne, Tensor):
            shares = harm / borne.clamp(min=torch.finfo(borne.dtype).tiny)
            return (shares**self.shape).clamp(max=_ALL_THE_WAY)
        share = harm / borne
        if share and self.shape * math.log(share) > math.log(_ALL_THE_WAY):
            return _ALL_THE_WAY
        return float(share**self.shape)
