"""Numbers: as users give them, and as pulses."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from mho.core import checks
from mho.periphery.dac import DAC
from mho.periphery.quantize import to_grid


def plain(value: Any) -> Any:
    """Return a number of NumPy's or torch's as Python's; anything else as it is."""
    sized = isinstance(value, (np.generic, np.ndarray)) and value.size == 1
    return value.item() if sized or (isinstance(value, Tensor) and value.numel() == 1) else value


def whole(name: str, value: Any, **bounds: int) -> int:
    """Return a whole number, however it is given; refuse anything else."""
    value = plain(value)
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    checks.integer(name, value, **bounds)
    return int(value)


def bit_planes(share: Tensor, limit: Tensor, bits: int) -> list[Tensor]:
    """Return shares (-1…1) of a limit as pulses of it or nothing, a tensor a bit, lowest first."""
    bits = min(bits, 23)  # more than numbers of this precision have
    top = 2**bits - 1
    level = to_grid(share * top, -top, top)
    planes, _ = DAC(bits=bits + 1, mode="bit_serial").planes(level)
    return [plane * limit for plane in planes]


def inherited(given: dict[str, Any], *own: str) -> dict[str, Any]:
    """Return the arguments of a constructor that are its base's: all but its own."""
    return {key: v for key, v in given.items() if key not in ("self", "__class__", *own)}
