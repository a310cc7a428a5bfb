"""Mean and spread of measured data as polynomials of x in [0, 1], by maximum likelihood.

    y_i ~ (1 - ε) N(mean(x_i), sd(x_i)² + v_i) + ε U

v_i is what is known of the variance of each datum (of an estimate, say), ε the share of data that
follow another law, of which no more is asked than that they lie in the range of all. Degrees are
chosen elsewhere (`mho.fit.held_out`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from mho.fit.calibration import Array

NONE = -1  # the degree of a polynomial that is 0
_GRID, _FINE = np.linspace(0.0, 1.0, 41), np.linspace(0.0, 1.0, 2001)
_NORMAL_MAD = 1.4826  # standard deviation over median absolute deviation
_FLOOR = 1e-3  # of the spread of all data: no likelihood without an end
_MOST_OUTLIERS = 0.5
_NO_OUTLIERS = 1e-4
_ROUNDING = 1e-9
_GROUPS = 8  # for each parameter
_BROAD = 20.0  # outliers spread over at least so many standard deviations: flat noise is noise

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]

Steep = tuple[float, float]
"""Bound on ``x (d mean/dx + k |d sd/dx|)``, and k."""


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
    regular = np.where(data.floored, special.log_ndtr(z), regular) + np.log1p(-m.outliers)
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
    shares: tuple[float, ...] = (0.02, 0.2),
) -> Moments:
    """Return the moments of greatest likelihood.

    Args:
        data: at least as many as there are coefficients.
        mean: degree of the mean; -1 for 0.
        sd: degree of the spread, which is kept >= 0; -1 for 0.
        steep: see `Steep`.
        outliers: whether there may be some.
        shares: of them, from which the search starts.
    """
    level, scale, width = _start(data, mean)
    if scale == 0.0:  # all data are just where the mean is
        return Moments(level, np.zeros(sd + 1), 0.0, max(width, 1.0))
    unit = replace(data, y=data.y / scale, known=data.known / scale**2)
    first = np.zeros(max(sd + 1, 0))
    first[:1] = np.sqrt(max(1.0 - np.median(unit.known), 0.04))
    start = np.concatenate([level / scale, first, [0.02]])
    blank = Moments(level[:0], first[:0], 0.0, width / scale)
    rows, bound = _bounds(mean, sd, steep, scale)
    edges = [(None, None)] * (len(start) - 1) + [(0.0, _MOST_OUTLIERS if outliers else 0.0)]

    def misfit(p: Array) -> tuple[float, Array]:
        now = _split(p, mean, blank)
        return -float(now.log_density(unit).mean()), -_scores(now, unit).mean(axis=0)

    within = {"type": "ineq", "fun": lambda p: bound - rows @ p, "jac": lambda p: -rows}
    if len(rows):
        start = _inside(start, rows, bound, mean)
    options = {"maxiter": 300, "ftol": 1e-10}
    best = min(
        (
            optimize.minimize(
                misfit,
                np.r_[start[:-1], share],
                jac=True,
                method="SLSQP",
                bounds=edges,
                constraints=[within] if len(rows) else (),
                options=options,
            )
            for share in (shares if outliers else (0.0,))
        ),
        key=lambda found: found.fun,
    )
    p = best.x
    p[-1] = p[-1] if p[-1] > _NO_OUTLIERS else 0.0
    found = _split(p, mean, blank)
    if sd > NONE:  # between the places at which it was held, a polynomial may dip a little
        found.sd[0] += max(0.5 * _FLOOR - float(found.sd_at(_FINE).min()), 0.0)
    covariance = _covariance(found, unit, mean, blank)
    units = np.r_[np.full(len(p) - 1, scale), 1.0]
    return Moments(
        found.mean * scale,
        found.sd * scale,
        found.outliers,
        width,
        covariance * np.outer(units, units),
        bool(len(rows)) and bool((rows @ p > bound - 1e-6).any()),
    )


def is_steep(found: Moments, steep: Steep) -> bool:
    """Whether a fit is steeper than it may be."""
    rows, bound = _bounds(len(found.mean) - 1, len(found.sd) - 1, steep, 1.0)
    rows, bound = rows[bound > 0.0], bound[bound > 0.0]
    return bool((rows @ np.r_[found.mean, found.sd, 0.0] > bound).any())


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
        ratio = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - special.log_ndtr(z))
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


def _bounds(mean: int, sd: int, steep: Steep | None, scale: float) -> tuple[Array, Array]:
    # rows @ p <= bound, at every place of the grid.
    rows, bound = [], []
    place_mean = _GRID[:, None] ** np.arange(mean + 1)
    place_sd = _GRID[:, None] ** np.arange(sd + 1)
    zero = np.zeros((len(_GRID), 1))
    if sd > NONE:
        rows.append(np.hstack([0.0 * place_mean, -place_sd, zero]))
        bound.append(np.full(len(_GRID), -_FLOOR))
    if steep is not None and max(mean, sd) > 0:
        most, factor = steep
        slope = place_mean * np.arange(mean + 1)
        for sign in (1.0, -1.0) if sd > 0 else (0.0,):
            slope_sd = sign * factor * place_sd * np.arange(sd + 1)
            rows.append(np.hstack([slope, slope_sd, zero]))
            bound.append(np.full(len(_GRID), most / scale))
    if not rows:
        return np.empty((0, mean + sd + 3)), np.empty(0)
    return np.vstack(rows), np.concatenate(bound)


def _inside(start: Array, rows: Array, bound: Array, mean: int) -> Array:
    # Slopes are taken back until all bounds hold: a constant mean and spread always do.
    constant = start.copy()
    constant[1 : mean + 1] = 0.0
    for part in (1.0, 0.5, 0.25, 0.1):
        trial = part * start + (1.0 - part) * constant
        if (rows @ trial <= bound).all():
            return trial
    return constant


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
    count = len(sums)
    if count < _GROUPS * int(free.sum()):  # too few to tell the shape of the noise
        inverse_free = inverse
        covariance = np.full((len(p), len(p)), np.nan)
        covariance[np.ix_(free, free)] = inverse_free
        return covariance
    middle = sums[:, free].T @ sums[:, free] * count / max(count - int(free.sum()), 1)
    covariance = np.full((len(p), len(p)), np.nan)
    covariance[np.ix_(free, free)] = inverse @ middle @ inverse
    return covariance
