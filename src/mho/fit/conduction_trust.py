"""What is known of a fitted current–voltage law: errors, held-out points, what it misses."""

from __future__ import annotations

import numpy as np
import scipy

from mho.fit.calibration import Array, Calibration, normal_coverage
from mho.fit.conduction_laws import Data, Shape
from mho.fit.conduction_search import Fitted, least_squares
from mho.fit.estimates import Estimates

_PARTS = 5  # that data are held out in


def estimates(best: Fitted, data: Data) -> Estimates:
    """Return the parameters with their errors, residuals taken as independent."""
    if data.labels == [""]:
        names: tuple[str, ...] = ("g",)
    else:
        names = tuple(f"g[{label}]" for label in data.labels)
    names = (*names, *best.shape.names, *(("i0",) if data.offset else ()))
    many = len(data.labels)
    unit = np.concatenate(
        [
            np.full(many, data.amps / data.volts),
            best.shape.unit(),
            np.full(int(data.offset), data.amps),
        ]
    )
    weights = best.data.weights

    def misfit(p: Array) -> Array:
        return weights * Fitted.residuals_at(p, best.data, best.shape)

    slopes = scipy.optimize._numdiff.approx_derivative(misfit, best.point) / unit
    weighted = weights * best.residuals
    variance = float((weighted**2).sum()) / max(len(weighted) - len(names), 1)
    return Estimates.of_residuals(names, best.point * unit, slopes, variance)


def held_out(best: Fitted, data: Data) -> Calibration:
    """Return the calibration of points, each held out once, in interleaved parts."""
    part = np.argsort(np.argsort(data.v, kind="stable")) % _PARTS
    weights = best.data.weights
    errors = np.empty_like(data.i)
    for k in range(_PARTS):
        seen = best.data.part(part != k)
        shape = Shape(best.name, data)
        trial = Fitted.at(best.name, seen, shape, least_squares(seen, shape, best.point))
        errors[part == k] = trial.missed(best.data.part(part == k))
    weighted = weights * best.residuals
    sigma = float(np.sqrt((weighted**2).sum() / max(len(data.v) - len(best.point), 1)))
    return normal_coverage(weights * errors, sigma)


def separation(best: Fitted, data: Data) -> float:
    """Return how much of the current one shape for all states misses beyond their own shapes."""
    own = sum(
        float((Fitted.of(best.name, data.state(k)).residuals ** 2).sum())
        for k in range(len(data.labels))
    )
    more = float((best.residuals**2).sum()) - own
    return float(np.sqrt(max(more, 0.0) / (data.i**2).sum()))


def hang(residuals: Array, data: Data) -> float:
    """Return the correlation of residuals that are neighbours in voltage, of the same state."""
    order = np.lexsort((data.v, data.which))
    r, k = residuals[order], data.which[order]
    same = k[1:] == k[:-1]
    square = float((r**2).sum())
    if square <= (1e-9 * data.amps) ** 2 * len(r):
        return 0.0
    return float((r[1:] * r[:-1])[same].sum()) / square
