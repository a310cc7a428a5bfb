"""Spans of time as people say them: seconds, ``"3 h"``, ``"1 day"``, a ``datetime.timedelta``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np

from mho.core import checks

Duration: TypeAlias = float | str | timedelta
"""Seconds; or a number and a unit as text; or a ``datetime.timedelta``."""

_UNITS = {
    1e-9: ("ns", "nanosecond"),
    1e-6: ("us", "\u00b5s", "\u03bcs", "microsecond"),  # the micro sign, and the Greek letter
    1e-3: ("ms", "millisecond"),
    1.0: ("s", "sec", "second"),
    60.0: ("min", "minute"),
    3600.0: ("h", "hr", "hour"),
    86_400.0: ("d", "day"),
    604_800.0: ("w", "week"),
    2_592_000.0: ("month",),
    31_557_600.0: ("y", "yr", "year"),
}
"""Units by their length (s): a month has 30 days, a year 365.25."""

_SECONDS = {name: size for size, names in _UNITS.items() for name in names}
_TEXT = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-z\u00b5\u03bc]+)\s*")


def seconds(name: str, value: Any, **bounds: float) -> float:
    """Return a span of time in seconds; refuse what is none.

    Args:
        name: the parameter, as the user wrote it.
        value: seconds; a number and a unit as text, ``"90 s"``, ``"3 h"``, ``"1 day"``,
            ``"2 months"`` (30 days each), ``"1 year"`` (365.25 days); or a timedelta of Python,
            NumPy or pandas.
        bounds: in seconds, as `mho.core.checks.number` takes them.

    Raises:
        TypeError: if it is no span of time.
        ValueError: if the unit is unknown, or the span is out of bounds.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, np.timedelta64):
        try:
            value = float(value / np.timedelta64(1, "ns")) * 1e-9
        except TypeError:  # months and years of NumPy have no length
            raise TypeError(f"{name} must be a span of known length, got {value!r}") from None
    elif isinstance(value, str):
        value = _of_text(name, value)
    return checks.number(name, value, **bounds)


def _of_text(name: str, text: str) -> float:
    found = _TEXT.fullmatch(text)
    unit = "" if found is None else found[2]
    size = _SECONDS.get(unit, _SECONDS.get(unit.removesuffix("s")))
    if found is None or size is None:
        units = ", ".join(names[0] for names in _UNITS.values())
        raise ValueError(
            f"{name} must be seconds, or a number and a unit ({units}) such as '3 h' or '1 day', "
            f"got {text!r}"
        )
    return float(found[1]) * size
