"""From few cells to the population they are of: mean, spread and correlation of parameters.

Every cell's estimate x_i differs from the population's mean by the cell itself (variance τ²) and
by how badly it is known (s_i²). The spread is what is left when the latter is taken away: τ² so
that ``Q(τ²) = Σ (x_i − μ)²/(τ² + s_i²)``, which is χ² of n − 1 degrees of freedom, takes its mean
(R. C. Paule, J. Mandel, J. Res. Natl. Bur. Stand. 87, 377, 1982, doi 10.6028/jres.087.022); its
interval follows from the quantiles of the same Q (W. Viechtbauer, Statistics in Medicine 26, 37,
2007, doi 10.1002/sim.2514).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from mho.cells.spread import Spread, spread_about
from mho.fit.calibration import Array
from mho.fit.estimates import Estimates

_CHANCE = 0.02  # that cells which are all alike are said to differ
_FEWEST_FOR_CORRELATION = 6
_CORRELATED = 2.8  # standard errors of Fisher's z: ten pairs are looked at
_SKEWED = 0.25  # a positive parameter with a relative spread above this is taken as log-normal
_LARGEST_LOADING = 0.995
_SIGMA = 0.6827  # probability within one standard error

LIMITS: dict[str, tuple[float | None, float | None]] = {
    "g_min": (0.0, None),
    "g_max": (0.0, None),
    "nonlinearity_set": (-9.0, 9.0),
    "nonlinearity_reset": (-9.0, 9.0),
    "asymmetry": (-1.0, 1.0),
    "exponent_set": (0.0, None),
    "exponent_reset": (0.0, None),
    "step": (0.0, None),
    "c2c": (0.0, None),
    "gain": (0.0, None),
}
"""Parameters that a device may spread over its cells, and what their values must lie in."""


@dataclass(frozen=True)
class Population:
    """A population of cells.

    Attributes:
        names: of the parameters.
        mean: of each, ``[parameters]``.
        mean_error: its standard error.
        spread: standard deviation from cell to cell; 0 where cells do not differ measurably.
        spread_error: its standard error.
        differs: whether cells differ by more than chance.
        correlation: of the cells' values (not of their estimates), NaN where not significant.
    """

    names: tuple[str, ...]
    mean: Array
    mean_error: Array
    spread: Array
    spread_error: Array
    differs: tuple[bool, ...]
    correlation: Array

    def estimates(self) -> Estimates:
        """Return means and (as ``…_spread``) standard deviations as estimates."""
        names = (*self.names, *(f"{name}_spread" for name in self.names))
        errors = np.concatenate([self.mean_error, self.spread_error])
        # Means of the same cells hang together as the cells do; spreads (almost) do not.
        joint = np.eye(len(names))
        size = len(self.names)
        known = np.nan_to_num(self.correlation, nan=0.0)
        joint[:size, :size] = np.where(np.eye(size, dtype=bool), 1.0, known)
        return Estimates(
            names, np.concatenate([self.mean, self.spread]), joint * np.outer(errors, errors)
        )

    def parameters(self) -> dict[str, float | Spread]:
        """Return the device's parameters: a number, or a `Spread` where cells differ."""
        return {
            name: _spread(name, float(self.mean[k]), float(self.spread[k]), loading)
            if self.differs[k]
            else float(self.mean[k])
            for k, (name, loading) in enumerate(zip(self.names, self._loadings(), strict=True))
        }

    def _loadings(self) -> Array:
        # Of one common cause, so that loadings' products are the correlations known.
        known = np.isfinite(self.correlation) & ~np.eye(len(self.names), dtype=bool)
        joined = np.flatnonzero(known.any(axis=1))
        loadings = np.zeros(len(self.names))
        if not len(joined):
            return loadings
        wanted = self.correlation[np.ix_(joined, joined)]
        upper = np.triu(np.isfinite(wanted), 1)
        strength = np.where(np.eye(len(joined), dtype=bool), 0.0, np.abs(np.nan_to_num(wanted)))
        strongest = int(joined[strength.max(axis=1).argmax()])
        first = np.nan_to_num(self.correlation[strongest, joined], nan=0.3)
        start = np.where(joined == strongest, 0.8, 0.8 * np.sign(first))
        found = scipy.optimize.least_squares(
            lambda x: (np.outer(x, x) - wanted)[upper],
            start,
            bounds=(-_LARGEST_LOADING, _LARGEST_LOADING),
        )
        loadings[joined] = found.x
        return loadings


