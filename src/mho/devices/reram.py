"""Resistive memory whose conductances relax after programming, as measured on arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.spread import Spread, nominal
from mho.core import checks, derivatives
from mho.core.polynomials import polynomial
from mho.devices.statistical import (
    MICRO,
    TINY,
    StatisticalDevice,
    log_noise,
    solve,
)

_DAY = 86400.0
_WAN_FULL = 40.0  # µS
_WAN = (  # when (s), and the coefficients of σ (µS)
    (1.0, (0.348, 16.030, -43.853, 45.393, -16.815)),
    (_DAY, (0.701, 22.086, -50.773, 47.095, -16.458)),
    (2.0 * _DAY, (0.782, 20.274, -43.507, 37.062, -11.934)),
)


@dataclass(frozen=True)
class ReRAMWan(StatisticalDevice):
    """Cells of the NeuRRAM chip: written and verified, then relaxing away from their targets.

    The standard deviation about the target, with ``r = g / 40 µS`` (σ in µS, t since programming):

        1 s     σ = 0.348 + 16.030 r - 43.853 r² + 45.393 r³ - 16.815 r⁴
        1 day   σ = 0.701 + 22.086 r - 50.773 r² + 47.095 r³ - 16.458 r⁴
        2 days  σ = 0.782 + 20.274 r - 43.507 r² + 37.062 r³ - 11.934 r⁴

    interpolated linearly in ln t; it is held before 1 s and, for want of data, after 2 days. The
    σ at 1 s is the programming error; what comes later relaxes each cell along its own score,
    ``G(t) = max(G_prog + √(σ(G_prog, t)² - σ(G_prog, 1 s)²) · score, 0)``. σ of G_prog
    stands for σ of the target, which moves the total by less than 2 % above 4 µS. Reads are free
    of noise.

    Source: W. Wan et al., "A compute-in-memory chip based on resistive random-access memory",
    Nature 2022, doi 10.1038/s41586-022-04992-8.

    Attributes:
        g_min: lowest programmable conductance (S), >= 0; default 1e-6; a number or a `Spread`.
        g_max: highest programmable conductance (S), at most the measured 40e-6, the default.
        write_scale: factor on the programming error, >= 0; default 1.
        drift_scale: factor on relaxation, >= 0; default 1.
        read_scale: factor on read noise, of which there is none; default 1.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    g_min: float | Spread = 1e-6
    g_max: float | Spread = 40e-6
    write_scale: float = 1.0
    drift_scale: float = 1.0
    read_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("g_max", nominal(self.g_max), most=_WAN_FULL * MICRO * (1 + 1e-9))

    def sigma(self, g: Tensor, seconds: float) -> Tensor:
        """Return the published standard deviation (S) about the target ``g`` (S) at a time (s)."""
        times = [math.log(when) for when, _ in _WAN]
        now = min(max(math.log(max(seconds, 1e-9)), times[0]), times[-1])
        k = min(max(sum(time <= now for time in times), 1), len(times) - 1)
        part = (now - times[k - 1]) / (times[k] - times[k - 1])
        pairs = zip(_WAN[k - 1][1], _WAN[k][1], strict=True)
        mixed = [(1.0 - part) * before + part * after for before, after in pairs]
        return MICRO * polynomial(derivatives.clip(g / (_WAN_FULL * MICRO), 0.0, 1.0), mixed)

    def write_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Programming error (S), one second after programming, of the target ``g`` (S)."""
        return self.write_scale * self.sigma(g, 0.0)

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Relax from ``start`` to ``stop`` seconds after programming."""
        if max(stop, 1.0) == max(start, 1.0):
            return g
        programmed = self.programmed(g, context, start)
        grown = self._relaxation(programmed, stop) - self._relaxation(programmed, start)
        return torch.relu(g + (grown * context.state["score"]).to(g.dtype))

    def programmed(self, g: Tensor, context: Context, seconds: float) -> Tensor:
        """Return the conductances (S) that were programmed, of cells that hold ``g`` (S) now."""
        now, score = g.detach().double(), context.state["score"].double()
        if seconds <= 1.0 or not self.acts_on("age"):
            return g
        every = torch.linspace(0.0, _WAN_FULL * MICRO, 401, dtype=now.dtype, device=now.device)
        most = 1.01 * score * self._relaxation(every, seconds).max()

        def moved(x: Tensor, now: Tensor, score: Tensor) -> Tensor:  # in µS
            return score * self._relaxation(now - x * MICRO, seconds) / MICRO

        ends = (most.clamp(max=0.0) / MICRO, most.clamp(min=0.0) / MICRO)
        return (now - MICRO * solve(moved, *ends, now, score)).to(g.dtype)

    def _relaxation(self, g: Tensor, seconds: float) -> Tensor:
        grown = self.sigma(g, seconds) ** 2 - self.sigma(g, 0.0) ** 2
        # Where nothing relaxes the root is 0, and so is its gradient.
        moved = grown > TINY**2
        root = torch.where(moved, grown, 1.0).sqrt()
        return self.drift_scale * torch.where(moved, root, 0.0)


