"""Signals and numbers as programs give them, and how long one voltage moves a state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import require
from mho.devices.maths import unit

# Steps within a sample move a state by at most so much of its range, with an error of Euler's rule
# (that of Heun's is of higher order) of at most so much.
_MOST, _ERROR = 0.05, 2e-5
# A state that would move by less is at rest.
_REST = 1e-12
# Steps within a sample before a model is taken for a stiff one.
STEPS = 1000


def samples(signal: Any) -> list[float]:
    """Return a signal (V) as a list: one number or many, in a list, tuple, array or tensor.

    Raises:
        Refused: if some are not finite.
    """
    try:
        values = list(map(float, signal)) if isinstance(signal, (list, tuple)) else None
    except TypeError:  # lists of lists: NumPy knows what to do
        values = None
    if values is None:
        signal = signal.detach().double().cpu() if isinstance(signal, Tensor) else signal
        values = np.asarray(signal, np.float64).reshape(-1).tolist()
    require(all(map(math.isfinite, values)), "voltage_signal must be finite")
    return values


def number(value: Any) -> float:
    """Return a number as a float, given as one or as an array or a tensor of one."""
    return float(value.item() if hasattr(value, "item") else value)


def each(function: Callable[[float], Any], value: Any) -> Any:
    """Return a function of a float, or of each number in an array or a tensor."""
    if isinstance(value, (np.ndarray, Tensor)) and value.ndim:
        found = np.array([float(function(v)) for v in samples(value)]).reshape(value.shape)
        return torch.from_numpy(found).to(value) if isinstance(value, Tensor) else found
    return float(function(float(value)))


def held(spec: Any, p: Any, x: float, v: float, seconds: float) -> float | None:
    """Return the state of mho's device after a voltage (V) for a time (s); None: too stiff."""
    after: float | None = spec.pulse(x, v, seconds, p)
    if after is not None:
        return after
    drive = spec.drive(v, p)
    return hold(lambda state: spec.rate(state, drive, p), x, seconds)


def hold(rate: Callable[[float], float], x: float, seconds: float) -> float | None:
    """Return the state after a time at one rate of the state (1/s), by Heun's rule.

    Steps are as fine as the rate needs. States stay in [0, 1]. None: `STEPS` were not enough.
    """
    slope, left = rate(x), seconds
    for _ in range(STEPS):
        if abs(slope) * left <= _REST or (x >= 1.0 and slope > 0.0) or (x <= 0.0 and slope < 0.0):
            # At rest, or at the bound ahead; the least motion still counts.
            return unit(x + left * slope)
        h = min(left, _MOST / abs(slope))
        ahead = rate(unit(x + h * slope))
        while abs(ahead - slope) * h > 2.0 * _ERROR and h * abs(slope) > _REST:
            h *= 0.4
            ahead = rate(unit(x + h * slope))
        if slope * ahead < 0.0:  # driven from both sides to somewhere between, nearer than _ERROR
            return unit(x + h * slope * slope / (slope - ahead))
        x, left = unit(x + 0.5 * h * (slope + ahead)), left - h
        if left <= 0.0:
            return x
        slope = rate(x)
    return None