def population(names: tuple[str, ...], values: Array, covariances: Array) -> Population:
    """Return the population that some cells are of.

    Args:
        names: of the parameters.
        values: estimates of each cell, ``[cells, parameters]``.
        covariances: of these, ``[cells, parameters, parameters]``.
    """
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    columns = [_spread_of(x, v) for x, v in zip(values.T, variances.T, strict=True)]
    mean, mean_error, spread, spread_error, differs = zip(*columns, strict=True)
    return Population(
        names=names,
        mean=np.array(mean),
        mean_error=np.array(mean_error),
        spread=np.array(spread),
        spread_error=np.array(spread_error),
        differs=tuple(bool(d) and name in LIMITS for d, name in zip(differs, names, strict=True)),
        correlation=_correlation(values, covariances, np.array(differs)),
    )


def _spread_of(x: Array, variance: Array) -> tuple[float, float, float, float, bool]:
    # Mean, its error, standard deviation, its error, and whether it is more than chance.
    known = np.isfinite(variance) & np.isfinite(x)
    x, variance = x[known], variance[known]
    if len(x) < 2:
        nan = float("nan")
        return (float(x[0]) if len(x) else nan), nan, nan, nan, False
    scale = max(float(np.abs(x).max()), 1e-300)
    x, variance = x / scale, np.maximum(variance / scale**2, 1e-24)
    free = len(x) - 1
    most = float(np.ptp(x)) ** 2 + float(variance.max())

    def excess(square: float) -> tuple[float, float, float]:
        weight = 1.0 / (square + variance)
        mean = float((weight * x).sum() / weight.sum())
        return float((weight * (x - mean) ** 2).sum()), mean, float(weight.sum())

    def spread(at: float) -> float:
        # The spread at which Q is as large as that; Q falls as the spread grows.
        if excess(0.0)[0] <= at:
            return 0.0
        upper = most
        while excess(upper)[0] > at:
            upper *= 4.0
        return (
            float(scipy.optimize.brentq(lambda s: excess(s)[0] - at, 0.0, upper, xtol=1e-18)) ** 0.5
        )

    tau = spread(free)
    # Few cells tell its upper end worst, so that is the error.
    largest = spread(float(scipy.stats.chi2.ppf((1 - _SIGMA) / 2, free)))
    _, mean, weight = excess(tau**2)
    differs = excess(0.0)[0] > scipy.stats.chi2.ppf(1.0 - _CHANCE, free) and tau > 1e-9
    error = largest - tau
    if not largest:  # closer than their errors: what spread would not have been seen
        error = float((2.0 / (variance**-2.0).sum()) ** 0.25)
    # Few cells tell their spread badly: Student's t holds one standard error's share.
    wider = float(scipy.stats.t.ppf((1 + _SIGMA) / 2, free))
    return mean * scale, wider * weight**-0.5 * scale, tau * scale, error * scale, bool(differs)


def _correlation(values: Array, covariances: Array, differs: Array) -> Array:
    size = values.shape[1]
    result = np.full((size, size), np.nan)
    np.fill_diagonal(result, 1.0)
    known = np.isfinite(values).all(axis=1) & np.isfinite(covariances).all(axis=(1, 2))
    if known.sum() < _FEWEST_FOR_CORRELATION:
        return result
    total = np.cov(values[known], rowvar=False)
    own = total - covariances[known].mean(axis=0)
    for a in range(size):
        for b in range(a):
            if not (differs[a] and differs[b]) or min(own[a, a], own[b, b]) <= 0.0:
                continue
            seen = own[a, b] / (total[a, a] * total[b, b]) ** 0.5
            score = np.arctanh(np.clip(seen, -1 + 1e-12, 1 - 1e-12)) * (known.sum() - 3) ** 0.5
            if abs(score) > _CORRELATED:
                true = own[a, b] / (own[a, a] * own[b, b]) ** 0.5
                result[a, b] = result[b, a] = np.clip(true, -_LARGEST_LOADING, _LARGEST_LOADING)
    return result


def _spread(name: str, mean: float, sigma: float, loading: float) -> Spread:
    low, high = LIMITS[name]
    shared = {}
    if loading:
        shared = {"shared": "cell", "correlation": float(np.sign(loading) * loading**2)}
    if low == 0.0 and high is None and sigma > _SKEWED * mean > 0.0:
        wide = float(np.log1p((sigma / mean) ** 2))
        parameters = (("loc", float(np.log(mean) - wide / 2)), ("scale", wide**0.5))
        return Spread("LogNormal", parameters, **shared)  # type: ignore[arg-type]
    return spread_about(mean, sigma, low=low, high=high).replace(**shared)
