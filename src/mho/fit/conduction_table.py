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


def shape(v: Array, i: Array) -> Made:
    """Return what a search for such a law needs: names, starts, bounds and a maker.

    The points lie over the voltages measured, closer near 0 V, where the slope is the conductance;
    where voltages of one polarity only were measured, the law is odd. What is searched are
    logarithms of the slopes from point to point, the one beside 0 V being 1: all such laws rise.

    Args:
        v: voltages measured (V).
        i: currents measured (A) in one state, from which the search begins.
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
    slope = _slopes(np.abs(v) if odd else v, np.abs(i) if odd else i, volts)
    begin = np.log(slope[others] / slope[first]).clip(-_DEEPEST, _DEEPEST)
    return names, [begin], bounds, make


def _slopes(v: Array, i: Array, volts: Array) -> Array:
    # From means of what lies near each point, none below a thousandth of the steepest.
    order = np.argsort(v, kind="stable")
    edges = np.searchsorted(v[order], 0.5 * (volts[1:] + volts[:-1]))
    parts = np.split(order, edges)
    full = [k for k, part in enumerate(parts) if len(part)]
    places = np.array([v[parts[k]].mean() for k in full])
    means = np.array([i[parts[k]].mean() for k in full])
    slope = np.diff(np.interp(volts, places, means)) / np.diff(volts)
    found: Array = np.maximum(slope, 1e-3 * slope.max())
    return found


def _spaced(count: int) -> Array:
    spaced: Array = np.linspace(0.0, 1.0, count) ** 1.5
    return spaced
