"""How far the noise of a swept curve hangs together from sample to sample."""

from __future__ import annotations

import numpy as np

from mho.fit.calibration import Array

_GRID = np.array([0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.91])
_SHORT = 30  # pairs of an excursion: fewer do not tell correlation from a loop
_DEGREE = 3  # of the smooth curve that noise is told from
_DROP = 2.0  # of the logarithm of the likelihood: what the data still bear, at 95 %


def correlation(differences: list[Array]) -> float:
    """Return the largest correlation of neighbours that differences of branches bear.

    The differences of an excursion are taken for a cubic, a jump, and noise of correlation ρ^k at k
    samples (AR(1)); ρ is bounded from above by the likelihood restricted to what the curve leaves
    over. It is 0 where excursions are too short to tell.

    Args:
        differences: of both branches along the way out (A), an array an excursion.
    """
    long = [d for d in differences if len(d) >= _SHORT and np.ptp(d) > 0.0]
    if not long:
        return 0.0
    score = sum(_scores(d / np.abs(d).max()) for d in long)
    return float(_GRID[np.flatnonzero(score >= np.max(score) - _DROP)[-1]])


def time(rho: float) -> float:
    """Return how many samples of correlated noise tell as much of a mean as one of white noise."""
    return (1.0 + rho) / (1.0 - rho)


def of_mean(rho: float, count: int) -> float:
    """Return the variance of the mean of so many samples over that of one."""
    lost = 2.0 * rho * (1.0 - rho**count) / (count * (1.0 - rho) ** 2)
    return (time(rho) - lost) / count


def _scores(difference: Array) -> Array:
    """Return the restricted log-likelihood of an excursion at every ρ of the grid."""
    curve = _curve(difference)
    return np.array([_score(difference, curve, rho) for rho in _GRID])


def _curve(difference: Array) -> Array:
    x = np.linspace(-1.0, 1.0, len(difference))
    jump = np.arange(len(x)) > np.abs(np.diff(difference)).argmax()
    return np.column_stack([np.vander(x, _DEGREE + 1), jump])


def _score(difference: Array, curve: Array, rho: float) -> float:
    y, x = _whitened(difference, rho), _whitened(curve, rho)
    q, r = np.linalg.qr(x)
    left = len(y) - x.shape[1]
    rest = float(((y - q @ (q.T @ y)) ** 2).sum()) / left + 1e-20
    size = 2.0 * float(np.log(np.abs(np.diag(r))).sum())
    return -0.5 * (left * float(np.log(rest)) - float(np.log(1.0 - rho**2)) + size)


def _whitened(values: Array, rho: float) -> Array:
    found: Array = np.concatenate(
        [np.sqrt(1.0 - rho**2) * values[:1], values[1:] - rho * values[:-1]]
    )
    return found
