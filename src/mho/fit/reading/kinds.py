"""Which kind of measurement a table is, and which of its columns that needs."""

from __future__ import annotations

from collections.abc import Sequence

from mho.fit.reading.columns import Column
from mho.fit.reading.names import READINGS

_READINGS = frozenset(READINGS.values())
_CELLS = frozenset(["cell", "wordline", "bitline"])
NEEDS = {
    "pulses": "pulse (or direction, or LTP and LTD) and conductance, resistance or current",
    "jumps": "g, dg",
    "iv": "voltage, current",
    "programming": "target, achieved",
    "retention": "time and conductance, resistance or current",
    "map": "x, y (or cell) and conductance or resistance, of LRS, HRS or both",
}
_USES = {
    "pulses": {"pulse", "counter", "direction", "amplitude", "cycle", "read voltage", "x", "y"},
    "jumps": {"dg", "direction", "read voltage"},
    "iv": {"voltage", "current", "time", "cycle", "state", "gate", "x", "y"},
    "programming": {"target", "achieved", "read voltage", "x", "y"},
    "retention": {"time", "read voltage", "voltage", "x", "y"},
    "map": {"x", "y", "state", "read voltage"},
}


def fitting(columns: Sequence[Column], *, swept: bool) -> list[str]:
    """Return the kinds that columns can be.

    Args:
        columns: those that are known.
        swept: whether there is a voltage that is not the same everywhere.
    """
    there = {column.quantity for column in columns}
    halves = {column.meaning.direction for column in columns} - {0}
    states = {column.meaning.state for column in columns} - {""} | (there & {"state"})
    reading = bool(there & _READINGS)
    kinds = []
    if reading and "dg" in there:
        kinds.append("jumps")
    if "target" in there and ("achieved" in there or reading):
        kinds.append("programming")
    if {"voltage", "current"} <= there and swept:
        kinds.append("iv")
    if "time" in there and reading and not swept:
        kinds.append("retention")
    if _pulsed(there, halves, states, reading, bool(kinds)):
        kinds.append("pulses")
    placed = {"x", "y"} <= there or {"wordline", "bitline"} <= there or "cell" in there
    if not kinds and reading and placed and not there & {"cycle", "counter"}:
        kinds.append("map")  # rows that count cycles are no cells
    return kinds


def _pulsed(
    there: set[str], halves: set[int], states: set[str], reading: bool, other: bool
) -> bool:
    if not reading or states or "dg" in there or "target" in there:
        return False
    if "pulse" in there or halves:
        return True
    return not other and bool(there & {"direction", "amplitude", "counter"})


def missing(kind: str, columns: Sequence[Column]) -> list[str]:
    """Return what a kind needs and columns lack."""
    there = {column.quantity for column in columns}
    reading = bool(there & _READINGS)
    halves = any(column.meaning.direction for column in columns)
    series = bool(there & {"pulse", "counter", "direction", "amplitude", "cycle"}) or halves
    lacking = {
        "pulses": [("pulse", series), ("conductance", reading)],
        "jumps": [("g", reading), ("dg", "dg" in there)],
        "iv": [("current", "current" in there), ("voltage", "voltage" in there)],
        "programming": [
            ("target", "target" in there),
            ("achieved", reading or "achieved" in there),
        ],
        "retention": [("time", "time" in there), ("conductance", reading)],
        "map": [("conductance", reading)],
    }
    return [name for name, found in lacking[kind] if not found]


def used(kind: str, columns: Sequence[Column], quantity: str | None) -> list[Column]:
    """Return the columns that a kind reads.

    Args:
        kind: of the measurement.
        columns: those that are known.
        quantity: of the readings: conductance, resistance or current.
    """
    wanted = _USES[kind] | (_CELLS if kind != "jumps" else frozenset())
    if kind == "programming" and any(column.quantity == "achieved" for column in columns):
        quantity = None
    if kind == "iv":
        quantity = None
    there = {column.quantity for column in columns}
    if "pulse" in there or {"time", "voltage"} & there:
        wanted = wanted - {"counter"}
    if "direction" in there:
        wanted = wanted - {"amplitude"}
    if quantity is not None and kind != "jumps":
        # The others are compared with it, one column each.
        single = [q for q in _READINGS if sum(c.quantity == q for c in columns) == 1]
        wanted = wanted | set(single)
    if quantity is not None:
        wanted = wanted | {quantity}
    if quantity != "current" and kind not in ("iv", "programming"):
        wanted = wanted - {"read voltage"} if "current" not in there else wanted
    return [column for column in columns if column.quantity in wanted]
