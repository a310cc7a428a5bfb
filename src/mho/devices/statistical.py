"""Devices known by their statistics: programming error, drift and read noise, as measured.

Papers that characterise millions of cells give moments: how far a cell ends from its target, how
fast cells of a conductance drift, how noisy a read is. A device says them in its stage methods;
each cell draws one standard-normal *score* when it is fabricated, its rank among the cells of its
conductance. The moments are those of the conductance that was programmed. Populations keep it and
age from it, so that aging composes whatever else acts on the cells; where it is not kept it is
recovered from what a cell holds now (`solve`), for its path is known.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.cells.device import Device
from mho.cells.spread import Spread, check_window
from mho.core import checks, derivatives
from mho.core.polynomials import coefficients, grid, polynomial

MICRO = 1e-6
TINY = 1e-13  # S; a deviation of exactly zero has no gradient
_TOLERANCE = 1e-10
_MAX_STEPS = 100
_TEN_YEARS = 3.156e8  # s
SCORES = 4.0
_SCALES = {
    "program": "write_scale",
    "write_std": "write_scale",
    "age": "drift_scale",
    "read_std": "read_scale",
}


class StatisticalDevice(Device):
    """Base of all statistical devices. Subclasses are frozen dataclasses with these fields.

    A subclass says `write_std`, `read_std` and `age` (or, of power-law drift, `DriftingDevice`).

    Attributes:
        g_min: lowest programmable conductance (S); a number or a `Spread`.
        g_max: highest programmable conductance (S); a number or a `Spread`.
        write_scale: factor on the programming error; 0 programs exactly.
        drift_scale: factor on drift or relaxation; 0 keeps conductances for ever.
        read_scale: factor on read noise; 0 reads exactly.
    """

    write_scale: float
    drift_scale: float
    read_scale: float

    def __post_init__(self) -> None:
        check_window(self.g_min, self.g_max)
        for name in ("write_scale", "drift_scale", "read_scale"):
            checks.number(name, getattr(self, name), least=0.0, most=1e6)

    @property
    def scored(self) -> bool:
        """Whether cells of one conductance age differently."""
        return self.acts_on("age")

    def acts_on(self, stage: str) -> bool:
        """Whether something happens at a stage; what is scaled to 0 costs nothing."""
        name = _SCALES.get(stage)
        return (name is None or getattr(self, name) != 0.0) and super().acts_on(stage)

    def fabricate_state(self, context: Context) -> dict[str, Tensor]:
        """Draw what is spread, and every cell's score."""
        state = super().fabricate_state(context)
        if self.scored and context.ages:
            state["score"] = context.normal()
        return state


