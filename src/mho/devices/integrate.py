"""Small solvers of ``dx/dt = rate(x, drive(t))`` for states that live in ``[0, 1]``.

A solver is a generator: it takes the drive at every sample and yields the state at every
following one. It works alike on tensors (a population) and on floats (one cell). States that
would leave ``[0, 1]`` are held at the bound, in every stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.devices.diffusion import fold
from mho.devices.maths import unit

Rate = Callable[[Any, Any], Any]

# A step of the adaptive solver may not move a cell by more of its range than this: it must not
# leap over a window that would have stopped it.
_MOST = 0.1
# ...and one that moves it by less than this is always accepted: a rate that jumps (a threshold on
# the field) could otherwise stop the solver.
_LEAST = 1e-4
_MAX_STEPS = 100_000


def _euler(rate: Rate, x: Any, drives: Iterable[Any], dt: float) -> Iterator[Any]:
    drives = iter(drives)
    now = next(drives)
    for ahead in drives:
        x = unit(x + dt * rate(x, now))
        now = ahead
        yield x


def _heun(rate: Rate, x: Any, drives: Iterable[Any], dt: float) -> Iterator[Any]:
    # The slope found at the predicted point serves the next step too: it differs from the slope
    # at the corrected point by O(dt²), so the order stays 2 at one evaluation a step.
    drives = iter(drives)
    slope = rate(x, next(drives))
    half = 0.5 * dt
    for drive in drives:
        ahead = rate(unit(x + dt * slope), drive)
        x = unit(x + half * (slope + ahead))
        slope = ahead
        yield x


def _rk4(rate: Rate, x: Any, drives: Iterable[Any], dt: float) -> Iterator[Any]:
    drives = iter(drives)
    start = next(drives)
    for middle in drives:
        end = next(drives)
        k1 = rate(x, start)
        k2 = rate(unit(x + 0.5 * dt * k1), middle)
        k3 = rate(unit(x + 0.5 * dt * k2), middle)
        k4 = rate(unit(x + dt * k3), end)
        x = unit(x + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
        start = end
        yield x


@dataclass(frozen=True)
class Integrator:
    """A fixed-step solver.

    Attributes:
        name: how users call it.
        order: the global error falls as ``dt**order``.
        weights: of the drive's samples within one step (2 samples, or 3 with the middle), when
            the rate depends on the drive alone.
        states: ``states(rate, x, drives, dt)`` yields the state after each step. ``drives`` are
            the drive's values at the samples (with the middles between, for three weights).
    """

    name: str
    order: int
    weights: tuple[float, ...]
    states: Callable[[Rate, Any, Iterable[Any], float], Iterator[Any]]

    @property
    def middle(self) -> bool:
        """Whether the drive is needed in the middle of each step too."""
        return len(self.weights) == 3

    def increments(self, rates: Tensor, dt: float) -> Tensor:
        """Return each step's change of a state whose rate does not depend on it.

        Args:
            rates: at the samples (and middles), of shape ``[samples]``.
            dt: the step (s).
        """
        stride = len(self.weights) - 1
        steps = (rates.shape[0] - 1) // stride
        parts = (
            w * rates[i : i + (steps - 1) * stride + 1 : stride] for i, w in enumerate(self.weights)
        )
        return dt * torch.stack(tuple(parts)).sum(0)


EULER = Integrator("euler", 1, (1.0, 0.0), _euler)
HEUN = Integrator("heun", 2, (0.5, 0.5), _heun)
RK4 = Integrator("rk4", 4, (1.0 / 6.0, 4.0 / 6.0, 1.0 / 6.0), _rk4)

INTEGRATORS = {solver.name: solver for solver in (EULER, HEUN, RK4)}


def accumulate(x: float, increments: Tensor) -> Tensor:
    """Return the running sum of increments, held inside ``[0, 1]`` at every step.

    Args:
        x: where the sum starts.
        increments: of shape ``[steps]``.

    Returns:
        The start and the sum after each step, of shape ``[steps + 1]``.
    """
    free = x + torch.cat([increments.new_zeros(1), increments.cumsum(0)])
    if float(free.min()) >= 0.0 and float(free.max()) <= 1.0:
        return free
    held = np.fromiter(_held(x, increments.tolist()), np.float64, len(free))
    return torch.from_numpy(held).to(increments)


def _held(x: float, increments: Iterable[float]) -> Iterator[float]:
    yield x
    for increment in increments:
        x += increment
        if x < 0.0:
            x = 0.0
        elif x > 1.0:
            x = 1.0
        yield x


def euler_maruyama(
    rate: Rate, diffusion: Rate, x: Any, drives: Iterable[Any], dt: float, normals: Iterable[Any]
) -> Iterator[Any]:
    """Yield the states of ``dx = rate dt + diffusion dW`` (Itô); weak order 1, strong order ½.

    The drift stops at a bound, the noise is reflected there.

    Args:
        rate: drift (1/s).
        diffusion: noise intensity (1/√s), taken at the start of each step.
        x: state at the first sample.
        drives: the drive at every sample.
        dt: the step (s).
        normals: standard normals, one set a step. They enter with ``√dt``, so that the
            statistics do not depend on the step.
    """
    root = math.sqrt(dt)
    drives = iter(drives)
    now = next(drives)
    for ahead, normal in zip(drives, normals, strict=False):
        x = fold(unit(x + dt * rate(x, now)) + root * diffusion(x, now) * normal)
        now = ahead
        yield x


def heun_maruyama(
    rate: Rate, diffusion: Rate, x: Any, drives: Iterable[Any], dt: float, normals: Iterable[Any]
) -> Iterator[Any]:
    """Yield the states as `euler_maruyama` does, with the drift taken by Heun's rule.

    Without noise it is Heun's method (order 2); the noise is Itô's, of weak order 1.
    """
    root = math.sqrt(dt)
    drives = iter(drives)
    now = next(drives)
    slope = rate(x, now)
    for drive, normal in zip(drives, normals, strict=False):
        kick = root * diffusion(x, now) * normal
        ahead = rate(unit(x + dt * slope + kick), drive)
        x = fold(unit(x + 0.5 * dt * (slope + ahead)) + kick)
        slope, now = ahead, drive
        yield x


def adaptive(
    rate: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    duration: Tensor,
    tolerance: float | None = None,
) -> Tensor:
    """Integrate every cell with steps of its own (Bogacki–Shampine, order 3 with error control).

    Args:
        rate: ``rate(x, t)`` (1/s) at states and times (s) of the cells' shape.
        x: states at time 0.
        duration: how long each cell is driven (s), of the shape of ``x``.
        tolerance: error allowed in each step, as a part of the range; if not given 1e-6, or a
            hundred roundings of the dtype where that is more.

    Returns:
        The states after ``duration``.

    Raises:
        ValueError: if the model is too stiff for the duration.
    """
    x, left = part_way(rate, x, duration, tolerance, _MAX_STEPS)
    if bool((left > 0.0).any()):
        raise ValueError(
            f"duration of up to {float(duration.max()):g} s is too long for this model: it is too "
            f"stiff to be followed in {_MAX_STEPS} steps; apply the pulse in shorter parts"
        )
    return x


def part_way(
    rate: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    duration: Tensor,
    tolerance: float | None,
    most: int,
) -> tuple[Tensor, Tensor]:
    """Integrate as `adaptive` does, for as long as ``most`` steps take.

    Returns:
        The states then, and the time that is left for each (s).
    """

    def inside(state: Tensor, t: Tensor) -> Tensor:
        slope = rate(state, t)
        leaving = ((state >= 1.0) & (slope > 0.0)) | ((state <= 0.0) & (slope < 0.0))
        return torch.where(leaving, torch.zeros_like(slope), slope)

    if tolerance is None:
        tolerance = max(1e-6, 100.0 * torch.finfo(x.dtype).eps)
    # Counting the time left down (rather than the time up) loses no precision at the end, and
    # steps far below the resolution of the duration still end in a full one at a bound.
    left = duration.clone()
    k1 = inside(x, duration - left)
    h = torch.minimum(left, 0.5 * _MOST / k1.abs().clamp(min=1e-30))
    for _ in range(most):
        if not bool((left > 0.0).any()):
            break
        h = torch.minimum(h, left)
        t = duration - left
        k2 = inside(unit(x + 0.5 * h * k1), t + 0.5 * h)
        k3 = inside(unit(x + 0.75 * h * k2), t + 0.75 * h)
        # The error is that of the free states: held at a bound, two wrong ones would agree.
        y = x + h * (2.0 * k1 + 3.0 * k2 + 4.0 * k3) / 9.0
        k4 = inside(unit(y), t + h)
        z = x + h * (7.0 * k1 + 6.0 * k2 + 8.0 * k3 + 3.0 * k4) / 24.0
        fastest = torch.maximum(torch.maximum(k1.abs(), k2.abs()), k3.abs())
        excess = torch.maximum(((y - z).abs() / tolerance).pow(1.0 / 3.0), h * fastest / _MOST)
        excess = torch.where(h * fastest <= _LEAST, excess.clamp(max=1.0), excess)
        good = excess <= 1.0
        x = torch.where(good, unit(y), x)
        k1 = torch.where(good, k4, k1)
        left = torch.where(good, left - h, left)
        h = h * (0.9 / excess.clamp(min=1e-3)).clamp(1e-4, 5.0)
    return x, left
