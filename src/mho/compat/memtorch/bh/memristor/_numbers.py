"""Numbers as programs give them: Python's, NumPy's, 0-d arrays and tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import Refused


def plain(value: Any) -> Any:
    """Return a Python number for a NumPy scalar or a 0-d array or tensor; others as they are."""
    if type(value) is float or type(value) is int:
        return value
    numeric = isinstance(value, (np.generic, np.ndarray, Tensor))
    return value.item() if numeric and value.ndim == 0 else value


def samples(signal: Any) -> list[float]:
    """Return a signal (V) as a list: one number or many, in a list, tuple, array or tensor.

    Raises:
        Refused: if some are not finite.
    """
    values = None
    if isinstance(signal, (list, tuple)):
        try:
            values = list(map(float, signal))
        except TypeError:  # lists of lists: NumPy knows what to do
            values = None
    elif isinstance(signal, Tensor):
        values = signal.detach().double().reshape(-1).tolist()
    if values is None:
        values = np.asarray(signal, np.float64).reshape(-1).tolist()
    if not math.isfinite(sum(values)) and not all(map(math.isfinite, values)):
        raise Refused("voltage_signal must be finite")
    return values


def each(function: Callable[[float], Any], value: Any) -> Any:
    """Return a function of a float, or of each number in an array or a tensor."""
    if isinstance(value, (np.ndarray, Tensor)) and value.ndim:
        found = np.array([float(function(v)) for v in samples(value)]).reshape(value.shape)
        return torch.from_numpy(found).to(value) if isinstance(value, Tensor) else found
    return float(function(float(value)))
