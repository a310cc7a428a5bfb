"""Current–voltage laws of one cell's state, fitted to a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from mho.core import checks
from mho.fit.calibration import Array, Calibration, normal_coverage, vector

_STEEPEST = 100.0  # a factor e^100 over the sweep is far beyond any cell
_LAWS: dict[str, tuple[tuple[str, ...], Callable[..., Array]]] = {
    "ohmic": (("g",), lambda v, g: g * v),
    "sinh": (("g", "b"), lambda v, g, b: g * v * np.exp(-b * v) * special.exprel(2 * b * v)),
    "poole_frenkel": (("g", "beta"), lambda v, g, beta: g * v * np.exp(beta * np.sqrt(np.abs(v)))),
    "space_charge": (("g", "c"), lambda v, g, c: g * v + c * v * np.abs(v)),
    "diode": (("g", "b"), lambda v, g, b: g * v * special.exprel(b * v)),
}


@dataclass(frozen=True)
class IVFit:
    """A current–voltage law fitted to a sweep.

    Attributes:
        law: its name.
        parameters: by name; ``g`` is the low-voltage conductance (S), ``i0`` an offset (A).
        residuals: measured minus fitted (A).
        relative_error: root mean square residual over root mean square current.
        calibration: of held-out points, with residuals taken as normal.
    """

    law: str
    parameters: dict[str, float]
    residuals: Array
    relative_error: float
    calibration: Calibration

    def current(self, voltage: npt.ArrayLike) -> Array:
        """Return the fitted current (A) at voltages (V)."""
        names, law = _LAWS[self.law]
        values = [self.parameters[name] for name in names]
        return law(np.asarray(voltage, np.float64), *values) + self.parameters.get("i0", 0.0)


def iv(
    voltage: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    law: str = "best",
    offset: bool = False,
) -> IVFit:
    """Fit a current–voltage law to one state of a cell.

    The laws, all with the low-voltage conductance g: ``ohmic`` g·V; ``sinh`` g·sinh(bV)/b, the
    read-out of most switching models (the data-driven model's (a/R)·sinh(bV) has ``g = a·b/R``,
    Yakopcic's a·x·sinh(bV) ``g = a·b·x``); ``poole_frenkel`` g·V·exp(β√|V|); ``space_charge``
    g·V + c·V·|V|; ``diode`` g·(exp(bV) − 1)/b.

    Args:
        voltage: (V).
        current: (A), as many.
        law: one of the above, or ``"best"``: the one of least corrected Akaike criterion.
        offset: fit a constant current ``i0`` of the instrument, too.

    Raises:
        ValueError: if the law is unknown, the lengths differ or there are too few points.
    """
    v, i = vector("voltage", voltage), vector("current", current)
    if len(v) != len(i):
        raise ValueError(f"voltage and current must be as many, got {len(v)} and {len(i)}")
    checks.one_of("law", law, (*_LAWS, "best"))
    names = list(_LAWS) if law == "best" else [law]
    most = max(len(_LAWS[name][0]) for name in names) + offset
    if len(v) < 3 * most or len(np.unique(v)) < most + 1:
        raise ValueError(
            f"too few points to fit: got {len(v)} at {len(np.unique(v))} voltages, at least "
            f"{3 * most} at {most + 1} are needed"
        )
    if not i.any():
        raise ValueError("current must not be 0 everywhere")
    fits = [_fit_law(name, v, i, offset) for name in names]
    return min(fits, key=lambda fit: _criterion(fit.residuals, len(fit.parameters)))


def _fit_law(name: str, v: Array, i: Array, offset: bool) -> IVFit:
    p = _least_squares(name, v, i, offset)
    names = (*_LAWS[name][0], "i0") if offset else _LAWS[name][0]
    residuals = i - _law_at(name, v, p, offset)
    # Every point is held out once, in five interleaved parts.
    part = np.argsort(np.argsort(v, kind="stable")) % 5
    errors = np.empty_like(i)
    for k in range(5):
        trial = _least_squares(name, v[part != k], i[part != k], offset)
        errors[part == k] = i[part == k] - _law_at(name, v[part == k], trial, offset)
    sigma = float(np.sqrt((residuals**2).sum() / max(len(v) - len(p), 1)))
    relative = float(np.sqrt((residuals**2).mean() / (i**2).mean()))
    parameters = dict(zip(names, map(float, p), strict=True))
    return IVFit(name, parameters, residuals, relative, normal_coverage(errors, sigma))


def _least_squares(name: str, v: Array, i: Array, offset: bool) -> Array:
    # Scaled to the largest voltage and current, so that every parameter is about 1.
    volts, amps = np.abs(v).max(), np.abs(i).max()
    nonlinear = len(_LAWS[name][0]) - 1

    def misfit(p: Array) -> Array:
        return _law_at(name, v / volts, p, offset) - i / amps

    # A passive cell conducts; only the diode may face either way.
    lowest, highest = -_STEEPEST if name == "diode" else 0.0, _STEEPEST
    bounds = (
        [0.0, *[lowest] * nonlinear, *[-np.inf] * offset],
        [np.inf, *[highest] * nonlinear, *[np.inf] * offset],
    )
    fits = [
        optimize.least_squares(misfit, [1.0, *[start] * nonlinear, *[0.0] * offset], bounds=bounds)
        for start in ((0.3, 3.0) if nonlinear else (0.0,))
    ]
    p = min(fits, key=lambda fit: fit.cost).x
    p[0] *= amps / volts
    if nonlinear:
        power = {"poole_frenkel": 0.5, "space_charge": 2.0}.get(name, 1.0)
        p[1] /= volts**power
        if name == "space_charge":
            p[1] *= amps
    if offset:
        p[-1] *= amps
    return p


def _law_at(name: str, v: Array, p: Array, offset: bool) -> Array:
    return _LAWS[name][1](v, *p[: len(p) - offset]) + (p[-1] if offset else 0.0)


def _criterion(residuals: Array, parameters: int) -> float:
    # Akaike's criterion, corrected for few points; the noise counts as a parameter.
    n, k = len(residuals), parameters + 1
    spread = max(float((residuals**2).mean()), np.finfo(np.float64).tiny)
    return n * float(np.log(spread)) + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1)
