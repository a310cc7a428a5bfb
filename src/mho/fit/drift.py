"""Power laws of drift, fitted to retention records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mho.fit.calibration import Array, vector

_LEAST_TIMES = 5


@dataclass(frozen=True)
class RetentionFit:
    """A power law fitted to a retention record.

    Attributes:
        nu: drift exponent; positive where the conductance falls.
        nu_error: standard error of it.
        g0: conductance (S) at ``t0``.
        t0: first time of the record (s).
        noise: standard deviation of a reading, relative to the law.
        residuals: relative, of every reading.
    """

    nu: float
    nu_error: float
    g0: float
    t0: float
    noise: float
    residuals: Array


def retention(time: npt.ArrayLike, g: npt.ArrayLike) -> RetentionFit:
    """Fit ``G(t) = g0·(t/t0)^(−ν)`` to a retention record, with t0 its first time.

    Args:
        time: since programming (s), > 0, increasing.
        g: conductances (S), > 0, as many.

    Raises:
        ValueError: if there are fewer than 5 readings or a value is refused.
    """
    t, g = vector("time", time), vector("g", g)
    if len(t) != len(g):
        raise ValueError(f"time and g must be as many, got {len(t)} and {len(g)}")
    if len(t) < _LEAST_TIMES:
        raise ValueError(f"too few readings to fit: got {len(t)}, at least {_LEAST_TIMES} needed")
    if t[0] <= 0 or (np.diff(t) <= 0).any() or g.min() <= 0:
        raise ValueError("time must be > 0 and increase, and g must be > 0")
    x, y = np.log(t / t[0]), np.log(g)
    slope, level = np.polyfit(x, y, 1)
    residuals = y - level - slope * x
    noise = float(np.sqrt((residuals**2).sum() / (len(t) - 2)))
    error = noise / float(np.sqrt(((x - x.mean()) ** 2).sum()))
    return RetentionFit(-float(slope), error, float(np.exp(level)), float(t[0]), noise, residuals)
