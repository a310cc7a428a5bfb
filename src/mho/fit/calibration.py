"""Calibration of fits: do measured data that a fit has not seen fall where it predicts them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from mho.core import intake

Array = npt.NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95)
OUR_STREAM = 20220408  # beside a user's seed: who is left out of a fit


@dataclass(frozen=True)
class Calibration:
    """How often held-out data fell inside the central intervals predicted for them.

    Attributes:
        levels: nominal probabilities of the intervals.
        coverage: fractions of the held-out data inside.
        count: how many data were held out.
    """

    levels: tuple[float, ...]
    coverage: tuple[float, ...]
    count: int

    @property
    def deviations(self) -> tuple[float, ...]:
        """Coverage minus level in standard errors of ``count`` independent data."""
        pairs = zip(self.levels, self.coverage, strict=True)
        return tuple((c - p) / (p * (1 - p) / self.count) ** 0.5 for p, c in pairs)


def normal_coverage(errors: Array, sigma: float) -> Calibration:
    """Return the calibration of held-out errors predicted as normal with one sigma."""
    widths = [float(scipy.special.ndtri((1 + level) / 2)) * sigma for level in LEVELS]
    inside = tuple(float((np.abs(errors) <= width).mean()) for width in widths)
    return Calibration(LEVELS, inside, len(errors))


def vector(name: str, values: Any) -> Array:
    """Return data as one float64 vector; refuse empty and non-finite ones (ValueError)."""
    array = intake.array(name, values).ravel()
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} must be finite, but {bad} of {len(array)} entries are not")
    if not len(array):
        raise ValueError(f"{name} must not be empty")
    return array
