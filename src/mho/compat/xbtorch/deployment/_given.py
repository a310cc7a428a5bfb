"""Numbers, weights, arguments and functions as users give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# They stand for "not given": nothing is ever put into them.
NOWHERE: list[Any] = []
NO_ARGS: dict[str, Any] = {}


def inherited(given: dict[str, Any], *own: str) -> dict[str, Any]:
    """Return the arguments of a constructor that are its base's: all but its own."""
    return {key: v for key, v in given.items() if key not in ("self", "__class__", *own)}


def floats(weight: Any) -> Tensor:
    """Return a matrix, however it is given, as a tensor of floating-point numbers, detached."""
    weight = torch.as_tensor(weight).detach()
    return weight if weight.is_floating_point() else weight.float()


def listed(arrays: Any) -> list[Tensor]:
    """Return matrices as a list of tensors: given as such, as arrays of NumPy, or one alone."""
    alone = getattr(arrays, "ndim", 3) == 2
    return [torch.as_tensor(G) for G in ([arrays] if alone else arrays)]


def call(function: Callable[..., Any], *args: Any, **offered: Any) -> Any:
    """Call a function that may be the user's own, with those keywords that it takes."""
    takes = inspect.signature(function).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    return function(*args, **{key: v for key, v in offered.items() if anything or key in takes})
