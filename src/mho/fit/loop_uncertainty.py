"""How sure the parameters of a loop fit are."""

from __future__ import annotations

from typing import Any

import numpy as np

from mho.fit.calibration import Array
from mho.fit.estimates import Estimates
from mho.fit.loop_search import PULL, Problem, jacobian

_AT_BOUND = 1e-3  # of the way between bounds
_BLIND = 12.0**-0.5  # as wide as if anything between the bounds were as likely
_DECIDED = 0.5  # of an estimate, that its likely value decides, not the loops
_LEAST = 5  # cycles that show how far estimates differ from cycle to cycle


def estimates_of(problem: Problem, shared: Array) -> Estimates:
    """Return the shared parameters with their covariance.

    Residuals of a loop hang together over a whole branch; cycles are independent. The covariance
    is that of estimates whose cycles are drawn anew (Liang & Zeger 1986, doi
    10.1093/biomet/73.1.13); with fewer than five cycles that of white residuals, times how far
    theirs hang together. A parameter at its bound has no error (NaN); nor has one that the loops
    do not tell: where the error is as wide as the bounds, or the likely value decides.

    Args:
        problem: of all cycles.
        shared: candidate ``[free]``.
    """
    miss, slopes = jacobian(problem.trials, shared[None])
    residuals, matrix = miss[0], slopes[0]
    inside = ~at_bound(shared) & matrix.any(axis=0)
    covariance = np.full((len(shared), len(shared)), np.nan)
    if inside.any():
        own = matrix[:, inside]
        found = _covariance(own, residuals, problem.data.lengths)
        blind = (np.sqrt(np.diagonal(found)) > _BLIND) | (_pulled(own) > _DECIDED)
        found[blind, :] = found[:, blind] = np.nan
        covariance[np.ix_(inside, inside)] = found
    slope = np.array([f.slope(shared[k : k + 1])[0] for k, f in enumerate(problem.free)])
    values = np.array([f.value(shared[k]) for k, f in enumerate(problem.free)])
    return Estimates(problem.names, values, covariance * np.outer(slope, slope))


def at_bound(parts: Array) -> Any:
    """Return which parts of the way lie at a bound."""
    return (parts <= _AT_BOUND) | (parts >= 1.0 - _AT_BOUND)


def _pulled(matrix: Array) -> Array:
    """Return the part of each estimate that its likely value decides, not the loops."""
    scale = np.linalg.norm(matrix, axis=0)
    inverse = np.linalg.pinv((matrix / scale).T @ (matrix / scale), hermitian=True)
    found: Array = np.diagonal(inverse) * (PULL / scale) ** 2
    return found


def _covariance(matrix: Array, residuals: Array, lengths: list[int]) -> Array:
    scale = np.linalg.norm(matrix, axis=0)
    inverse = np.linalg.pinv(matrix / scale, rcond=1e-6)
    bread = inverse @ inverse.T
    # Samples of all cycles, set voltages, reset voltages, and what belongs to none.
    each = np.arange(len(lengths))
    cycle = np.concatenate([np.repeat(each, lengths), each, each])
    cycle = np.append(cycle, np.full(len(residuals) - len(cycle), -1))
    if len(lengths) >= _LEAST:
        pulls = np.stack(
            [(matrix[cycle == k] / scale).T @ residuals[cycle == k] for k in range(len(lengths))]
        )
        correction = len(lengths) / (len(lengths) - 1)
        found = correction * bread @ pulls.T @ pulls @ bread
    else:
        hang = float((residuals[1:] * residuals[:-1]).sum() / (residuals**2).sum())
        longer = (1.0 + hang) / max(1.0 - hang, 0.01)
        free = max(len(residuals) / longer - matrix.shape[1], 1.0)
        found = (residuals**2).sum() / free * bread
    covariance: Array = found / np.outer(scale, scale)
    return covariance
