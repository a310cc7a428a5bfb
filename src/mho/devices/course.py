"""Cells along a waveform, every cell at its own pace: steep rates, runaways, thresholds, noise.

Time is counted in samples: a cell stands at the part ``s`` of the way from sample ``k`` to the
next, and takes a step as long as its own error allows, never beyond the next sample. The voltage
between two samples is linear; the last sample is held for one more. All cells of a population
share each tensor operation, although none waits for another: the number of operations is that of
the cell with the most steps, not the sum over all samples of the most that any cell needs there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from mho.devices import kicks, stiff
from mho.devices.kicks import Draws, Law
from mho.devices.stiff import Step

# Error of a step, as a part of the range: of a deterministic model, and beside noise.
_TOLERANCE, _BESIDE_NOISE = 1e-6, 1e-3
# What is left of a sample's time by rounding.
_CLOSE = 1e-12
# Steps of one cell from one sample to the next.
_MOST_STEPS = 1_000_000
# Up to so many cells, Python's floats beat tensor operations.
_FEW = 16


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
        p: its parameters, numbers or of shape ``[cells]``, and ``seconds``, the time between two
            samples (s), as one of them.
        volts: what is applied, each of ``[samples + 1]`` or ``[samples + 1, cells]`` (V), the last
            sample twice. With several, the device's ``drive`` takes a tuple.
    """

    spec: Model
    p: Any
    volts: tuple[Any, ...]

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
        return Course(self.spec, of_cell(self.p, cell), tuple(v.tolist() for v in volts))

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

    def rate(self, v: Any, p: Any) -> Callable[[Any], Any]:
        """Return how far states would go within one sample."""
        drive, spec = self.spec.drive(v, p), self.spec
        return lambda x: p.seconds * spec.rate(x, drive, p)

    def noise(self, x: Any, v: Any, p: Any) -> Any:
        """Return the standard deviation that noise would bring within one sample."""
        return p.seconds**0.5 * self.spec.diffusion(x, self.spec.drive(v, p), p)

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
        if not 0 < x.numel() <= _FEW:
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

        def law(s: float, k: int = k) -> Callable[[float], float]:
            return course.rate(course.voltage(k, s), course.p)

        s = 0.0
        while s < 1.0:
            if not course.spec.stochastic:
                x, slope, h = _flow(law, x, slope, s, 1.0, h, course.tolerance)
                break
            # Half of an interval's drift, its noise, the other half.
            sigma = float(course.noise(x, course.voltage(k, s), course.p))
            length, together = kicks.interval(law, sigma, x, s)
            end = 1.0 if s + length > 1.0 - _CLOSE else s + length
            if together:
                x, s = kicks.step(law, sigma, x, s, end - s, draws), end
                continue
            middle = 0.5 * (s + end)
            x, _, h = _flow(law, x, None, s, middle, h, course.tolerance)
            sigma = float(course.noise(x, course.voltage(k, middle), course.p))
            x = kicks.kick(law, sigma, x, middle, end - s, draws)
            x, _, h = _flow(law, x, None, middle, end, h, course.tolerance)
            s = end
        trace.append(x)
    return trace


