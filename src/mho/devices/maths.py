"""Elementary functions on a number or a tensor, so that a model's equations are written once.

A population is moved by tensor operations; one single cell is far faster with Python's floats
(an operation costs 30 ns rather than 2 µs). The same equations serve both through these names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from mho.core import derivatives

# exp(700) is still a float64; beyond it Python raises where torch gives inf.
_LARGEST = 700.0
_LOG_TWO = math.log(2.0)
_BISECTIONS = 60


def exp(value: Any) -> Any:
    """Return ``e**value``."""
    if type(value) is float:
        return math.exp(value if value < _LARGEST else _LARGEST)
    return torch.exp(value)


def log(value: Any) -> Any:
    """Return the natural logarithm."""
    return math.log(value) if type(value) is float else torch.log(value)


def log1p(value: Any) -> Any:
    """Return ``ln(1 + value)``, exact for small values."""
    return math.log1p(value) if type(value) is float else torch.log1p(value)


def expm1(value: Any) -> Any:
    """Return ``e**value - 1``, exact for small values."""
    if type(value) is float:
        return math.expm1(value if value < _LARGEST else _LARGEST)
    return torch.expm1(value)


def log_sinh(value: Any) -> Any:
    """Return ``ln sinh(value)`` of positive values, which overflows for none."""
    # Below 1e-30 as at 1e-30: the logarithm stays finite.
    size = clip(value, 1e-30, math.inf)
    return size + log(-expm1(-2.0 * size)) - _LOG_TWO


def sinh(value: Any) -> Any:
    """Return the hyperbolic sine."""
    if type(value) is float:
        return math.sinh(clip(value, -_LARGEST, _LARGEST))
    return torch.sinh(value)


def asinh(value: Any) -> Any:
    """Return the inverse of the hyperbolic sine."""
    return math.asinh(value) if type(value) is float else torch.asinh(value)


def tanh(value: Any) -> Any:
    """Return the hyperbolic tangent."""
    return math.tanh(value) if type(value) is float else torch.tanh(value)


def asin(value: Any) -> Any:
    """Return the inverse of the sine, of values in ``[-1, 1]``."""
    return math.asin(value) if type(value) is float else torch.asin(value)


def softplus(value: Any) -> Any:
    """Return ``ln(1 + e^value)``, which overflows for none."""
    return positive(value) + log1p(exp(-abs(value)))


def sqrt(value: Any) -> Any:
    """Return the square root."""
    return math.sqrt(value) if type(value) is float else torch.sqrt(value)


def clip(value: Any, low: float, high: float) -> Any:
    """Return the value put inside ``[low, high]``."""
    if type(value) is float:
        return low if value < low else high if value > high else value
    if isinstance(value, torch.Tensor):
        return derivatives.clip(value, low, high)
    return torch.clamp(value, low, high)  # an expression's


def unit(value: Any) -> Any:
    """Return the value put inside ``[0, 1]``: where every state lives."""
    if type(value) is float:
        return 0.0 if value < 0.0 else 1.0 if value > 1.0 else value
    return clip(value, 0.0, 1.0)


def positive(value: Any) -> Any:
    """Return the value where it is positive, else 0."""
    if type(value) is float:
        return value if value > 0.0 else 0.0
    return torch.clamp(value, min=0.0)


def sign(value: Any) -> Any:
    """Return -1, 0 or 1."""
    if type(value) is float:
        return float((value > 0.0) - (value < 0.0))
    return torch.sign(value)


def where(condition: Any, yes: Any, no: Any) -> Any:
    """Return ``yes`` where the condition holds, else ``no`` (not both plain numbers)."""
    if type(condition) is bool:
        return yes if condition else no
    return torch.where(condition, yes, no)


def every(condition: Any) -> bool:
    """Return whether a condition holds in all cells."""
    return condition if type(condition) is bool else bool(condition.all())


def largest(one: Any, other: Any) -> Any:
    """Return the larger of two values of one kind."""
    if type(one) is float:
        return one if one > other else other
    return torch.maximum(one, other)


def smallest(one: Any, other: Any) -> Any:
    """Return the smaller of two values of one kind."""
    if type(one) is float:
        return one if one < other else other
    return torch.minimum(one, other)


def some(condition: Any) -> bool:
    """Return whether a condition holds in any cell."""
    return condition if type(condition) is bool else bool(condition.any())


def inverse(rising: Callable[[Any], Any], value: Any) -> Any:
    """Return where in [0, 1] a rising function has a value, by bisection to the last bit.

    Args:
        rising: of a state in [0, 1].
        value: of the function; beyond its ends, the nearer bound is returned.
    """
    low, high = 0.0 * value, 0.0 * value + 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = rising(middle) < value
        low, high = where(below, middle, low), where(below, high, middle)
    return 0.5 * (low + high)
