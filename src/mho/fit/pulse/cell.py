"""One cell: its data, and a law fitted to it, with how many pulses span its window."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mho.fit.calibration import Array
from mho.fit.pulse.data import Trains, Window, trains, window
from mho.fit.pulse.laws import Law
from mho.fit.pulse.solve import Solution, problem, solve

Levels = tuple[int, int]

# Of log likelihood, for two more parameters: one in a thousand by chance, or one in twenty where
# no bound says what the window is.
_BETTER, _BETTER_OPEN = 6.9, 3.0
_CLOSE = 0.3  # of log likelihood that whole levels may cost
_MOST_LEVELS = 100_000
_STEP = 1e-5  # of the parameters, for the delta method


@dataclass(frozen=True)
class CellData:
    """The data of one cell.

    Attributes:
        trains: scaled to the window.
        window: of the data.
        levels: pulses of the set and the reset half.
    """

    trains: Trains
    window: Window
    levels: Levels

    @classmethod
    def of(cls, up: Array, down: Array) -> CellData:
        """Take the halves of one cell, each ``[cycles, pulses + 1]``."""
        range_ = window(up, down)
        return cls(trains(up, down, range_), range_, (up.shape[1] - 1, down.shape[1] - 1))


@dataclass(frozen=True)
class CellFit:
    """A law fitted to one cell.

    Attributes:
        data: of the cell.
        solution: the maximum of the likelihood, in the scale of the window.
        numbers: the device's own (`Law.natural`) and the noise of a reading (S).
        covariance: of the numbers.
    """

    data: CellData
    solution: Solution
    numbers: Array
    covariance: Array

    @property
    def law(self) -> Law:
        """The law."""
        return self.solution.problem.law


def fit_cell(
    law: Law,
    data: CellData,
    *,
    noise: float,
    levels: Levels | None = None,
    start: Array | None = None,
) -> CellFit:
    """Return a law fitted to one cell.

    The exponential law needs to know how many pulses span the window. The halves' own numbers
    are taken, unless others say much more of the data: curves that reach the bounds sooner, or
    that do not come to an end.

    Args:
        law: the law.
        data: of the cell.
        noise: a guess at the noise of a reading (scaled); 0: none is fitted.
        levels: pulses that span the window, if they are known.
        start: parameters near the maximum, if they are known.
    """
    given = problem(law, data.trains, levels=levels or data.levels, read_noise=noise)
    if start is not None:
        given = replace(given, theta=np.where(given.free, start, given.theta))
    found = _bounded(solve(given, warm=start is not None), data)
    if levels is None and "levels" in law.names:
        found = _with_levels(found, data, noise)
    return _finished(_freed(found), data)


def levels_of(fit: CellFit) -> Levels:
    """Return the levels of a fit's law."""
    at = fit.law.names.index("levels")
    up, down = np.exp(fit.solution.theta[at : at + 2])
    return round(float(up)), round(float(down))


def _bounded(found: Solution, data: CellData) -> Solution:
    # Bounds that were fitted must be >= 0 and hold the data, unless readings are noisy. One that
    # had to be moved keeps the error it had.
    given, theta = found.problem, found.theta.copy()
    zero = -data.window.low / data.window.width
    theta[0] = max(theta[0] if given.reads else min(theta[0], 0.0), zero)
    theta[1] = theta[1] if given.reads else max(theta[1], 1.0)
    moved = given.free & (theta != found.theta)
    if not moved.any():
        return found
    # Not from where it was: without noise the maximum is sharp, and moves.
    again = solve(replace(given, theta=theta, free=given.free & ~moved), warm=given.reads)
    covariance = again.covariance.copy()
    for k in np.flatnonzero(moved):
        covariance[k, k] = found.covariance[k, k]
    return replace(again, covariance=covariance)


def _with_levels(found: Solution, data: CellData, noise: float) -> Solution:
    # Levels and a bound that no pulse stopped at cannot both be told: the bound is put where the
    # data end, unless noisy readings about it tell it.
    law = found.problem.law
    start = problem(law, data.trains, levels=data.levels, read_noise=noise, free_levels=True)
    free = start.free.copy()
    free[:2] = False
    theta = found.theta.copy()
    theta[:2] = start.theta[:2]
    other = solve(replace(found.problem, theta=theta, free=free), warm=True)
    settled = all(data.trains.stops)
    if start.reads:
        wider = solve(replace(other.problem, theta=other.theta, free=start.free), warm=True)
        settled = wider.value > other.value + _BETTER
        other = wider if settled else other
    least = found.value + (_BETTER if settled else _BETTER_OPEN)
    if not other.value > least:
        return found
    again = _whole(other, data, noise, settled)
    if not again.value > least:
        return found
    return replace(again, covariance=other.covariance) if settled else again


def _whole(other: Solution, data: CellData, noise: float, settled: bool) -> Solution:
    # With whole levels: the nearest, or, where bounds are free, the first above (or a few more)
    # whose window holds the data.
    law = other.problem.law
    at = law.names.index("levels")
    counts = np.exp(np.clip(other.theta[at : at + 2], 0.0, math.log(_MOST_LEVELS)))
    whole = np.maximum(np.round(counts) if settled else np.ceil(counts - 1e-3), 1)
    more = [(0, 0)] if settled or noise else [(0, 0), (1, 1), (1, 0), (0, 1), (3, 3)]
    best: Solution | None = None
    for extra in more:
        up, down = whole + extra
        given = problem(law, data.trains, levels=(int(up), int(down)), read_noise=noise)
        found = _bounded(solve(given), data)
        if best is None or found.value > best.value:
            best = found
        if best.value > other.value - _CLOSE:
            break
    assert best is not None
    return best


def _freed(found: Solution) -> Solution:
    # The greatest likelihood spends no freedom on what it fits: noise comes out too small, by as
    # much as parameters of the mean were fitted to so many pulses.
    given = found.problem
    pulses, fitted = int(given.kept.sum()), int(given.free[:-2].sum())
    if given.reads or pulses <= fitted:
        return found
    theta = found.theta.copy()
    theta[-2] += 0.5 * math.log(pulses / (pulses - fitted))
    return replace(found, theta=theta)


def _finished(found: Solution, data: CellData) -> CellFit:
    # From the scale of the window to the device's numbers, by the delta method.
    law, range_ = found.problem.law, data.window
    covariance = found.covariance.copy()
    for k, stops in enumerate(data.trains.stops):
        if stops:
            covariance[k, k] = (range_.resolution / range_.width) ** 2
    numbers = _numbers(law, found.theta, range_)
    shifts = _STEP * np.diag(np.isfinite(found.theta).astype(np.float64))
    slopes = np.stack(
        [
            (
                _numbers(law, found.theta + shift, range_)
                - _numbers(law, found.theta - shift, range_)
            )
            / (2 * _STEP)
            for shift in shifts
        ],
        axis=1,
    )
    return CellFit(data, found, numbers, slopes @ covariance @ slopes.T)


def _numbers(law: Law, theta: Array, range_: Window) -> Array:
    noise = math.exp(theta[-1]) * range_.width
    return np.append(law.numbers(theta, range_.low, range_.width), noise)
