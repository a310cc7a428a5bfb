"""What differs from cycle to cycle: own parameters of every cycle, and spreads that draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch

from mho.cells.spread import Spread
from mho.devices.switching import SwitchingDevice
from mho.fit.branches import switching_voltages
from mho.fit.calibration import LEVELS, Array, Calibration
from mho.fit.loop_search import Problem, descend

_LOOSE = 0.15  # of the way between bounds, that a cycle's parameter may lie from that of all
_INDEPENDENT = 20.0  # residuals of a cycle, as they hang together
_ITERATIONS = 8
_LEAST = 3  # cycles that show a spread
_COMMON = 8  # cycles that show what varies together
_DRAWS = 40  # populations sent through the sweeps


@dataclass(frozen=True)
class Own:
    """Every cycle with parameters of its own.

    Attributes:
        names: of the parameters that vary.
        parts: candidates of the cycles, ``[cycles, free]``; what does not vary is the same.
        values: of the parameters that vary, ``[cycles, names]``.
    """

    names: tuple[str, ...]
    parts: Array
    values: Array


def own_parameters(problem: Problem, shared: Array, varies: Sequence[str]) -> Own:
    """Fit every cycle by itself, what varies drawn towards the shared values where blind.

    Args:
        problem: of all cycles.
        shared: candidate ``[free]`` of all.
        varies: names of what may differ.
    """
    names = tuple(name for name in problem.names if name in varies)
    columns = [problem.names.index(name) for name in names]
    data = problem.data
    base = np.repeat(shared[None], data.cycles, axis=0)
    scale = np.sqrt((data.current**2).sum(axis=0))
    rough = float(np.sqrt((problem.residuals(shared[None]) ** 2).sum()))
    many = np.sqrt(data.cycles)  # each cycle is a problem of its own
    pull = rough / np.sqrt(_INDEPENDENT) / _LOOSE

    def residuals(parts: Array) -> Array:
        # [cycles, trials, varying] -> [cycles, trials, samples]: all cycles' trials side by side.
        full = np.repeat(base[:, None], parts.shape[1], axis=1)
        full[:, :, columns] = parts
        current = problem.course(full.transpose(1, 0, 2)).current.numpy()
        miss = (data.current[:, None] - current) * data.measured[:, None] / scale
        miss = np.nan_to_num(miss, nan=1.0, posinf=1.0, neginf=-1.0)
        off = problem.switching(current).reshape(parts.shape[1], 2, -1).transpose(2, 0, 1)
        away = pull * (parts - shared[columns])
        return np.concatenate([miss.transpose(2, 1, 0), off * many, away], axis=2)

    found, _ = descend(residuals, base[:, columns], iterations=_ITERATIONS)
    base[:, columns] = found
    values = problem.values(base)
    return Own(names, base, np.stack([values[name] for name in names], axis=1))


def spread_device(
    device: SwitchingDevice, own: Own, bounds: dict[str, tuple[float, float]]
) -> SwitchingDevice:
    """Return the device with a normal `Spread` of every parameter that varied.

    What varies together (the first principal component) becomes a shared cause.

    Args:
        device: with the shared values.
        own: of the cycles.
        bounds: of the search, by name.
    """
    if len(own.values) < _LEAST:
        return device
    mean, sigma = own.values.mean(axis=0), own.values.std(axis=0, ddof=1)
    common = _common(own.values) if len(own.values) >= _COMMON else np.zeros(len(mean))
    fields: dict[str, float | Spread] = {}
    ends = own.values.min(axis=0), own.values.max(axis=0)
    for name, m, s, load, least, most in zip(own.names, mean, sigma, common, *ends, strict=True):
        if s <= 1e-6 * abs(m):
            fields[name] = float(m)
            continue
        low, high = bounds[name]
        # Not far beyond what was seen, and not across 0: cells keep signs and order.
        fields[name] = Spread(
            "Normal",
            (("loc", float(m)), ("scale", float(s))),
            low=float(max(low, least - 0.5 * s)),
            high=float(min(high, most + 0.5 * s)),
            shared="cycle" if load else None,
            correlation=float(load),
        )
    return device.replace(**fields)


def _common(values: Array) -> Array:
    """Return each parameter's correlation with the common cause, signed square of its loading."""
    spread = values.std(axis=0)
    moving = spread > 1e-9 * np.abs(values).max(axis=0)
    if moving.sum() < 2:
        return np.zeros(len(spread))
    found: Array = np.atleast_2d(np.corrcoef(values[:, moving], rowvar=False))
    shares = np.full(len(found), 0.5)
    # One factor: what of each is shared, found by turns.
    for _ in range(50):
        np.fill_diagonal(found, shares)
        size, vectors = np.linalg.eigh(found)
        load = np.sqrt(max(size[-1], 0.0)) * vectors[:, -1]
        shares = (load**2).clip(0.0, 0.98)
    common = np.zeros(len(spread))
    common[moving] = np.sign(load) * shares
    return np.where(np.abs(common) < 0.02, 0.0, common)


