"""Mean and spread of measured data as polynomials of x in [0, 1], by maximum likelihood.

    y_i ~ (1 - ε) N(mean(x_i), sd(x_i)² + v_i) + ε U

v_i is what is known of the variance of each datum (of an estimate, say), ε the share of data that
follow another law, of which no more is asked than that they lie in the range of all. Degrees are
chosen elsewhere (`mho.fit.held_out`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import scipy

from mho.fit import moments_search as search
from mho.fit.calibration import Array
from mho.fit.moments_search import FLOOR, NONE, Steep

_FINE = np.linspace(0.0, 1.0, 2001)
_NORMAL_MAD = 1.4826  # standard deviation over median absolute deviation
MOST_OUTLIERS = 0.2
_LEAST, _FEW = 10, 20  # groups without which there are no outliers, or only by twice the evidence
_EVIDENCE = 4.0  # gain of the logarithm of the likelihood
_NO_OUTLIERS = 1e-4
_ROUNDING = 1e-9
_GROUPS, _MANY = 8, 40  # for each parameter, to tell the shape of the noise: at all, and well
_INSIDE = 0.5 * (1.0 + math.erf(math.sqrt(0.5)))  # below one standard deviation
_BROAD = 20.0  # outliers spread over at least so many standard deviations: flat noise is noise

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """What is fitted.

    Attributes:
        x: where the mean is, ``[data]``, 0…1.
        y: what was measured, ``[data]``.
        known: variance v of each, ``[data]``.
        at: where the spread is, ``[data]``, 0…1.
        floored: whether a datum is only known to be at ``y`` or below, ``[data]``.
        group: number of the group (the cell) that each is of, ``[data]``: held out as one.
    """

    x: Array
    y: Array
    known: Array
    at: Array
    floored: Mask
    group: Index

    @classmethod
    def of(cls, x: Array, y: Array, *, known: Array | None = None) -> Data:
        """Return data that are free of each other."""
        count = len(x)
        known = np.zeros(count) if known is None else known
        return cls(x, y, known, x, np.zeros(count, bool), np.arange(count))

    def part(self, mask: Mask | Index) -> Data:
        """Return some of them."""
        return Data(
            self.x[mask],
            self.y[mask],
            self.known[mask],
            self.at[mask],
            self.floored[mask],
            self.group[mask],
        )


@dataclass(frozen=True)
class Moments:
    """Polynomials of the mean and the spread.

    Attributes:
        mean: coefficients, lowest order first; empty for 0.
        sd: those of the spread.
        outliers: ε.
        width: of the range of all data.
        covariance: of ``(mean, sd, outliers)``; NaN for ε where it is 0.
        bounded: whether a bound holds a coefficient.
    """

    mean: Array
    sd: Array
    outliers: float
    width: float
    covariance: Array = field(default_factory=lambda: np.empty((0, 0)))
    bounded: bool = False

    def mean_at(self, x: Array) -> Array:
        """Return the mean at x."""
        return value(self.mean, x)

    def sd_at(self, x: Array) -> Array:
        """Return the spread at x."""
        return value(self.sd, x)

    def standardised(self, data: Data) -> Array:
        """Return ``(y - mean) / √(sd² + v)``."""
        sigma = np.sqrt(self.sd_at(data.at) ** 2 + data.known)
        error = data.y - self.mean_at(data.x)
        return np.divide(error, sigma, out=np.zeros_like(error), where=sigma > 0.0)

    def log_density(self, data: Data) -> Array:
        """Return the logarithm of the density of every datum."""
        regular, other = _logs(self, data)
        return np.logaddexp(regular, other)

    def suspicious(self, data: Data) -> Mask:
        """Return the mask of data that more likely follow another law."""
        regular, other = _logs(self, data)
        return np.asarray(other > regular)


def value(coefficients: Array, x: Array) -> Array:
    """Return a polynomial at x; 0 for one without coefficients."""
    if not len(coefficients):
        return np.zeros_like(x)
    return np.asarray(np.polynomial.polynomial.polyval(x, coefficients))


def _logs(m: Moments, data: Data) -> tuple[Array, Array]:
    # Logarithms of both parts of the density; of a floored datum, of both parts' probability.
    variance = _variance(m, data)
    z = (data.y - m.mean_at(data.x)) / np.sqrt(variance)
    regular = -0.5 * (z**2 + np.log(2 * np.pi * variance))
    regular = np.where(data.floored, scipy.special.log_ndtr(z), regular) + np.log1p(-m.outliers)
    with np.errstate(divide="ignore"):
        share = np.log(m.outliers)
    return regular, share + np.where(data.floored, np.log(0.5), -np.log(m.width))


def _variance(m: Moments, data: Data) -> Array:
    # What is known exactly, and does not vary, is still known to rounding alone.
    least = max((_ROUNDING * m.width) ** 2, np.finfo(float).tiny)
    return np.asarray(np.maximum(m.sd_at(data.at) ** 2 + data.known, least))


def fit(
    data: Data,
    mean: int,
    sd: int,
    *,
    steep: Steep | None = None,
    outliers: bool = True,
    shares: tuple[float, ...] = (0.02, 0.1),
) -> Moments:
    """Return the moments of greatest likelihood.

    Outliers must be seen: they are supposed where they make the data more likely by far than
    chance would; of fewer than 20 groups by further, of fewer than 10 not at all.

    The spread is larger than that of greatest likelihood by the data that the mean follows,
    ``√(n / (n - coefficients))``; errors allow for few data as Student's t does.

    Args:
        data: at least as many as there are coefficients.
        mean: degree of the mean; -1 for 0.
        sd: degree of the spread, which is kept >= 0; -1 for 0.
        steep: see `Steep`.
        outliers: whether there may be some, up to a share of 0.2.
        shares: of them, from which the search starts.

    Raises:
        RuntimeError: if no search for the greatest likelihood ends in success.
    """
    level, scale, width = _start(data, mean)
    if scale == 0.0:  # all data are just where the mean is
        return Moments(level, np.zeros(sd + 1), 0.0, max(width, 1.0))
    unit = replace(data, y=data.y / scale, known=data.known / scale**2)
    blank = Moments(level[:0], level[:0], 0.0, width / scale)
    task = _Task(unit, mean, sd, blank, *search.bounds(mean, sd, steep, scale))
    found = task.plain(level / scale)
    groups = len(np.unique(data.group))
    if outliers and groups >= _LEAST:
        mixed = task.mixed(level / scale, shares)
        # Data that vary must not look like strangers only because no spread is fitted.
        other = found if sd > NONE else task.of_spread().plain(level / scale)
        if mixed is not None and _gain(mixed, other, unit) > _needed(groups):
            found = mixed
    return _of_scale(found, task, scale)


def _needed(groups: int) -> float:
    return float(_EVIDENCE + 0.5 * np.log(groups)) * (2.0 if groups < _FEW else 1.0)


def _gain(one: Moments, other: Moments, data: Data) -> float:
    return float((one.log_density(data) - other.log_density(data)).sum())


@dataclass(frozen=True)
class _Task:
    """What is fitted, in units of its scale, and within which bounds."""

    unit: Data
    mean: int
    sd: int
    blank: Moments
    rows: Array
    bound: Array

    def of_spread(self) -> _Task:
        """Return the same task with a constant spread."""
        rows = np.hstack([self.rows, np.zeros((len(self.rows), 1))])
        return replace(self, sd=0, rows=rows)

    def plain(self, level: Array) -> Moments:
        """Return the moments of data without outliers."""
        error = self.unit.y - value(level, self.unit.x)
        start = self._start(level, float((error**2).mean()))

        def misfit(p: Array) -> tuple[float, Array]:
            fun, slope = self._misfit(np.r_[p, 0.0])
            return fun, slope[:-1]

        p = search.least(misfit, [start], self._edges(), self.rows, self.bound)
        if p is None:
            raise RuntimeError(
                f"no greatest likelihood was found of {len(self.unit.y)} data with a mean of "
                f"degree {self.mean} and a spread of degree {self.sd}: try lower degrees"
            )
        return _split(np.r_[p, 0.0], self.mean, self.blank)

    def mixed(self, level: Array, shares: tuple[float, ...]) -> Moments | None:
        """Return the moments of data with outliers; None where there are none."""
        first = self._start(level, 1.0)
        edges = [*self._edges(), (0.0, MOST_OUTLIERS)]
        starts = [np.r_[first, min(share, MOST_OUTLIERS)] for share in shares]
        p = search.least(self._misfit, starts, edges, self.rows, self.bound)
        if p is None or p[-1] <= _NO_OUTLIERS:
            return None
        return _split(p, self.mean, self.blank)

    def bounded(self, found: Moments) -> bool:
        """Whether a bound holds a coefficient."""
        flat = self.sd == 0 and found.sd[0] <= FLOOR + 1e-6
        at = self.rows @ np.r_[found.mean, found.sd] > self.bound - 1e-6
        return bool(flat or at.any())

    def _start(self, level: Array, variance: float) -> Array:
        first = np.zeros(self.sd + 1)
        first[:1] = np.sqrt(max(variance - float(np.median(self.unit.known)), 0.04))
        return search.inside(np.r_[level, first], self.rows, self.bound, self.mean)

    def _edges(self) -> search.Edges:
        free: search.Edges = [(None, None)] * (self.mean + self.sd + 2)
        if self.sd == 0:
            free[-1] = (FLOOR, None)
        return free

    def _misfit(self, p: Array) -> tuple[float, Array]:
        now = _split(p, self.mean, self.blank)
        fun = -float(now.log_density(self.unit).mean())
        return fun, -_scores(now, self.unit).mean(axis=0)


def _of_scale(found: Moments, task: _Task, scale: float) -> Moments:
    bounded = task.bounded(found)
    if task.sd > NONE:  # between the places at which it was held, a polynomial may dip a little
        found.sd[0] += max(0.5 * FLOOR - float(found.sd_at(_FINE).min()), 0.0)
    covariance = _covariance(found, task.unit, task.mean, task.blank)
    units = np.r_[np.full(len(covariance) - 1, scale), 1.0]
    left = len(task.unit.y) - len(found.mean)
    lost, student = 1.0, 1.0
    if left > 0 and len(found.mean):
        student = float(scipy.special.stdtrit(left, _INSIDE)) ** 2
    if left > 0 and len(found.sd):
        lost = len(task.unit.y) / left
    covariance = covariance * lost * student
    return Moments(
        found.mean * scale,
        found.sd * scale * np.sqrt(lost),
        found.outliers,
        found.width * scale,
        covariance * np.outer(units, units),
        bounded,
    )


def is_steep(found: Moments, steep: Steep) -> bool:
    """Whether a fit is steeper than it may be."""
    rows, bound = search.bounds(len(found.mean) - 1, len(found.sd) - 1, steep, 1.0)
    rows, bound = rows[bound > 0.0], bound[bound > 0.0]
    return bool((rows @ np.r_[found.mean, found.sd] > bound).any())


def _start(data: Data, mean: int) -> tuple[Array, float, float]:
    # A mean by least absolute deviations (reweighted), the spread about it, and the range of all.
    powers = data.x[:, None] ** np.arange(mean + 1)
    weight: Array = np.ones(len(data.y))
    level: Array = np.zeros(mean + 1)
    error = data.y
    for _ in range(20 if mean > NONE else 0):
        root = np.sqrt(weight)
        level = np.asarray(np.linalg.lstsq(powers * root[:, None], data.y * root, rcond=None)[0])
        error = data.y - powers @ level
        least = max(np.median(np.abs(error)), 1e-12 * np.abs(data.y).max(), 1e-300)
        weight = 1.0 / np.maximum(np.abs(error), 0.5 * least)
    scale = _NORMAL_MAD * float(np.median(np.abs(error)))
    if scale <= 1e-9 * float(np.abs(data.y).max()):
        scale = float(np.sqrt((error**2).mean()))
    if scale <= 1e-9 * float(np.abs(data.y).max()):
        scale = float(np.sqrt(np.median(data.known)))
    return level, scale, max(float(np.ptp(data.y)), _BROAD * scale)


def _split(p: Array, mean: int, blank: Moments) -> Moments:
    return replace(blank, mean=p[: mean + 1], sd=p[mean + 1 : -1], outliers=max(float(p[-1]), 0.0))


def _scores(m: Moments, data: Data) -> Array:
    """Return the gradient of every datum's log density, ``[data, parameters]``."""
    sd = m.sd_at(data.at)
    variance = _variance(m, data)
    sigma = np.sqrt(variance)
    z = (data.y - m.mean_at(data.x)) / sigma
    by_mean, by_sd = z / sigma, (z**2 - 1.0) * sd / variance
    if data.floored.any():
        # φ/Φ, from logarithms: Φ may be smaller than any number.
        ratio = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - scipy.special.log_ndtr(z))
        by_mean = np.where(data.floored, -ratio / sigma, by_mean)
        by_sd = np.where(data.floored, -ratio * z * sd / variance, by_sd)
    regular, other = _logs(m, data)
    total = np.maximum(np.logaddexp(regular, other), -600.0)
    share = np.exp(regular - total)
    density = np.exp(regular - np.log1p(-m.outliers) - total)
    chance = np.where(data.floored, 0.5, 1.0 / m.width) * np.exp(-total)
    powers = data.x[:, None] ** np.arange(len(m.mean))
    powers_sd = data.at[:, None] ** np.arange(len(m.sd))
    return np.column_stack(
        [
            (share * by_mean)[:, None] * powers,
            (share * by_sd)[:, None] * powers_sd,
            chance - density,
        ]
    )


