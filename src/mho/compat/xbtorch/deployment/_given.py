"""Numbers, weights, arguments and functions as users give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.core import checks


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


def inherited(given: dict[str, Any], *own: str) -> dict[str, Any]:
    """Return the arguments of a constructor that are its base's: all but its own."""
    return {key: v for key, v in given.items() if key not in ("self", "__class__", *own)}


def gamma(weight: Tensor) -> Tensor:
    """Return the weight that fills the window: the largest magnitude, 1 where all are zero."""
    largest = weight.detach().abs().amax() if weight.numel() else weight.new_zeros(())
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def ours(method: Any) -> bool:
    """Whether a method is one of this layer's, not the user's own."""
    return str(getattr(method, "__module__", "")).startswith("mho.")


def call(function: Callable[..., Any], *args: Any, **offered: Any) -> Any:
    """Call a function that may be the user's own, with those keywords that it takes."""
    takes = inspect.signature(function).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    return function(*args, **{key: v for key, v in offered.items() if anything or key in takes})
