"""Phase-change memory, as measured on arrays of a million cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.spread import Spread, nominal
from mho.core import checks, derivatives
from mho.core.polynomials import polynomial
from mho.devices.statistical import MICRO, DriftingDevice, log_noise

_FULL = 25.0  # µS: the conductance that the fits of `PCM` call 1
_LEAST = 1e-9  # of the full conductance: where logarithms of it are cut off


@dataclass(frozen=True)
class PCM(DriftingDevice):
    """Doped-GST mushroom cells of a million-cell array: programming error, drift, 1/f noise.

    With ``r = g_prog / 25 µS`` (σ in µS, t since programming):

        programming   σ = 0.26348 + 1.9650 r - 1.1731 r²,  G_prog = max(g + σ N(0, 1), 0)
        drift         G(t) = G_prog (t / t0)^(-ν) for t > t0,   ν = mean + sd · score
                      mean = -0.0155 ln r + 0.0244 in [0.049, 0.1]
                      sd   = -0.0125 ln r - 0.0059 in [0.008, 0.045]
        read          σ = G(t) · min(0.0088 / r^0.65, 0.2) · √ln((t + t_r) / (2 t_r))

    The programming error is that of the target. Drift and read noise are those of the conductance
    that was programmed, where the source has the target's: matrix errors differ by less than 0.5 %.
    Cells asked for 0 S end at a half-normal 0.1 µS on average: conductances are not negative. ν
    itself is not bounded: about one low cell in a hundred grows. Until t0, when the programmed
    value was read, reads are as noisy as then (σ = 4.18 · 0.0088 G of a cell at 25 µS).

    Source: V. Joshi et al., "Accurate deep neural network inference using computational
    phase-change memory", Nat. Commun. 2020, doi 10.1038/s41467-020-16108-9; S. R. Nandakumar et
    al., "Phase-change memory models for deep learning training and inference", ICECS 2019,
    doi 10.1109/ICECS46596.2019.8964852.

    Attributes:
        g_min: lowest programmable conductance (S), >= 0; default 0; a number or a `Spread`.
        g_max: highest programmable conductance (S), at most the measured 25e-6, the default.
        t0: when the programmed value was read (s), > 0; default 20.
        t_read: t_r, duration of a read (s), > 0; default 250e-9.
        write_scale: factor on the programming error, >= 0; default 1.
        drift_scale: factor on the drift exponents, >= 0; default 1.
        read_scale: factor on read noise, >= 0; default 1.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    g_min: float | Spread = 0.0
    g_max: float | Spread = 25e-6
    t0: float = 20.0
    t_read: float = 250e-9
    write_scale: float = 1.0
    drift_scale: float = 1.0
    read_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("g_max", nominal(self.g_max), most=_FULL * MICRO * (1 + 1e-9))
        checks.number("t0", self.t0, above=0.0)
        checks.number("t_read", self.t_read, above=0.0)

    def write_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Programming error (S) of the target ``g`` (S)."""
        return self.write_scale * MICRO * polynomial(_ratio(g), (0.26348, 1.9650, -1.1731))

    def drift_moments(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of ν of cells programmed to ``g`` (S)."""
        log = _ratio(g).clamp(min=_LEAST).log()
        mean = (-0.0155 * log + 0.0244).clamp(0.049, 0.1)
        return mean, (-0.0125 * log - 0.0059).clamp(0.008, 0.045)

    def read_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Read noise (S) of cells that hold ``g`` (S) now."""
        grown = log_noise(max(context.seconds, self.t0), self.t_read)
        r = _ratio(self.origin(g, context)).clamp_(min=_LEAST)
        # In place, as fresh memory costs as much as the arithmetic.
        relative = r.pow_(-0.65).mul_(0.0088).clamp_(max=0.2)
        return relative.mul_(self.read_scale * grown * g)


def _ratio(g: Tensor) -> Tensor:
    return g / (_FULL * MICRO)


class _Hermes(NamedTuple):
    """What was measured of a unit cell; polynomials lowest order first, in µS."""

    g_max: float
    t0: float
    write: tuple[float, ...]


_HERMES = {
    1: _Hermes(10.35e-6, 200.0, (0.15781817, 2.32443916, -2.16310839, 0.68841818)),
    2: _Hermes(20.7e-6, 300.0, (0.16603222, 4.71806468, -8.48101252, 4.68961419)),
}
_ROOT_TWO = 2.0**0.5


@dataclass(frozen=True)
class PCMHermes(DriftingDevice):
    """Unit cells of IBM's Hermes core (14 nm): one or two phase-change devices in parallel.

    With ``x = g_prog / g_max`` (σ in µS, t since programming), for two devices:

        programming   σ = 0.16603222 + 4.71806468 x - 8.48101252 x² + 4.68961419 x³
        drift         G(t) = G_prog (t / t0)^(-ν) for t > t0,   ν = mean + sd · score
                      mean = -0.0387 ln x - 0.0182 in [0.072, 0.13]   for x < 0.0945,
                             -0.0436 x² - 0.0126 x + 0.0736           above
                      sd   = -0.0117 ln x - 0.0057 in [0.0091, 0.04]  for x < 0.3055,
                             -0.0118 x² + 0.0093 x + 0.0073           above
        read          σ = G(t) · Q · √ln((t + t_r) / (2 t_r))
                      Q = -0.0117 ln x - 0.0069 in [0.015, 0.04]      for x < 0.16,
                          0.0069 x³ - 0.0280 x² + 0.0211 x + 0.0123   above

    and for one: g_max 10.35 µS, t0 200 s and

        programming   σ = 0.15781817 + 2.32443916 x - 2.16310839 x² + 0.68841818 x³

    with the same mean ν. Its sd and Q are *derived* here, √2 times those above, for two equal and
    independent devices in parallel average; they are not published fits. Drift is clamped
    to that of ``x = 1`` above it. Until t0, reads are as noisy as at t0.

    Source: M. Le Gallo et al., "A 64-core mixed-signal in-memory compute chip based on
    phase-change memory for deep neural network inference", Nat. Electron. 2023,
    doi 10.1038/s41928-023-01010-1.

    Attributes:
        devices: phase-change devices in a unit cell, 1 or 2 (the default).
        g_min: lowest programmable conductance (S), >= 0; default 0; a number or a `Spread`.
        g_max: highest programmable conductance (S), at most the measured one, the default: 20.7e-6
            for two devices, 10.35e-6 for one.
        t_read: t_r, duration of a read (s), > 0; default 512e-9.
        write_scale: factor on the programming error, >= 0; default 1.
        drift_scale: factor on the drift exponents, >= 0; default 1.
        read_scale: factor on read noise, >= 0; default 1.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    devices: int = 2
    g_min: float | Spread = 0.0
    g_max: float | Spread = None  # type: ignore[assignment]
    t_read: float = 512e-9
    write_scale: float = 1.0
    drift_scale: float = 1.0
    read_scale: float = 1.0

    def __post_init__(self) -> None:
        checks.one_of("devices", self.devices, tuple(_HERMES))
        given: Any = self.g_max
        if given is None:
            object.__setattr__(self, "g_max", self.measured.g_max)
        super().__post_init__()
        checks.number("g_max", nominal(self.g_max), most=self.measured.g_max * (1 + 1e-9))
        checks.number("t_read", self.t_read, above=0.0)

    @property
    def measured(self) -> _Hermes:
        """What was measured of this unit cell."""
        return _HERMES[self.devices]

    @property
    def t0(self) -> float:
        """Time after programming at which the programmed value was read (s): 300, or 200."""
        return self.measured.t0

    def write_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Programming error (S) of the target ``g`` (S)."""
        return self.write_scale * MICRO * polynomial(self._ratio(g), self.measured.write)

    def drift_moments(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of ν of cells programmed to ``g`` (S)."""
        x = self._ratio(g)
        log = x.clamp(min=_LEAST).log()
        low = (-0.0387 * log - 0.0182).clamp(0.072, 0.13)
        mean = torch.where(x < 0.0945, low, polynomial(x, (0.0736, -0.0126, -0.0436)))
        low = (-0.0117 * log - 0.0057).clamp(0.0091, 0.04)
        sd = torch.where(x < 0.3055, low, polynomial(x, (0.0073, 0.0093, -0.0118)))
        return mean, self._single * sd

    def read_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Read noise (S) of cells that hold ``g`` (S) now."""
        grown = log_noise(max(context.seconds, self.t0), self.t_read)
        x = self._ratio(self.origin(g, context))
        low = (-0.0117 * x.clamp(min=_LEAST).log() - 0.0069).clamp(0.015, 0.04)
        q = torch.where(x < 0.16, low, polynomial(x, (0.0123, 0.0211, -0.0280, 0.0069)))
        return self.read_scale * grown * self._single * g * q

    @property
    def _single(self) -> float:
        return _ROOT_TWO if self.devices == 1 else 1.0

    def _ratio(self, g: Tensor) -> Tensor:
        return derivatives.clip(g / self.measured.g_max, None, 1.0)