def _covariance(m: Moments, data: Data, mean: int, blank: Moments) -> Array:
    """Return the covariance of the estimates, robust to the shape of the noise (sandwich)."""
    p = np.concatenate([m.mean, m.sd, [m.outliers]])
    free = np.ones(len(p), bool)
    free[-1] = m.outliers > 0.0
    step = 1e-5 * np.maximum(np.abs(p), 1e-2)
    hessian = np.empty((len(p), len(p)))
    for k in range(len(p)):
        ends = []
        for sign in (1.0, -1.0):
            moved = p.copy()
            moved[k] += sign * step[k]
            ends.append(_scores(_split(moved, mean, blank), data).sum(axis=0))
        hessian[k] = (ends[0] - ends[1]) / (2.0 * step[k])
    scores = _scores(m, data)
    sums = np.zeros((int(data.group.max()) + 1, len(p)))
    np.add.at(sums, data.group, scores)
    sums = sums[np.unique(data.group)]
    inverse = np.linalg.pinv(-0.5 * (hessian + hessian.T)[np.ix_(free, free)])
    covariance = np.full((len(p), len(p)), np.nan)
    covariance[np.ix_(free, free)] = _robust(inverse, sums[:, free])
    return covariance


def _robust(inverse: Array, sums: Array) -> Array:
    """Return the sandwich; what few groups say of the noise may only widen errors."""
    count, free = sums.shape
    if count < _GROUPS * free:
        return inverse
    sandwich = inverse @ (sums.T @ sums) @ inverse * count / max(count - free, 1)
    if count >= _MANY * free:
        return sandwich
    normal, found = np.diag(inverse), np.diag(sandwich)
    wider = np.sqrt(
        np.divide(normal, found, out=np.ones(free), where=(found > 0) & (normal > found))
    )
    return np.asarray(sandwich * np.outer(wider, wider))
