"""What a fit of retention is given: readings, their clock, their cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mho.core import checks
from mho.fit import held_out
from mho.fit.calibration import Array, vector
from mho.fit.drift_cells import Records
from mho.fit.moments import Index
from mho.fit.programming_error import labels

_LEAST = 5  # readings
_LEAST_OF_A_CELL = 3  # two parameters, and one to tell their error
_WIDE = 0.05  # of the largest conductance: less is one level
CLOCKS = ("programming", "running")


def readings(
    time: Any, g: Any, cell: Any, clock: str | None
) -> tuple[Array, Array, Index, npt.NDArray[Any]]:
    """Return times since programming, conductances and cells of all readings, and the labels.

    Raises:
        ValueError: if they do not fit, are too few, or the clock is not clear.
    """
    if np.ndim(g) == 2:
        if cell is not None:
            raise ValueError("cell must not be given with g [cells, readings]: its rows are cells")
        rows, columns = np.shape(g)
        time = np.tile(vector("time", time), rows)
        if len(time) != rows * columns:
            raise ValueError(
                f"time must be {columns}, as the columns of g, got {len(time) // rows}"
            )
        cell = np.repeat(np.arange(rows), columns)
    t, values = vector("time", time), vector("g", g)
    if len(t) != len(values):
        raise ValueError(f"time and g must be as many, got {len(t)} and {len(values)}")
    if len(t) < _LEAST:
        raise ValueError(f"too few readings to fit: got {len(t)}, at least {_LEAST} needed")
    if t.min() < 0.0:
        raise ValueError(f"time must be >= 0 s, got {t.min():.4g}")
    if clock is not None:
        checks.one_of("clock", clock, CLOCKS)
    names, index = labels("cell", np.zeros(len(t)) if cell is None else cell, len(t))
    first, last = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.minimum.at(first, index, t)
    np.maximum.at(last, index, t)
    if clock is None and len(names) > 1:
        order = np.argsort(first)
        if (first[order][1:] > last[order][:-1]).all():
            raise ValueError(
                "cells were read one after the other: say clock='running' if one clock ran "
                "through all of it, and each cell was programmed just before its first reading, "
                "or clock='programming' if times count from the programming of each (in mho fit, "
                "--clock)"
            )
    return t - first[index] if clock == "running" else t, values, index, names


def origin(t: Array, t0: float | None) -> float:
    """Return when the programmed value is read (s): as given, or the first positive time."""
    if t0 is not None:
        t0 = checks.number("t0", t0, above=0.0)
    if not (t > 0.0).any():
        raise ValueError("time must be > 0 somewhere: no time passes")
    return float(t[t > 0.0].min()) if t0 is None else float(t0)


def check(records: Records, names: Any) -> None:
    """Refuse cells of which no drift can be told (ValueError)."""
    counts, sums = records.counts, records.total(records.g)
    few = int(counts.argmin())
    if counts[few] < _LEAST_OF_A_CELL:
        raise ValueError(
            f"every cell must have at least {_LEAST_OF_A_CELL} readings, cell "
            f"{names[few]!r} has {int(counts[few])}"
        )
    dark = int((sums / counts).argmin())
    if sums[dark] <= 0.0:
        raise ValueError(
            f"the mean of a cell's readings must be > 0 S, that of cell {names[dark]!r} is "
            f"{sums[dark] / counts[dark]:.3g}: leave it out"
        )
    mean = records.total(records.elapsed) / counts
    spread = records.total((records.elapsed - mean[records.cell]) ** 2)
    if (spread <= 1e-12).any():
        raise ValueError(
            f"time must pass for every cell, but all readings of cell "
            f"{names[int(spread.argmin())]!r} are at one time (up to t0 nothing drifts)"
        )


def window(g0: Array, g_min: float | None, g_max: float | None) -> tuple[float, float, int]:
    """Return the programmable window (S), and how many levels the cells gather at."""
    for name, given in (("g_min", g_min), ("g_max", g_max)):
        if given is not None:
            checks.number(name, given, least=0.0)
    high = float(g0.max()) if g_max is None else float(g_max)
    if float(np.median(g0)) > high:
        raise ValueError(
            f"g_max must be >= the conductances of most cells, got {high:.4g}, their median is "
            f"{float(np.median(g0)):.4g} S"
        )
    wide = float(np.ptp(g0)) > _WIDE * high
    low = (float(g0.min()) if wide else 0.0) if g_min is None else float(g_min)
    if low >= high:
        raise ValueError(f"g_min must be < g_max, got {low:.4g} and {high:.4g} S")
    return low, high, held_out.distinct(g0) if wide else 1
