"""Cells along a waveform, every cell at its own pace: steep rates, runaways, thresholds, noise.

Time is counted in samples: a cell stands at the part ``s`` of the way from sample ``k`` to the
next, and takes a step as long as its own error allows, never beyond the next sample. The voltage
between two samples is linear; the last sample is held for one more. All cells of a population
share each tensor operation, although none waits for another: the number of operations is that of
the cell with the most steps, not the sum over all samples of the most that any cell needs there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from mho.devices import kicks, stiff
from mho.devices.kicks import Draws
from mho.devices.maths import unit
from mho.devices.stiff import Step

# Error of a step, as a part of the range: of a deterministic model, and beside noise.
_TOLERANCE, _BESIDE_NOISE = 1e-5, 1e-3
# Steps of one cell from one sample to the next.
_MOST_STEPS = 1_000_000
# Up to so many cells, Python's floats beat tensor operations.
_FEW = 4


class Model(Protocol):
    """What a simulation asks of a voltage-driven device; `SwitchingDevice` explains each."""

    @property
    def state_free(self) -> bool:
        """Whether the rate depends on the drive alone."""

    @property
    def stochastic(self) -> bool:
        """Whether the state moves at random, too."""

    def drive(self, v: Any, p: Any) -> Any:
        """What a voltage (V) means for the state."""

    def rate(self, x: Any, drive: Any, p: Any) -> Any:
        """Return dx/dt (1/s)."""

    def diffusion(self, x: Any, drive: Any, p: Any) -> Any:
        """Return the noise intensity (1/√s)."""

    def current_at(self, x: Any, v: Any, p: Any) -> Any:
        """Return the current (A)."""


@dataclass(frozen=True)
class Course:
    """A device's equations along waveforms: in float64, with time in samples.

    Attributes:
        spec: the device.
        p: its parameters: numbers, or of shape ``[cells]``.
        volts: what is applied, each of ``[samples + 1]`` or ``[samples + 1, cells]`` (V), the last
            sample twice. With several, the device's ``drive`` takes a tuple.
        dt: between samples (s).
    """

    spec: Model
    p: Any
    volts: tuple[Any, ...]
    dt: float

    @property
    def tolerance(self) -> float:
        """Error allowed in a step, as a part of the range."""
        return _BESIDE_NOISE if self.spec.stochastic else _TOLERANCE

    @property
    def samples(self) -> int:
        """How many samples the waveforms have."""
        return len(self.volts[0]) - 1

    def of(self, cell: int) -> Course:
        """Return the same for one cell, in Python's numbers."""
        volts = (v if v.ndim == 1 else v[:, cell] for v in self.volts)
        return Course(self.spec, of_cell(self.p, cell), tuple(v.tolist() for v in volts), self.dt)

    def values(self, at: Tensor) -> Any:
        """Return the parameters of some of the cells."""
        return SimpleNamespace(
            **{n: v[at] if isinstance(v, Tensor) else v for n, v in vars(self.p).items()}
        )

    def voltage(self, k: Any, s: Any, at: Tensor | None = None) -> Any:
        """Return what is applied to some cells at the part ``s`` of the way from sample ``k``."""
        found = []
        for v in self.volts:
            own = at is not None and v.ndim > 1
            now, ahead = (v[k, at], v[k + 1, at]) if own else (v[k], v[k + 1])
            found.append(now + (ahead - now) * s)
        return found[0] if len(found) == 1 else tuple(found)

    def rate(self, x: Any, v: Any, p: Any) -> Any:
        """Return how far a state would go within one sample."""
        return self.dt * self.spec.rate(x, self.spec.drive(v, p), p)

    def noise(self, x: Any, v: Any, p: Any) -> Any:
        """Return the standard deviation that noise would bring within one sample."""
        return math.sqrt(self.dt) * self.spec.diffusion(x, self.spec.drive(v, p), p)

    def follow(
        self, x: Tensor, every: int | None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states at every so many samples ``[kept, cells]``, and those at the end.

        Args:
            x: states at the first sample, of shape ``[cells]``, in float64.
            every: of how many samples one is kept; None keeps none.
            generator: of the noise of stochastic models.

        Raises:
            ValueError: if a model is too stiff even for this.
        """
        if x.numel() > _FEW:
            return _Many(self, x, every, generator).run()
        draws = Draws(generator)
        traces = [_one(self.of(c), start, draws) for c, start in enumerate(x.tolist())]
        trace = x.new_tensor(traces).T
        return trace[:-1:every] if every else trace[:0], trace[-1]


def of_cell(p: Any, cell: int) -> Any:
    """Return one cell's parameters, as numbers."""
    return SimpleNamespace(
        **{
            name: float(value.flatten()[cell]) if isinstance(value, Tensor) else value
            for name, value in vars(p).items()
        }
    )


# ── one cell, on floats ──────────────────────────────────────────────────────────────────────────


def _one(course: Course, x: float, draws: Draws) -> list[float]:
    """Return one cell's states at all samples and at the end."""
    trace, h = [x], 1.0
    slope: float | None = None
    for k in range(course.samples):

        def rate(y: float, s: float, k: int = k) -> float:
            value: float = course.rate(y, course.voltage(k, s), course.p)
            return value

        start = 0.0
        while start < 1.0:
            end = 1.0
            if course.spec.stochastic:
                v = course.voltage(k, start)
                sigma = float(course.noise(x, v, course.p))
                x, length = kicks.kick(rate, sigma, x, start, draws)
                end = min(1.0, start + length)
                slope = None
            if slope is None:
                slope = stiff.held(x, rate(x, start))
            x, slope, h = _flow(rate, x, slope, start, end, h, course.tolerance)
            start = end
        trace.append(x)
    return trace


def _flow(
    rate: Any, x: float, slope: float, start: float, end: float, h: float, tol: float
) -> tuple[float, float, float]:
    """Move one state from one part of the way between two samples to another."""
    left = end - start
    for _ in range(_MOST_STEPS):
        h = min(h, left)
        s = end - left

        def within(y: float, c: float, s: float = s, h: float = h) -> float:
            value: float = rate(y, s + c * h)
            return value

        step = stiff.explicit(within, x, slope, h, tol)
        if step.excess > 1.0:
            step = stiff.implicit(within, x, slope, h, tol)
        if step.excess <= 1.0 or h <= stiff.SHORTEST:
            x, slope, left = step.x, step.slope, left - h
            if left <= 0.0:
                return x, slope, h * step.factor()
        h *= step.factor()
    raise _too_stiff()


# ── many cells, on tensors ───────────────────────────────────────────────────────────────────────


class _Many:
    """A population under way. All tensors are of the cells that are not at the end yet."""

    def __init__(
        self, course: Course, x: Tensor, every: int | None, generator: torch.Generator | None
    ) -> None:
        self.course, self.every, self.draws = course, every, Draws(generator)
        self.end = x.clone()
        kept = -(-course.samples // every) if every else 0
        self.kept = x.new_empty((kept, len(x)))
        if every:
            self.kept[0] = x
        self.at = torch.arange(len(x), device=x.device)
        self.p = course.p
        self.k = torch.zeros_like(self.at)
        self.x = x
        self.s, self.h = torch.zeros_like(x), torch.ones_like(x)
        self.left = torch.ones_like(x)  # of the way to go before the next noise, or sample
        self.slope = torch.zeros_like(x)
        self.fresh = torch.ones_like(x, dtype=torch.bool)  # whose noise or slope is to be found

    def run(self) -> tuple[Tensor, Tensor]:
        """Move all cells to the end."""
        for _ in range(_MOST_STEPS * max(1, self.course.samples)):
            if not len(self.at):
                return self.kept, self.end
            self._begin()
            self._step()
        raise _too_stiff()

    def _rate(self, x: Tensor, s: Tensor, among: Tensor | None = None) -> Tensor:
        if among is None:
            k, at, p = self.k, self.at, self.p
        else:
            k, at = self.k[among], self.at[among]
            p = self.course.values(at)
        value: Tensor = self.course.rate(x, self.course.voltage(k, s, at), p)
        return value

    def _begin(self) -> None:
        """Give noise to cells at the start of an interval, and find the slopes of these."""
        if not bool(self.fresh.any()):
            return
        new = self.fresh.nonzero().squeeze(1)
        p = self.course.values(self.at[new])
        k, at, s, x = self.k[new], self.at[new], self.s[new], self.x[new]

        def rate(y: Tensor, s: Tensor) -> Tensor:
            value: Tensor = self.course.rate(y, self.course.voltage(k, s, at), p)
            return value

        if self.course.spec.stochastic:
            sigma = self.course.noise(x, self.course.voltage(k, s, at), p) + 0.0 * x
            x, length = kicks.kick(rate, sigma, x, s, self.draws)
            self.x[new] = x
            self.left[new] = torch.minimum(length, 1.0 - s)
        self.slope[new] = stiff.held(x, rate(x, s))
        self.fresh[new] = False

    def _step(self) -> None:
        h = torch.minimum(self.h, self.left)
        s = self.s
        step = stiff.explicit(lambda y, c: self._rate(y, s + c * h), self.x, self.slope, h, self.course.tolerance)
        x, slope, excess, factor = step.x, step.slope, step.excess, step.factor()
        hard = (excess > 1.0).nonzero().squeeze(1)
        if len(hard):
            other = self._hard(hard, h[hard])
            x, slope = x.index_copy(0, hard, other.x), slope.index_copy(0, hard, other.slope)
            excess = excess.index_copy(0, hard, other.excess)
            factor = factor.index_copy(0, hard, other.factor())
        good = (excess <= 1.0) | (h <= stiff.SHORTEST)
        self.x = torch.where(good, x, self.x)
        self.slope = torch.where(good, slope, self.slope)
        self.s = torch.where(good, s + h, s)
        self.left = torch.where(good, self.left - h, self.left)
        self.h = h * factor
        self._arrive(self.left <= 0.0)

    def _hard(self, hard: Tensor, h: Tensor) -> Step:
        s, k, at = self.s[hard], self.k[hard], self.at[hard]
        p = self.course.values(at)

        def rate(y: Tensor, c: float) -> Tensor:
            value: Tensor = self.course.rate(y, self.course.voltage(k, s + c * h, at), p)
            return value

        return stiff.implicit(rate, self.x[hard], self.slope[hard], h, self.course.tolerance)

    def _arrive(self, done: Tensor) -> None:
        if not bool(done.any()):
            return
        over = done & (self.s >= 1.0 - 1e-12)
        self.k = self.k + over.long()
        self.s = torch.where(over, 0.0, self.s)
        self.left = torch.where(done, 1.0 - self.s, self.left)
        self.fresh = self.fresh | done if self.course.spec.stochastic else self.fresh
        if self.every:
            here = over & (self.k % self.every == 0) & (self.k < self.course.samples)
            self.kept[self.k[here] // self.every, self.at[here]] = self.x[here]
        out = self.k >= self.course.samples
        if bool(out.any()):
            self.end[self.at[out]] = self.x[out]
            self._keep(~out)

    def _keep(self, those: Tensor) -> None:
        for name in ("at", "k", "x", "s", "h", "left", "slope", "fresh"):
            setattr(self, name, getattr(self, name)[those])
        self.p = self.course.values(self.at)


def _too_stiff() -> ValueError:
    return ValueError(
        f"the model is too stiff to be followed in {_MOST_STEPS} steps between two samples"
    )
