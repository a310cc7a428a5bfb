"""Current–voltage sweeps: signs, and where cycles begin."""

from __future__ import annotations

import numpy as np
import scipy

from mho.fit.calibration import Array
from mho.fit.reading.table import Table

_PROMINENT = 0.2  # of the range of voltages: a smaller turn is none


def signed(table: Table, voltage: Array, current: Array) -> tuple[Array, list[str]]:
    """Return currents that flow with the voltage, as in every passive cell.

    Instruments give magnitudes, or the current out of the other terminal.

    Args:
        table: of the sweep.
        voltage: (V).
        current: (A).

    Raises:
        ValueError: if currents flow against the voltage at one polarity only.
    """
    far = np.abs(voltage) > 0.2 * np.abs(voltage).max()
    power = {
        name: float((current * sign)[far & (sign * voltage > 0)].sum())
        for name, sign in (("positive", 1.0), ("negative", -1.0))
    }
    magnitude = bool((current >= 0.0).all())
    if all(value <= 0.0 for value in power.values()) and any(power.values()):
        return -current, ["currents of the other terminal: signs turned, to flow with the voltage"]
    if power["negative"] < 0.0 < power["positive"] and magnitude:
        signs = np.where(voltage < 0.0, -1.0, 1.0)
        return current * signs, ["currents are magnitudes: given the sign of the voltage"]
    if min(power.values()) < 0.0 < max(power.values()):
        name = min(power, key=lambda key: power[key])
        row = int((far & ((voltage > 0) == (name == "positive"))).argmax())
        raise table.refuse(
            row, "current", f"currents flow against {name} voltages: signs mixed up?"
        )
    return current, []


def cycles_of(voltage: Array) -> Array:
    """Return the number of the cycle, from 0, of every point of a sweep.

    A cycle is one way to the far end and back, of both polarities where there are two.

    Args:
        voltage: in the order of measurement (V).
    """
    size = float(voltage.max() - voltage.min())
    if size == 0.0:
        return np.zeros(len(voltage))
    tops = scipy.signal.find_peaks(voltage, prominence=_PROMINENT * size)[0]
    feet = scipy.signal.find_peaks(-voltage, prominence=_PROMINENT * size)[0]
    first, second = (tops, feet) if _before(tops, feet) else (feet, tops)
    rising = _before(tops, feet)
    starts = []
    for top in first[1:]:
        foot = second[second < top].max() if (second < top).any() else None
        if foot is None:
            continue
        between = voltage[foot : top + 1]
        # The last point of rest before the way out: a cycle's end may be written twice.
        rest = np.flatnonzero(between <= voltage[0] if rising else between >= voltage[0])
        starts.append(int(foot + (rest[-1] if len(rest) else 0)))
    number = np.zeros(len(voltage))
    number[starts] = 1.0
    return np.cumsum(number)


def _before(tops: Array, feet: Array) -> bool:
    return len(feet) == 0 or (len(tops) > 0 and tops[0] < feet[0])
