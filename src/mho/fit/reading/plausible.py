"""What a memory cell can be: values outside are questioned, for a unit is most likely wrong."""

from __future__ import annotations

import re

import numpy as np

from mho.fit.calibration import Array
from mho.fit.reading.columns import Column
from mho.fit.reading.names import DIMENSIONS, READINGS
from mho.fit.reading.table import Table

# Smallest and largest that the largest magnitude of a column may be (SI); the second is of
# columns without a unit, where plain SI numbers of another size are more likely a prefix left out.
_BOUNDS = {
    "conductance": ((1e-13, 0.1), (1e-13, 1e-3), "µS"),
    "resistance": ((10.0, 1e13), (1e3, 1e13), "kΩ"),  # of the smallest, here
    "current": ((1e-14, 1.0), (1e-14, 2e-2), "µA"),
    "voltage": ((1e-3, 100.0), (1e-2, 20.0), "mV"),
    "read voltage": ((1e-4, 10.0), (1e-3, 5.0), "mV"),
    "dg": ((1e-18, 0.1), (1e-18, 1e-3), "µS"),
}
_UNITS = {"S": ("µS", 1e-6), "Ω": ("kΩ", 1e3), "A": ("µA", 1e-6), "V": ("mV", 1e-3)}


def question(table: Table, column: Column) -> None:
    """Refuse a column whose values no memory cell has, unless the user said its unit.

    Args:
        table: with the column's values.
        column: which.

    Raises:
        ValueError: naming the value, the range, and what to say if it is right.
    """
    quantity = column.quantity
    kind = quantity
    if quantity in ("target", "achieved"):
        kind = READINGS.get(column.meaning.dimension or "S", "")
    if column.asserted or kind not in _BOUNDS or quantity not in table.values:
        return
    values = np.abs(table.values[quantity])
    if not np.isfinite(values).any():
        return
    with_unit, without, _ = _BOUNDS[kind]
    low, high = with_unit if column.meaning.unit else without
    row = _telling(values, smallest=kind == "resistance")
    if low <= values[row] <= high:
        return
    base = {"conductance": "S", "dg": "S", "resistance": "Ω", "current": "A"}.get(kind, "V")
    other, factor = _UNITS[base]
    raw = values[row] / column.meaning.factor
    why = (
        f"{values[row]:.4g} {base} is out of what is usual for a cell ({low:g} … {high:g} {base}"
        f"{'' if column.meaning.unit else ' where no unit is given'}); "
    )
    name = _short(column)
    why += (
        f"--unit {name!r}={other} would read {raw * factor:.4g} {base}, "
        f"--unit {name!r}={column.meaning.unit or base} takes it as it is"
    )
    raise table.refuse(row, quantity, why)


def question_conductances(table: Table, column: Column, g: Array) -> None:
    """Refuse currents (or resistances) whose conductances no memory cell has (ValueError)."""
    if column.asserted or column.quantity == "conductance" or not np.isfinite(g).any():
        return
    with_unit, without, _ = _BOUNDS["conductance"]
    low, high = with_unit if column.meaning.unit else without
    row = int(np.nanargmax(g))
    if low <= g[row] <= high:
        return
    base = column.meaning.dimension or DIMENSIONS.get(column.quantity, "S")
    name = _short(column)
    raise table.refuse(
        row,
        column.quantity,
        f"a conductance of {g[row]:.3g} S follows, out of what is usual for a cell ({low:g} … "
        f"{high:g} S{'' if column.meaning.unit else ' where no unit is given'}): say the unit, as "
        f"in --unit {name!r}={_UNITS[base][0]} or, if it is so, --unit {name!r}="
        f"{column.meaning.unit or base}",
    )


def question_jumps(table: Table, g: Array, dg: Array) -> None:
    """Refuse jumps larger than any conductance: their units differ (ValueError)."""
    row = int(np.nanargmax(np.abs(dg)))
    if np.abs(dg[row]) > 1.5 * np.nanmax(g):
        raise table.refuse(
            row,
            "dg",
            f"a jump of {dg[row]:.3g} S is larger than every conductance (at most "
            f"{np.nanmax(g):.3g} S): say their units, as in --unit dg=nS",
        )


def _short(column: Column) -> str:
    # Its name without the unit, as one would type it.
    return re.split(r"[(\[/]", column.name)[0].strip() or column.quantity


def _telling(values: Array, *, smallest: bool) -> int:
    if smallest:
        positive = np.where(values > 0.0, values, np.nan)
        return int(np.nanargmin(positive)) if np.isfinite(positive).any() else 0
    return int(np.nanargmax(values))