_CMO_FIRST = 1.0  # s; the first time measured
_CMO_WRITE = {0.002: (0.00081107, 0.00106879), 0.02: (0.0112185391, 0.01129027418)}


@dataclass(frozen=True)
class ReRAMCMO(StatisticalDevice):
    """CMO/HfOx cells, programmed to within an acceptance of 0.2 % or 2 %, then relaxing.

    Conductances g and σ in µS, t since programming in s:

        programming   σ = 0.00081107 + 0.00106879 g            (acceptance 0.2 %)
                      σ = 0.0112185391 + 0.01129027418 g       (acceptance 2 %)
        relaxation    G(t) = G_prog - 0.08900206 ln t + (0.04201137 ln t + 0.41183342) · score
        read          σ = 0.0277316483 · log10(G(t)) · √ln((t + t_r) / (2 t_r))

    The relaxation was measured from 1 s on; at any earlier time but 0 a cell is where it is at
    1 s. Read noise is that at 1 s until then, just programmed too; it is 0 below 1 µS.

    Source: D. F. Falcone et al., "All-in-one analog AI accelerator: on-chip training and
    inference with conductive-metal-oxide/HfOx ReRAM devices", 2025, arXiv:2502.04524.

    Attributes:
        acceptance: largest relative deviation at which programming stops: 0.002 (the default) or
            0.02.
        g_min: lowest programmable conductance (S), >= 0; default 9e-6; a number or a `Spread`.
        g_max: highest programmable conductance (S), > g_min; default 88.2e-6; a number or a
            `Spread`.
        t_read: t_r, duration of a read (s), > 0; default 1e-6.
        write_scale: factor on the programming error, >= 0; default 1.
        drift_scale: factor on relaxation (mean and spread), >= 0; default 1.
        read_scale: factor on read noise, >= 0; default 1.

    Raises:
        TypeError, ValueError: if a parameter is refused.
    """

    acceptance: float = 0.002
    g_min: float | Spread = 9e-6
    g_max: float | Spread = 88.2e-6
    t_read: float = 1e-6
    write_scale: float = 1.0
    drift_scale: float = 1.0
    read_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("acceptance", self.acceptance, tuple(_CMO_WRITE))
        checks.number("t_read", self.t_read, above=0.0)

    def write_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Programming error (S) of the target ``g`` (S)."""
        constant, slope = _CMO_WRITE[self.acceptance]
        return self.write_scale * (constant * MICRO + slope * g)

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Relax from ``start`` to ``stop`` seconds after programming."""
        before, after = _cmo_relaxation(start), _cmo_relaxation(stop)
        unit = self.drift_scale * MICRO
        shift, deviation = unit * (after[0] - before[0]), unit * (after[1] - before[1])
        if shift == 0.0 and deviation == 0.0:
            return g
        return torch.relu(g + shift + deviation * context.state["score"])

    def read_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Read noise (S) of cells that hold ``g`` (S) now."""
        seconds = max(context.seconds, _CMO_FIRST)
        grown = 0.0277316483 * MICRO * log_noise(seconds, self.t_read)
        return self.read_scale * grown * (g / MICRO).clamp(min=1.0).log10()


def _cmo_relaxation(seconds: float) -> tuple[float, float]:
    """Return the mean and the standard deviation (µS) of what a cell has moved."""
    if seconds == 0.0:
        return 0.0, 0.0
    log = math.log(max(seconds, _CMO_FIRST))
    return -0.08900206 * log, 0.04201137 * log + 0.41183342
