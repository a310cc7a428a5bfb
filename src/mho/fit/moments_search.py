"""Search for the greatest likelihood of polynomials, within bounds; see `mho.fit.moments`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import scipy

from mho.fit.calibration import Array

NONE = -1  # the degree of a polynomial that is 0
FLOOR = 1e-3  # of the spread of all data: no likelihood without an end
_GRID = np.linspace(0.0, 1.0, 41)
_BEYOND = 1e-6  # by which a bound may be missed

Steep = tuple[float, float]
"""Bound on ``x (d mean/dx + k |d sd/dx|)``, and k."""

Edges = list[tuple[float | None, float | None]]
Misfit = Callable[[Array], tuple[float, Array]]

_FREE = {
    "L-BFGS-B": {"maxiter": 500, "ftol": 1e-13, "gtol": 1e-7},
    "Nelder-Mead": {"maxiter": 5000, "xatol": 1e-6, "fatol": 1e-10},
    "SLSQP": {"maxiter": 300, "ftol": 1e-10},
}
_HELD = {
    "SLSQP": {"maxiter": 300, "ftol": 1e-10},
    "trust-constr": {"maxiter": 2000, "gtol": 1e-7},
}


def bounds(mean: int, sd: int, steep: Steep | None, scale: float) -> tuple[Array, Array]:
    """Return rows and what ``rows @ (mean, sd)`` may be at most.

    A constant spread has no row: it is bounded itself. What is linear in x is held at the ends.
    """
    places = _GRID if max(mean, sd) > 1 else _GRID[[0, -1]]
    place_mean = places[:, None] ** np.arange(mean + 1)
    place_sd = places[:, None] ** np.arange(sd + 1)
    rows: list[Array] = [np.empty((0, mean + sd + 2))]
    bound: list[Array] = [np.empty(0)]
    if sd > 0:
        rows.append(np.hstack([0.0 * place_mean, -place_sd]))
        bound.append(np.full(len(places), -FLOOR))
    if steep is not None and max(mean, sd) > 0:
        most, factor = steep
        slope = place_mean * np.arange(mean + 1)
        for sign in (1.0, -1.0) if sd > 0 else (0.0,):
            slope_sd = sign * factor * place_sd * np.arange(sd + 1)
            rows.append(np.hstack([slope, slope_sd])[1:])  # at 0 there is nothing to hold
            bound.append(np.full(len(places) - 1, most / scale))
    return np.vstack(rows), np.concatenate(bound)


def inside(start: Array, rows: Array, bound: Array, mean: int) -> Array:
    """Return ``(mean, sd)`` with slopes taken back until all bounds hold: of constants they do."""
    constant = start.copy()
    constant[1 : mean + 1] = 0.0
    for part in (1.0, 0.5, 0.25, 0.1):
        trial = part * start + (1.0 - part) * constant
        if (rows @ trial <= bound).all():
            return trial
    return constant


def least(
    misfit: Misfit, starts: Iterable[Array], edges: Edges, rows: Array, bound: Array
) -> Array | None:
    """Return where a misfit is least; None if no method ends in success.

    The next method is tried where one fails from every start: what a search that failed returns
    is never used.

    Args:
        misfit: value and gradient.
        starts: where searches begin.
        edges: of every parameter.
        rows: of the first parameters, see `bounds`.
        bound: of ``rows @ parameters``.
    """
    starts = list(starts)
    wide = np.zeros((len(rows), len(edges)))
    wide[:, : rows.shape[1]] = rows
    for method, options in (_HELD if len(rows) else _FREE).items():
        ends = [_search(misfit, p, method, options, edges, wide, bound) for p in starts]
        good = [end for end in ends if _ended(end, wide, bound)]
        if good:
            return np.asarray(min(good, key=lambda end: float(end.fun)).x)
    return None


def _search(
    misfit: Misfit,
    start: Array,
    method: str,
    options: dict[str, float],
    edges: Edges,
    rows: Array,
    bound: Array,
) -> scipy.optimize.OptimizeResult:
    held = [scipy.optimize.LinearConstraint(rows, -np.inf, bound)] if len(rows) else ()
    if method == "SLSQP" and len(rows):
        held = [{"type": "ineq", "fun": lambda p: bound - rows @ p, "jac": lambda p: -rows}]
    without = method == "Nelder-Mead"
    return scipy.optimize.minimize(
        (lambda p: misfit(p)[0]) if without else misfit,
        start,
        jac=None if without else True,
        method=method,
        bounds=edges,
        constraints=held,
        options=options,
    )


def _ended(end: scipy.optimize.OptimizeResult, rows: Array, bound: Array) -> bool:
    here: npt.NDArray[np.bool_] = rows @ end.x <= bound + _BEYOND
    return bool(end.success and np.isfinite(end.fun) and here.all())
