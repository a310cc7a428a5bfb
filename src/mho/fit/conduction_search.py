"""The least-squares search for a current–voltage law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from mho.devices.conduction import ConductionLaw
from mho.fit.calibration import Array
from mho.fit.conduction_laws import Data, Shape, split, values_at


@dataclass(frozen=True)
class Fitted:
    """A law of one shape at the least squares of its residuals.

    Attributes:
        name: of its family.
        law: itself.
        g: low-voltage conductance (S) of every state.
        i0: offset of the instrument (A).
        point: what was searched, scaled: a conductance per state, the law's own, the offset.
        shape: of the family.
        data: the points, with the noise of the states.
        residuals: measured minus fitted (A).
    """

    name: str
    law: ConductionLaw
    g: Array
    i0: float
    point: Array
    shape: Shape
    data: Data
    residuals: Array

    @property
    def criterion(self) -> float:
        """Akaike's, of residuals in units of the noise."""
        return _criterion(self.residuals * self.data.weights, len(self.point))

    @classmethod
    def of(cls, name: str, data: Data) -> Fitted:
        """Return the best law of a family."""
        shape = Shape(name, data)
        return cls.at(name, data, shape, least_squares(data, shape))

    @classmethod
    def at(cls, name: str, data: Data, shape: Shape, p: Array) -> Fitted:
        """Return the law of a scaled point."""
        g, own, i0 = split(p, data, shape)
        residuals = cls.residuals_at(p, data, shape)
        return cls(name, shape.law(own), g, i0, p, shape, data, residuals)

    @staticmethod
    def residuals_at(p: Array, data: Data, shape: Shape) -> Array:
        """Return measured minus fitted (A) of a scaled point."""
        g, own, i0 = split(p, data, shape)
        found: Array = data.i - g[data.which] * values_at(shape.law(own), data.v) - i0
        return found

    def missed(self, data: Data) -> Array:
        """Residuals of other points of the same states."""
        found: Array = data.i - self.g[data.which] * values_at(self.law, data.v) - self.i0
        return found


def least_squares(data: Data, shape: Shape, begin: Array | None = None) -> Array:
    """Return the scaled point of least squares, in units of the noise.

    Args:
        data: the points.
        shape: of the law.
        begin: where to begin; the shape's own starts if not given.
    """
    many = len(data.labels)

    def misfit(p: Array) -> Array:
        return -data.weights * Fitted.residuals_at(p, data, shape)

    bounds = (
        [*[0.0] * many, *shape.bounds[0], *[-np.inf] * data.offset],
        [*[np.inf] * many, *shape.bounds[1], *[np.inf] * data.offset],
    )
    usual = [float(np.abs(data.i[data.which == k]).max()) / data.amps for k in range(many)]
    starts = [[*usual, *start, *[0.0] * data.offset] for start in shape.starts]
    # A table's points hang together in long valleys, whose ends change nothing any more.
    ends = {"ftol": 1e-6, "xtol": 1e-6, "max_nfev": 40} if shape.name == "table" else {}
    fits = [
        scipy.optimize.least_squares(misfit, start, bounds=bounds, **ends)
        for start in (starts if begin is None else [begin])
    ]
    found: Array = min(fits, key=lambda fit: fit.cost).x
    return found


def _criterion(residuals: Array, parameters: int) -> float:
    # Akaike's criterion, corrected for few points; the noise counts as a parameter.
    n, k = len(residuals), parameters + 1
    spread = max(float((residuals**2).mean()), np.finfo(np.float64).tiny)
    return n * float(np.log(spread)) + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1)