def _flow(
    law: Any, x: float, slope: float | None, start: float, end: float, h: float, tol: float
) -> tuple[float, float, float]:
    """Move one state from one part of the way between two samples to another."""
    left = end - start
    if slope is None:
        slope = stiff.held(x, law(start)(x))
    for _ in range(_MOST_STEPS):
        h = min(h, left)
        s = end - left

        def within(c: float, s: float = s, h: float = h) -> Callable[[float], float]:
            return law(s + c * h)

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
        self.noisy = course.spec.stochastic
        self.end = x.clone()
        kept = -(-course.samples // every) if every else 0
        self.kept = x.new_empty((kept, len(x)))
        if every:
            self.kept[0] = x
        self.at = torch.arange(len(x), device=x.device)
        self.k = torch.zeros_like(self.at)
        self.x = x.clone()
        self.s, self.h = torch.zeros_like(x), torch.ones_like(x)
        self.slope = torch.zeros_like(x)
        self.left = torch.zeros_like(x)  # of the way to the next stop
        self.stop = torch.zeros_like(x)  # where the interval of the next noise ends
        self.halfway = torch.zeros_like(x, dtype=torch.bool)  # whether that noise is still to come

    def run(self) -> tuple[Tensor, Tensor]:
        """Move all cells to the end."""
        for _ in range(_MOST_STEPS * max(1, self.course.samples)):
            if not len(self.at):
                return self.kept, self.end
            self._leave()
            self._step()
            self._arrive()
        raise _too_stiff()

    def _laws(self, those: Tensor) -> tuple[Law, Callable[[Tensor, Tensor], Tensor]]:
        """Return the drift and the noise of some cells, of states and parts of the way."""
        k, at = self.k[those], self.at[those]
        course, p = self.course, self.course.values(at)

        def law(s: Tensor) -> Callable[[Tensor], Tensor]:
            return course.rate(course.voltage(k, s, at), p)

        def noise(y: Tensor, s: Tensor) -> Tensor:
            value: Tensor = course.noise(y, course.voltage(k, s, at), p) + 0.0 * y
            return value

        return law, noise

    def _leave(self) -> None:
        """Find the next stop of the cells that are at one, their noise there, their slope."""
        stopped = self.left <= 0.0
        if not bool(stopped.any()):
            return
        if self.noisy:
            due, free = stopped & self.halfway, stopped & ~self.halfway
            self._kick(due.nonzero().squeeze(1))
            self._plan(free.nonzero().squeeze(1))
        else:
            self.left = torch.where(stopped, 1.0, self.left)
        those = stopped.nonzero().squeeze(1)
        law, _ = self._laws(those)
        x = self.x[those]
        self.slope[those] = stiff.held(x, law(self.s[those])(x))

    def _plan(self, those: Tensor) -> None:
        if not len(those):
            return
        x, s = self.x[those], self.s[those]
        law, noise = self._laws(those)
        sigma = noise(x, s)
        length, together = kicks.interval(law, sigma, x, s)
        stop = s + length
        stop = torch.where(stop > 1.0 - _CLOSE, 1.0, stop)
        self.stop[those], self.left[those] = stop, torch.where(together, 0.0, 0.5 * (stop - s))
        self.halfway[those] = ~together
        if bool(together.any()):
            after = kicks.step(law, sigma, x, s, stop - s, self.draws)
            self.x[those] = torch.where(together, after, x)
            self.s[those] = torch.where(together, stop, s)

    def _kick(self, those: Tensor) -> None:
        if not len(those):
            return
        x, s = self.x[those], self.s[those]
        left = self.stop[those] - s
        law, noise = self._laws(those)
        self.x[those] = kicks.kick(law, noise(x, s), x, s, 2.0 * left, self.draws)
        self.left[those] = left
        self.halfway[those] = False

    def _step(self) -> None:
        h, s, tol = torch.minimum(self.h, self.left), self.s, self.course.tolerance
        law, _ = self._laws(torch.arange(len(h), device=h.device))
        step = stiff.explicit(lambda c: law(s + c * h), self.x, self.slope, h, tol)
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
        self.h = torch.where(h > 0.0, h * factor, self.h)

    def _hard(self, hard: Tensor, h: Tensor) -> Step:
        s, (law, _) = self.s[hard], self._laws(hard)
        return stiff.implicit(
            lambda c: law(s + c * h),
            self.x[hard],
            self.slope[hard],
            h,
            self.course.tolerance,
        )

    def _arrive(self) -> None:
        """Count the samples that cells have reached."""
        over = (self.left <= 0.0) & (self.s >= 1.0 - _CLOSE)
        if not bool(over.any()):
            return
        self.k = self.k + over.long()
        self.s = torch.where(over, 0.0, self.s)
        if self.every:
            here = over & (self.k % self.every == 0) & (self.k < self.course.samples)
            self.kept[self.k[here] // self.every, self.at[here]] = self.x[here]
        out = self.k >= self.course.samples
        if bool(out.any()):
            self.end[self.at[out]] = self.x[out]
            for name in ("at", "k", "x", "s", "h", "slope", "left", "stop", "halfway"):
                setattr(self, name, getattr(self, name)[~out])


def _too_stiff() -> ValueError:
    return ValueError(
        f"the model is too stiff to be followed in {_MOST_STEPS} steps between two samples"
    )