class DriftingDevice(StatisticalDevice):
    """Base of devices with power-law drift, ``G(t) = G_prog (t / t0)^(-ν)`` for t > t0.

    ``ν = mean(G_prog) + sd(G_prog) · score`` of each cell; a subclass says both in
    `drift_moments`.
    Times count from programming; until t0, when the programmed value was read, nothing drifts and
    reads are as noisy as at t0.
    """

    @property
    def t0(self) -> float:
        """Time after programming at which the programmed value was read (s)."""
        raise NotImplementedError(f"{type(self).__name__} must define t0")

    def drift_moments(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of ν of cells programmed to ``g`` (S)."""
        raise NotImplementedError(f"{type(self).__name__} must define drift_moments(g)")

    def exponents(self, g: Tensor, context: Context, seconds: float) -> Tensor:
        """Return every cell's drift exponent.

        Args:
            g: conductances now (S).
            context: gives the scores.
            seconds: what now is (s after programming).

        Returns:
            The exponents, in float64 and constant to gradients.
        """
        now = g.detach().double()
        score = context.state["score"].double() if self.scored else torch.zeros_like(now)
        elapsed = self._log_time(seconds)

        def exponent(nu: Tensor, now: Tensor, score: Tensor) -> Tensor:
            mean, sd = self.drift_moments(now * (nu * elapsed).exp())
            return self.drift_scale * (mean + sd * score)

        if elapsed == 0.0:
            return exponent(torch.zeros_like(now), now, score)
        mean, sd = _moments_range(self)
        slow, fast = (self.drift_scale * score * deviation for deviation in sd)
        low = self.drift_scale * mean[0] + torch.minimum(slow, fast)
        high = self.drift_scale * mean[1] + torch.maximum(slow, fast)
        return solve(exponent, low, high, now, score)

    def programmed(self, g: Tensor, context: Context, seconds: float) -> Tensor:
        """Return the conductances (S) that were programmed, of cells that hold ``g`` (S) now."""
        elapsed = self._log_time(seconds)
        if elapsed == 0.0 or not self.acts_on("age"):
            return g
        return g * (self.exponents(g, context, seconds) * elapsed).exp().to(g.dtype)

    def origin(self, g: Tensor, context: Context) -> Tensor:
        """Return the conductances (S) that were programmed, of cells that hold ``g`` (S) now.

        Those that the population keeps, where it does: what effects did to the cells since is
        then not taken for drift.
        """
        if context.written is None:
            return self.programmed(g, context, context.seconds)
        return self.programmed(context.written, context, context.written_at)

    def age(self, g: Tensor, context: Context, start: float, stop: float) -> Tensor:
        """Drift from ``start`` to ``stop`` seconds after programming."""
        elapsed = self._log_time(stop) - self._log_time(start)
        if elapsed == 0.0:
            return g
        return g * (self.exponents(g, context, start) * -elapsed).exp().to(g.dtype)

    def _log_time(self, seconds: float) -> float:
        return math.log(max(seconds, self.t0) / self.t0)


@functools.lru_cache(maxsize=256)
def _moments_range(device: DriftingDevice) -> tuple[tuple[float, float], tuple[float, float]]:
    # Least and largest mean and deviation of ν, with a margin for what lies between the points.
    points = torch.cat([torch.zeros(1), torch.logspace(-9, 0, 999), torch.linspace(0, 1, 1001)])
    mean, sd = device.drift_moments(points.double() * device.window[1])
    ranges = [(float(m.min()) - 1e-3, float(m.max()) + 1e-3) for m in (mean, sd)]
    return ranges[0], ranges[1]


def solve(function: Callable[..., Tensor], low: Tensor, high: Tensor, *cells: Tensor) -> Tensor:
    """Return ``x = function(x, *cells)`` in ``[low, high]``, cell by cell (Illinois' method).

    Args:
        function: of x and per-cell tensors, cell by cell, with ``x - function(x, …)`` rising in x.
        low: where ``x <= function(x, …)``.
        high: where ``x >= function(x, …)``.
        cells: what else the function is given, shaped as ``low`` and ``high``.
    """
    shape = low.shape
    a, b, *rest = (t.flatten() for t in (low, high, *cells))
    f_a, f_b = a - function(a, *rest), b - function(b, *rest)
    solution, index = a.clone(), torch.arange(len(a), device=a.device)
    last = f_a >= 0
    for _ in range(_MAX_STEPS):
        width = f_b - f_a
        x = b - f_b * (b - a) / torch.where(width > 0, width, 1.0)
        f = x - function(x, *rest)
        solution[index] = x
        unsolved = f.abs() > _TOLERANCE
        if not bool(unsolved.any()):
            break
        below = f < 0
        # An end that stays put twice running loses half its weight, lest it stays for ever.
        less = torch.where(below == last, 0.5, 1.0)
        a, b = torch.where(below, x, a), torch.where(below, b, x)
        f_a, f_b = torch.where(below, f, f_a * less), torch.where(below, f_b * less, f)
        state = (a, b, f_a, f_b, index, below, *rest)
        a, b, f_a, f_b, index, last, *rest = (t[unsolved] for t in state)
    return solution.view(shape)


def steepest_drift(t0: float) -> float:
    """Return what ``dν / d ln g`` must stay below, with ν that of cells of scores up to 4.

    Where it is more, cells programmed higher fall below lower ones in ten years.

    Args:
        t0: when the programmed value is read (s).
    """
    return 1.0 / max(math.log(_TEN_YEARS / t0), 1.0)


def log_noise(seconds: float, t_read: float) -> float:
    """Return ``√ln((t + t_read) / (2 t_read))``, 1/f noise up to t (s); 0 where it is negative."""
    return math.sqrt(max(math.log((seconds + t_read) / (2.0 * t_read)), 0.0))


@dataclass(frozen=True)
class GenericStatistical(DriftingDevice):
    """A device of one's own statistics, each a polynomial in ``x = g / g_max``.

        programming   G_prog = max(m + σ_prog(m / g_max) · N(0, 1), 0),  m = g + write_bias(x)
        drift         G(t) = G_prog (t / t0)^(-ν),  ν = nu(x_prog) + nu_std(x_prog) · score,  t > t0
        read          G_read = G + σ_read(x) · q(t) · N(0, 1)
                      q = √ln((t + t_read) / (2 t_read)), or 1 without a t_read

    A polynomial is given by its coefficients, lowest order first; one number is a constant. All
    are held at their value at ``x = 1`` above. t counts from programming; until t0 reads are as
    noisy as at t0.

    Attributes:
        g_min: lowest programmable conductance (S), >= 0; default 0; a number or a `Spread`.
        g_max: highest programmable conductance (S), > g_min; default 25e-6; a number or a `Spread`.
        write_sigma: σ_prog (S), >= 0 in the window; default 0.
        write_bias: how far cells end above their targets on average (S); default 0.
        nu: mean drift exponent (1); default 0.
        nu_std: its standard deviation from cell to cell (1), >= 0 in the window; default 0.
        t0: when the programmed value was read (s), > 0; default 1.
        read_sigma: σ_read (S), of the conductance at the time of the read; >= 0; default 0.
        t_read: duration of a read (s), > 0, of noise that grows with time as 1/f noise does; None
            (the default) is white noise.
        write_scale: factor on the programming error, bias included, >= 0; default 1.
        drift_scale: factor on the drift exponents, >= 0; default 1.
        read_scale: factor on read noise, >= 0; default 1.

    Raises:
        TypeError, ValueError: if a parameter is refused; also where ν grows so steeply with the
            conductance that higher cells (of scores up to 4) fall below lower ones in ten years:
            what was programmed could then no longer be told.

    Source: the forms are those of V. Joshi et al., "Accurate deep neural network inference using
    computational phase-change memory", Nat. Commun. 2020, doi 10.1038/s41467-020-16108-9.
    """

    g_min: float | Spread = 0.0
    g_max: float | Spread = 25e-6
    write_sigma: float | tuple[float, ...] = 0.0
    nu: float | tuple[float, ...] = 0.0
    nu_std: float | tuple[float, ...] = 0.0
    t0: float = 1.0
    read_sigma: float | tuple[float, ...] = 0.0
    t_read: float | None = None
    write_scale: float = 1.0
    drift_scale: float = 1.0
    read_scale: float = 1.0
    write_bias: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("write_sigma", "write_bias", "nu", "nu_std", "read_sigma"):
            object.__setattr__(self, name, coefficients(name, getattr(self, name)))
        checks.number("t0", self.t0, above=0.0)
        if self.t_read is not None:
            checks.number("t_read", self.t_read, above=0.0)
        x = grid()
        for name in ("write_sigma", "nu_std", "read_sigma"):
            least, at = polynomial(x, self._given(name)).min(0)
            if least < 0:
                raise ValueError(
                    f"{name} must be >= 0 in the window, got {float(least):.3g} at "
                    f"{float(x[at]):.3g} g_max"
                )
        self._check_order(x)

    def _check_order(self, x: Tensor) -> None:
        # d ln G(t) / d ln G_prog = 1 - ln(t/t0) · dν / d ln G_prog must stay positive.
        slopes = [
            polynomial(x, [k * c for k, c in enumerate(self._given(name))])
            for name in ("nu", "nu_std")
        ]
        steepest = self.drift_scale * float((slopes[0] + SCORES * slopes[1].abs()).max())
        allowed = steepest_drift(self.t0)
        if steepest >= allowed:
            raise ValueError(
                "nu and nu_std must not grow so steeply with the conductance that higher cells "
                f"drift below lower ones in ten years: dν / d ln g must be < {allowed:.3g}, "
                f"got {steepest:.3g}"
            )

    @property
    def scored(self) -> bool:
        """Whether cells of one conductance drift differently."""
        return any(self._given("nu_std")) and self.drift_scale != 0.0

    def acts_on(self, stage: str) -> bool:
        """Whether something happens at a stage; what is 0 costs nothing."""
        names = {
            "program": ("write_bias",),
            "write_std": ("write_sigma",),
            "age": ("nu", "nu_std"),
            "read_std": ("read_sigma",),
        }
        given = [any(self._given(name)) for name in names.get(stage, ())]
        return (any(given) or stage not in names) and super().acts_on(stage)

    def program(self, g: Tensor, context: Context) -> Tensor:
        """Where cells end on average (S)."""
        return torch.relu(g + self.write_scale * self._of(g, "write_bias"))

    def write_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Programming error (S) of cells that end at ``g`` (S) on average."""
        return self.write_scale * self._of(g, "write_sigma").clamp(min=TINY)

    def drift_moments(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of ν."""
        return self._of(g, "nu"), self._of(g, "nu_std")

    def read_std(self, g: Tensor, context: Context) -> Tensor | float:
        """Read noise (S)."""
        seconds = max(context.seconds, self.t0)
        grown = 1.0 if self.t_read is None else log_noise(seconds, self.t_read)
        return self.read_scale * grown * self._of(g, "read_sigma").clamp(min=TINY)

    def _of(self, g: Tensor, name: str) -> Tensor:
        return polynomial(derivatives.clip(g / self.window[1], 0.0, 1.0), self._given(name))

    def _given(self, name: str) -> tuple[float, ...]:
        given: tuple[float, ...] = getattr(self, name)
        return given
