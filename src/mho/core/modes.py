"""Modes of torch in which state is changed: outside of inference mode, and without gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def settled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function as within ``torch.inference_mode(False)`` and ``torch.no_grad()``.

    What it makes must serve reads that need gradients, too. Where both are so already nothing is
    entered: for small models the two cost as much as what they surround.
    """

    @functools.wraps(function)
    def run(*args: P.args, **settings: P.kwargs) -> R:
        if not (torch.is_grad_enabled() or torch.is_inference_mode_enabled()):
            return function(*args, **settings)
        with torch.inference_mode(False), torch.no_grad():
            return function(*args, **settings)

    return run
