"""Whole numbers as programs give them: Python's, NumPy's or torch's, and floats like 2.0."""

from __future__ import annotations

from typing import Any

from mho.core import checks


def integral(value: Any) -> Any:
    """Return a whole number as an int, anything else as `mho.core.checks.plain` does."""
    value = checks.plain(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole(name: str, value: Any, **bounds: int) -> int:
    """Return a whole number, however it is given; refuse anything else."""
    return checks.integer(name, integral(value), **bounds)
