"""The maximum of a likelihood, and the covariance there, by finite differences of many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from mho.fit.calibration import Array

Batch = Callable[[Array], Array]
"""Values ``[candidates]`` of candidate parameters ``[candidates, parameters]``."""

_GRADIENT_STEP, _HESSIAN_STEP = 1e-3, 0.2  # of a standard error
_ROUNDS = 3
_BLIND = 1e-3  # information, relative to what was thought, that is taken as none


@dataclass(frozen=True)
class Maximum:
    """Where a log likelihood is greatest.

    Attributes:
        point: the parameters.
        covariance: the inverse of the observed information there; NaN where there is none.
        value: the log likelihood.
    """

    point: Array
    covariance: Array
    value: float


def maximum(of: Batch, start: Array, scale: Array, *, errors: bool = True) -> Maximum:
    """Climb to the maximum of a log likelihood.

    The search runs in coordinates in which the likelihood is (as far as known) the same in all
    directions: first those of ``scale``, then those of the information where it came to.

    Args:
        of: the log likelihood.
        start: where to begin.
        scale: a matrix whose columns are about one standard error long and uncorrelated.
        errors: whether the covariance is wanted.
    """
    point, value = start, float(of(start[None])[0])
    covariance = np.full((len(start), len(start)), np.nan)
    for turn in range(_ROUNDS):
        found, moved = _climb(of, point, value, scale)
        gained, point, value = found[1] - value, found[0], found[1]
        last = turn == _ROUNDS - 1 or (turn > 0 and gained < 1e-3)
        if not errors and (gained < 1e-2 or last):
            break
        curved = _hessian(of, point, scale)
        half = _root_of_inverse(curved)
        if half is None:
            break
        scale = scale @ half
        covariance = scale @ scale.T
        if last or (turn > 0 and moved < 0.05):
            break
    return Maximum(point, covariance, value)


def _climb(
    of: Batch, start: Array, value: float, scale: Array
) -> tuple[tuple[Array, float], float]:
    size = len(start)
    offsets = _GRADIENT_STEP * np.concatenate([np.zeros((1, size)), np.eye(size)])

    def negative(u: Array) -> tuple[float, Array]:
        values = np.nan_to_num(of(start + (u + offsets) @ scale.T), nan=-1e100, neginf=-1e100)
        slope = (values[1:] - values[0]) / _GRADIENT_STEP
        return value - float(values[0]), -slope

    options = {"gtol": 5e-3, "maxiter": 100}
    found = scipy.optimize.minimize(
        negative, np.zeros(size), jac=True, method="BFGS", options=options
    )
    if not found.fun <= 0.0:
        return (start, value), 0.0
    return (start + scale @ found.x, value - float(found.fun)), float(np.abs(found.x).max())


def _hessian(of: Batch, point: Array, scale: Array) -> Array:
    # Of the negative log likelihood, in the coordinates of scale.
    size, h = len(point), _HESSIAN_STEP
    unit = h * np.eye(size)
    i, j = np.triu_indices(size, 1)
    offsets = np.concatenate(
        [np.zeros((1, size)), unit, -unit, unit[i] + unit[j], -unit[i] - unit[j]]
    )
    values = of(point + offsets @ scale.T)
    centre, rest = values[0], values[1:]
    plus, minus = rest[:size], rest[size : 2 * size]
    both, neither = rest[2 * size :].reshape(2, -1)
    curved = np.diag((plus + minus - 2 * centre) / h**2)
    mixed = both + neither - plus[i] - plus[j] - minus[i] - minus[j] + 2 * centre
    curved[i, j] = curved[j, i] = mixed / (2 * h**2)
    return -curved


def _root_of_inverse(matrix: Array) -> Array | None:
    # R with R R' = the inverse. What the data (almost) say nothing of is not known better than to
    # 1 / √_BLIND of what was first thought.
    if not np.isfinite(matrix).all():
        return None
    values, vectors = np.linalg.eigh(matrix)
    root: Array = vectors / np.sqrt(np.maximum(values, _BLIND))
    return root
