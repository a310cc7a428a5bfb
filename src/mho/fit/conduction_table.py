"""A current–voltage law without a formula: a monotone curve through a few points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mho.devices.conduction import ConductionLaw, TabulatedLaw
from mho.fit.calibration import Array

KNOTS = 15
_DEEPEST = 12.0  # a step e^12 times another's slope is far beyond any cell

Made = tuple[
    tuple[str, ...], list[Array], tuple[list[float], list[float]], Callable[[Array], ConductionLaw]
]


def shape(v: Array) -> Made:
    """Return what a search for such a law needs: names, starts, bounds and a maker.

    The points lie over the voltages measured, closer near 0 V, where the slope is the conductance;
    where voltages of one polarity only were measured, the law is odd. What is searched are
    logarithms of the slopes from point to point, the one beside 0 V being 1: all such laws rise.

    Args:
        v: voltages measured (V).
    """
    low, high = min(float(v.min()), 0.0), max(float(v.max()), 0.0)
    odd = low == 0.0 or high == 0.0
    most = max(-low, high)
    if odd:
        volts, first = most * _spaced(KNOTS), 0
    else:
        below = int(np.clip(round(KNOTS * -low / (high - low)), 3, KNOTS - 4))
        volts = np.concatenate([low * _spaced(below + 1)[::-1], high * _spaced(KNOTS - below)[1:]])
        first = below
    steps = len(volts) - 1
    others = [k for k in range(steps) if k != first]

    def make(own: Array) -> TabulatedLaw:
        slope = np.ones(steps)
        slope[others] = np.exp(own)
        values = np.concatenate([[0.0], np.cumsum(slope * np.diff(volts))])
        values -= values[first]
        return TabulatedLaw(tuple(volts.tolist()), tuple(values.tolist()), odd=odd)

    names = tuple(f"slope[{0.5 * (volts[k] + volts[k + 1]):.3g} V]" for k in others)
    bounds = ([-_DEEPEST] * len(others), [_DEEPEST] * len(others))
    return names, [np.zeros(len(others))], bounds, make


def _spaced(count: int) -> Array:
    spaced: Array = np.linspace(0.0, 1.0, count) ** 1.5
    return spaced