@dataclass(frozen=True)
class Switching:
    """Set and reset voltages (V), NaN where a loop does not switch.

    Attributes:
        set: one a loop.
        reset: one a loop.
    """

    set: Array
    reset: Array

    def __str__(self) -> str:
        """Mean ± standard deviation of both."""
        return f"set {_said(self.set)}, reset {_said(self.reset)}"


def _said(volts: Array) -> str:
    at = volts[np.isfinite(volts)]
    if not len(at):
        return "nowhere"
    sigma = float(at.std(ddof=1)) if len(at) > 1 else 0.0
    spread = f" ± {sigma:.2g}" if sigma > 1e-6 * abs(at.mean()) else ""
    return f"{at.mean():.3g}{spread} V"


def population(
    problem: Problem, shared: Array, device: SwitchingDevice, polarity: int, seed: int
) -> tuple[Array, Array]:
    """Return set and reset voltages ``[draws, cycles]`` of drawn cells through the sweeps."""
    shape = (_DRAWS, problem.data.cycles)
    drawn = device.fabricate(shape, seed=seed, dtype=torch.float64).parameters_drawn()
    parts = np.broadcast_to(shared, (*shape, len(shared))).copy()
    for k, free in enumerate(problem.free):
        if free.name in drawn:
            value = drawn[free.name].double().numpy()
            parts[:, :, k] = free.part(value)
    current = problem.course(parts).current.numpy()
    return switching_voltages(problem.data, polarity, current)


def missed(problem: Problem, own: Own, polarity: int) -> tuple[float, float]:
    """Return by how much the cycles' own loops miss set and reset voltages (V), mean square."""
    current = problem.course(own.parts[None]).current.numpy()[:, 0]
    pairs = zip(
        switching_voltages(problem.data, polarity),
        switching_voltages(problem.data, polarity, current),
        strict=True,
    )
    off = [(at - found)[np.isfinite(at - found)] for at, found in pairs]
    on, back = (float((one**2).mean()) if len(one) else 0.0 for one in off)
    return on, back


def coverage(
    measured: Switching, drawn: tuple[Array, Array], miss: tuple[float, float], cycles: int
) -> Calibration | None:
    """Return how often measured switching voltages lie in their predictive intervals.

    The interval of a voltage is ``mean ± t √((1 + 1/n) s² + m²)`` with mean and standard deviation
    of the population, what the model misses, and Student's t of n - 1 degrees of freedom: mean and
    spread are those of n cycles.

    Args:
        measured: of cycles that the population does not know.
        drawn: set and reset voltages of the population through the same sweeps.
        miss: mean squares of what the model misses of either (V²).
        cycles: n, from which the population was made, at least 2.
    """
    inside, count = np.zeros(len(LEVELS)), 0
    widths = scipy.stats.t.ppf(0.5 + 0.5 * np.array(LEVELS), cycles - 1)
    for at, draws, m in zip((measured.set, measured.reset), drawn, miss, strict=True):
        for k in np.flatnonzero(np.isfinite(at)):
            own = draws[:, k][np.isfinite(draws[:, k])]
            if len(own) < 2:
                continue
            sigma = np.sqrt((1.0 + 1.0 / cycles) * own.var(ddof=1) + m)
            inside += np.abs(at[k] - own.mean()) <= widths * sigma
            count += 1
    if not count:
        return None
    return Calibration(LEVELS, tuple((inside / count).tolist()), count)
