"""Weights, arguments and functions as users give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.compat.xbtorch._numbers import plain, whole  # noqa: F401  (used from here)


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
