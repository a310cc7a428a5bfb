"""Numbers as programs give them: Python's, NumPy's, and arrays or tensors of one entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from mho.core import checks


def plain(value: Any) -> Any:
    """Return a number of NumPy's or torch's as Python's; anything else as it is."""
    sized = isinstance(value, (np.generic, np.ndarray)) and value.size == 1
    return value.item() if sized or (isinstance(value, Tensor) and value.numel() == 1) else value


def integral(value: Any) -> Any:
    """As `plain`, and 2.0 is 2."""
    value = plain(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole(name: str, value: Any, **bounds: int) -> int:
    """Return a whole number, however it is given; refuse anything else."""
    return checks.integer(name, integral(value), **bounds)
