"""Conductances from what was read: conductance, resistance, or current at a read voltage."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mho.fit.calibration import Array
from mho.fit.reading.columns import Column
from mho.fit.reading.names import READINGS
from mho.fit.reading.numbers import number
from mho.fit.reading.table import Table

_ORDER = ("conductance", "resistance", "current")
_AGREE = 0.02  # two readings of one conductance may differ by so much
_NOISE = 0.01  # readings so far below 0, against the largest, are noise
_READ_VOLTAGE = re.compile(
    r"(?:\bv[ _]?read|\bu[ _]?read|\bread(?:ing)?[ _-]*(?:voltage|bias|v)|lesespannung)\b"
    r"\s*(?:[(\[]\s*(m?)V\s*[)\]])?[\s:=,;]*([+-]?[0-9.,]+(?:[eE][+-]?[0-9]+)?)\s*(m?)V?\b",
    re.IGNORECASE,
)


def reading(columns: Sequence[Column]) -> str | None:
    """Return what was read: the first there is of conductance, resistance and current."""
    there = {column.quantity for column in columns}
    return next((quantity for quantity in _ORDER if quantity in there), None)


def conductance(
    table: Table,
    quantity: str,
    dimension: str,
    voltage: Array | float | None,
    *,
    noisy: bool = False,
) -> tuple[Array, list[str]]:
    """Return conductances (S), ``[rows]``, and what had to be taken as something else.

    Args:
        table: with the readings.
        quantity: of the column.
        dimension: ``"S"``, ``"Ω"`` or ``"A"``.
        voltage: at which currents were read (V).
        noisy: whether readings a little below 0 stay what they are, as noise about a conductance.

    Raises:
        ValueError: if a current has no read voltage, or a conductance is negative.
    """
    values = table.values[quantity]
    if dimension == "Ω":
        if (values == 0.0).any():
            raise table.refuse(int((values == 0.0).argmax()), quantity, "a resistance of 0 Ω")
        g = 1.0 / values
    elif dimension == "A":
        if voltage is None:
            raise table.refuse(
                0,
                quantity,
                "currents were read: at which voltage? Say --read-voltage (V), as in "
                "--read-voltage 0.1",
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            g = values / voltage
        if not np.isfinite(g[np.isfinite(values)]).all():
            bad = int((np.isfinite(values) & ~np.isfinite(g)).argmax())
            raise table.refuse(bad, quantity, "the read voltage is 0 or missing here")
    else:
        g = values
    return _above_zero(table, quantity, g, noisy)


def _above_zero(table: Table, quantity: str, g: Array, noisy: bool) -> tuple[Array, list[str]]:
    below = g < 0.0
    if not below.any():
        return g, []
    worst = int(np.nanargmin(g))
    if -g[worst] > _NOISE * np.nanmax(g):
        raise table.refuse(
            worst,
            quantity,
            f"a conductance must be >= 0, got {g[worst]:.4g} S ({int(below.sum())} are below 0)",
        )
    many = int(below.sum())
    said = f"{many} reading{'' if many == 1 else 's'} a little below 0"
    if noisy:
        return g, [f"{said} kept: noise ({table.lines(below)})"]
    return np.where(below, 0.0, g), [f"{said} taken as 0 ({table.lines(below)})"]


def agreement(table: Table, chosen: str, g: Array, voltage: Array | float | None) -> list[str]:
    """Compare the readings that were not chosen with those that were.

    Raises:
        ValueError: if they are not the same conductances.
    """
    said = []
    for other in _ORDER:
        if other == chosen or other not in table.values:
            continue
        values = table.values[other]
        if other == "current":
            if voltage is None:
                said.append(f"{table.names[other]!r} not read (no read voltage)")
                continue
            values = values / voltage
        elif other == "resistance":
            with np.errstate(divide="ignore"):
                values = 1.0 / values
        both = np.isfinite(g) & np.isfinite(values) & (g > 0.0)
        off = float(np.median(np.abs(values[both] / g[both] - 1.0))) if both.any() else 0.0
        if off > _AGREE:
            raise table.refuse(
                0,
                other,
                f"this column and {table.names[chosen]!r} say conductances that differ by "
                f"{off:.0%}; leave one out, as in --column {table.names[other]!r}=ignore",
            )
        said.append(f"{table.names[other]!r} agrees with {table.names[chosen]!r}")
    return said


def read_voltage(
    table: Table, given: float | None, before: Sequence[Sequence[str]]
) -> tuple[Array | float | None, str]:
    """Return the read voltage (V), where there is one, and where it comes from.

    Args:
        table: of the readings.
        given: by the user (V).
        before: the lines above the header, of every file.

    Raises:
        ValueError: if a file says two.
    """
    if given is not None:
        return given, f"read at {given:g} V, as told"
    if "read voltage" in table.values:
        return table.values[
            "read voltage"
        ], f"read at the voltages of {table.names['read voltage']!r}"
    voltage = table.values.get("voltage")
    if (
        voltage is not None
        and np.isfinite(voltage).any()
        and np.nanmax(voltage) == np.nanmin(voltage)
    ):
        level = float(np.nanmax(voltage))
        return level, f"read at {level:g} V ({table.names['voltage']!r} is the same everywhere)"
    found = {value for lines in before for value in _stated(lines)}
    if len(found) > 1:
        shown = " and ".join(f"{value:g} V" for value in sorted(found))
        raise ValueError(f"{table.paths[0]}: read voltages of {shown}: say --read-voltage")
    if found:
        level = found.pop()
        return level, f"read at {level:g} V, as the file says above its header"
    return None, ""


def _stated(lines: Sequence[str]) -> list[float]:
    found = []
    for line in lines:
        for match in _READ_VOLTAGE.finditer(line):
            value = number(match[2].rstrip(".,"), "," if "," in match[2] else ".")
            if value:
                found.append(value * (1e-3 if match[1] or match[3] else 1.0))
    return found


def dimension_of(columns: Sequence[Column], quantity: str) -> str:
    """Return the base unit of a quantity's column; of one without a unit, siemens."""
    for dimension, name in READINGS.items():
        if name == quantity:
            return dimension
    found = [c.meaning.dimension for c in columns if c.quantity == quantity]
    return found[0] if found and found[0] else "S"
