"""The search for a model's parameters: a population of candidates, then least squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy
import torch

from mho.devices.switching import SwitchingDevice
from mho.fit import loop_simulation
from mho.fit.access import Access
from mho.fit.branches import switching_voltages
from mho.fit.calibration import Array
from mho.fit.loop_models import Free
from mho.fit.loop_simulation import Course
from mho.fit.sweeps import Sweeps

_NUDGE = 1e-4  # of the way between bounds, to find slopes
_WORST = 10.0  # a residual is not taken for more than so many times the current
_NEAR = 0.4  # to likely values half of the points of the first look are drawn
_STARTS, _ROUNDS, _DESCENT = 6, 4, 7  # of the descents: half of them go on after each round
_DAMPINGS = np.array([1e-2, 0.1, 1.0, 10.0])  # of those of a step, tried at once
_GAIN = 1e-4  # of the square: less in two steps is none
_SWITCHING = 0.5  # weight of switching voltages beside currents, both relative
PULL = 5e-3  # weight of the distances to likely values, in ways between bounds
_AT_ONCE = 200_000  # states that are moved by one operation

ACCESS = tuple(name for name in Access().to_dict() if name not in ("type", "compliance"))


Residuals = Callable[[Array], Array]


@dataclass(frozen=True)
class Problem:
    """Loops, a model, and what of it is free. Candidates are parts of the way between bounds.

    Attributes:
        device: whose fields named in ``free`` are replaced.
        sign: +1, or -1 where the device's voltage is minus the one measured.
        free: what is searched.
        held: values of the access and ``start`` that are not.
        compliance: largest current of the source (A), or None.
        polarity: of setting, as measured.
        data: the cycles.
    """

    device: SwitchingDevice
    sign: int
    free: tuple[Free, ...]
    held: Mapping[str, float]
    compliance: float | None
    polarity: int
    data: Sweeps

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is free."""
        return tuple(free.name for free in self.free)

    @property
    def guess(self) -> Array:
        """The candidate of likely values, ``[free]``."""
        return np.array([free.guess for free in self.free])

    def on(self, data: Sweeps) -> Problem:
        """Return the same for other cycles."""
        return replace(self, data=data)

    def values(self, parts: Array) -> dict[str, Array]:
        """Return the values of candidates ``[..., free]``, by name."""
        return {free.name: free.value(parts[..., k]) for k, free in enumerate(self.free)}

    def course(self, parts: Array) -> Course:
        """Simulate candidates ``[candidates, cycles or 1, free]``, oriented as measured."""
        values = {name: torch.from_numpy(value) for name, value in self.values(parts).items()}
        shape = torch.Size((len(parts), self.data.cycles))
        device = vars(self.device.parameters())
        p = SimpleNamespace(**{**device, **{n: v for n, v in values.items() if n in device}})
        access = self.access(values)
        if self.sign < 0:
            access = {_other_side(name): value for name, value in access.items()}
        start = torch.as_tensor(values.get("start", self.held.get("start", 0.0)))
        found = loop_simulation.simulate(
            self.device,
            p,
            SimpleNamespace(**access, compliance=self.compliance),
            start.double().expand(shape),
            self.sign * torch.from_numpy(self.data.voltage),
            torch.from_numpy(self.data.seconds),
        )
        return replace(found, current=self.sign * found.current)

    def access(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of the access, as measured; ``series`` stands for both resistances."""
        series = values.get("series", self.held.get("series", 0.0))
        both = {"r_positive": series, "r_negative": series}
        return {n: values.get(n, self.held.get(n, both.get(n, 0.0))) for n in ACCESS}

    def residuals(self, parts: Array) -> Array:
        """Return what candidates miss, ``[candidates, samples of all cycles + 2 · cycles + free]``.

        Measured minus simulated currents, in units in which their sum of squares is the relative
        mean square error of all cycles; then set and reset voltages relative to the measured ones,
        with a weight of their own: squares of currents alone care little for where a loop
        switches, as few samples are on the way. Last, the distances to likely values, with next to
        no weight: they only decide where loops do not.
        """
        parts = parts if parts.ndim == 3 else parts[:, None, :]  # the same in all cycles
        measured, many = self.data.measured, len(self.free)
        count = max(1, _AT_ONCE // measured.size)
        scale = float(np.sqrt((self.data.current[measured] ** 2).sum()))
        found = []
        for block in np.array_split(parts, -(-len(parts) // count)):
            current = self.course(block).current.numpy()
            miss = (self.data.current[:, None, :] - current).transpose(1, 2, 0)
            away = np.broadcast_to(PULL * (block.mean(axis=1) - self.guess), (len(block), many))
            found.append(np.hstack([miss[:, measured.T] / scale, self.switching(current), away]))
        worst = _WORST / np.sqrt(measured.sum())
        miss = np.nan_to_num(np.concatenate(found), nan=worst, posinf=worst, neginf=-worst)
        return miss.clip(-worst, worst)

    def switching(self, current: Array) -> Array:
        """Return how far off candidates ``[samples, candidates, cycles]`` switch, weighted.

        Returns:
            ``[candidates, 2 · cycles]``: parts of the measured voltages; a candidate that does not
            switch is off by all of it.
        """
        measured = switching_voltages(self.data, self.polarity)
        found = switching_voltages(self.data, self.polarity, current)
        off = [
            np.where(np.isfinite(m), np.nan_to_num((f - m) / np.abs(m), nan=1.0), 0.0)
            for m, f in zip(measured, found, strict=True)
        ]
        return _SWITCHING / np.sqrt(self.data.cycles) * np.hstack(off)

    def trials(self, parts: Array) -> Array:
        """Return the residuals of ``[starts, trials, free]``, of all cycles each."""
        found = self.residuals(parts.reshape(-1, parts.shape[-1]))
        return found.reshape(*parts.shape[:2], -1)


def explore(problem: Problem, *, points: int, size: int, generations: int, seed: int) -> Array:
    """Return the best candidate ``[free]`` of a search over everything between the bounds.

    A population begins as the best of many points of a Sobol sequence, half of them drawn towards
    likely values; differential evolution improves it. Its best members, and the best of the first
    points as they were, descend; after some steps half of them go on.

    Source: Storn & Price 1997, doi 10.1023/A:1008202821328, as in scipy.
    """

    def cost(parts: Array) -> Array:
        square: Array = (problem.residuals(np.ascontiguousarray(parts.T)) ** 2).sum(axis=1)
        return square

    drawn = scipy.stats.qmc.Sobol(len(problem.free), seed=seed).random(points)
    near = slice(None, None, 2)
    drawn[near] = problem.guess + _NEAR * (drawn[near] - problem.guess)
    drawn = drawn[np.argsort(cost(drawn.T), kind="stable")]
    found = scipy.optimize.differential_evolution(
        cost,
        [(0.0, 1.0)] * len(problem.free),
        init=drawn[:size],
        maxiter=generations,
        strategy="currenttobest1bin",
        mutation=(0.4, 0.9),
        recombination=0.9,
        tol=1e-4,
        polish=False,
        updating="deferred",
        vectorized=True,
        seed=seed,
    )
    evolved = found.population[np.argsort(found.population_energies, kind="stable")]
    parts = np.concatenate([evolved[:_STARTS], drawn[:_STARTS]])
    for _ in range(_ROUNDS):
        parts, square = descend(problem.trials, parts, iterations=_DESCENT)
        parts = parts[np.argsort(square, kind="stable")[: max(1, len(parts) // 2)]]
    best: Array = parts[0]
    return best


def descend(residuals: Residuals, parts: Array, *, iterations: int) -> tuple[Array, Array]:
    """Return candidates ``[starts, free]`` after a least-squares descent, and their squares.

    Levenberg–Marquardt steps inside of the bounds, of all candidates at once, each tried with
    several dampings; a parameter that is pushed against its bound waits there.

    Args:
        residuals: of candidates ``[starts, trials, free]``: ``[starts, trials, samples]``; each
            start may have data of its own.
        parts: where to begin, ``[starts, free]``.
        iterations: at most; fewer where two steps gain next to nothing.

    Source: Moré 1978, doi 10.1007/BFb0067700.
    """
    parts = parts.clip(0.0, 1.0)
    many = len(parts)
    damping, square, still = np.full(many, 1e-2), np.full(many, np.inf), 0
    for _ in range(iterations):
        miss, slopes = jacobian(residuals, parts)
        square = (miss**2).sum(axis=1)
        gradient = np.einsum("smf,sm->sf", slopes, miss)
        curvature = np.einsum("smf,smg->sfg", slopes, slopes)
        held = ((parts <= 0.0) & (gradient > 0.0)) | ((parts >= 1.0) & (gradient < 0.0))
        tried = _steps(curvature, np.where(held, 0.0, gradient), held, damping)
        ahead = (parts[:, None, :] + tried).clip(0.0, 1.0)
        found = (residuals(ahead) ** 2).sum(axis=2)
        best = found.argmin(axis=1)
        row = np.arange(many)
        better = found[row, best] < square
        gained = np.where(better, 1.0 - found[row, best] / np.maximum(square, 1e-300), 0.0)
        parts = np.where(better[:, None], ahead[row, best], parts)
        square = np.where(better, found[row, best], square)
        damping = np.where(better, damping * _DAMPINGS[best], 100.0 * damping).clip(1e-9, 1e9)
        still = still + 1 if gained.max() < _GAIN else 0
        if still == 2:
            break
    return parts, square


def _steps(curvature: Array, gradient: Array, held: Any, damping: Array) -> Array:
    # Of every candidate and damping, [starts, dampings, free].
    diagonal = np.einsum("sff->sf", curvature)
    scale = diagonal + 1e-9 * diagonal.max(axis=1, keepdims=True) + 1e-30
    free = ~held
    inner = curvature * free[:, :, None] * free[:, None, :]
    damped = damping[:, None] * _DAMPINGS
    full = inner[:, None] + np.einsum("sd,sf,fg->sdfg", damped, scale, np.eye(scale.shape[1]))
    full += np.einsum("sf,fg->sfg", np.where(free, 1e-12 * scale, scale), np.eye(scale.shape[1]))[
        :, None
    ]
    right = np.broadcast_to(-gradient[:, None, :, None], (*full.shape[:3], 1))
    steps: Array = np.linalg.solve(full, right)[..., 0]
    return steps


def jacobian(residuals: Residuals, parts: Array) -> tuple[Array, Array]:
    """Return the residuals of candidates ``[starts, samples]``, and slopes ``[…, free]``."""
    many, free = parts.shape
    step = np.where(parts < 0.5, _NUDGE, -_NUDGE)
    moved = parts[:, None, :] + np.concatenate(
        [np.zeros((many, 1, free)), step[:, :, None] * np.eye(free)], axis=1
    )
    found = residuals(moved)
    slopes = (found[:, 1:] - found[:, :1]) / step[:, :, None]
    return found[:, 0], slopes.transpose(0, 2, 1)


def _other_side(name: str) -> str:
    side = "negative" if name.endswith("positive") else "positive"
    return f"{name.rpartition('_')[0]}_{side}"


def values_of(problem: Problem, parts: Array) -> dict[str, Any]:
    """Return the values of one candidate ``[free]`` as plain numbers, with what was held."""
    return {**problem.held, **{n: float(v) for n, v in problem.values(parts).items()}}
