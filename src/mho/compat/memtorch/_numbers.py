"""Numbers as programs give them: Python's, NumPy's, and tensors or arrays of one element."""

from __future__ import annotations

import math
from typing import Any

from mho.compat.memtorch._require import require

_LARGEST = 1.7976931348623157e308


def real(name: str, value: Any, *, least: float = -_LARGEST, most: float = _LARGEST) -> float:
    """Return a finite number within bounds.

    Args:
        name: of the argument, for the refusal.
        value: what was given.
        least: smallest allowed.
        most: largest allowed.

    Raises:
        Refused: if it is none, or out of bounds.
    """
    found = _plain(value)
    bounds = "" if least == -_LARGEST else f" >= {least:g}"
    bounds += "" if most == _LARGEST else f" and <= {most:g}"
    require(least <= found <= most, f"{name} must be a number{bounds}, got {value!r}")
    return found


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """Return an integer, of any type of number, that is at least ``least``.

    Raises:
        Refused: if it is none, or too small.
    """
    found = _plain(value)
    allowed = math.isfinite(found) and found == int(found) >= least
    require(allowed, f"{name} must be a whole number >= {least}, got {value!r}")
    return int(found)


def sides(tile_shape: Any) -> tuple[int, int]:
    """Return the rows and columns of a tile, given as any sequence of two.

    Raises:
        Refused: if they are no two integers > 0.
    """
    message = f"tile_shape must be two integers > 0, got {tile_shape!r}"
    require(hasattr(tile_shape, "__len__") and len(tile_shape) == 2, message)
    found = [_plain(side) for side in tile_shape]
    require(all(math.isfinite(side) and side == int(side) > 0 for side in found), message)
    return int(found[0]), int(found[1])


def _plain(value: Any) -> float:
    """Return a number, or NaN for what is none."""
    try:
        found = value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):  # more than one element
        return math.nan
    number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return float(found) if number else math.nan
