"""Roots of rising functions of one unknown, on floats and on whole tensors of cells at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Function = Callable[[Any], Any]

_MOST = 100
# Evaluating so many numbers at once takes hardly longer than evaluating one.
_AT_ONCE = 8192
_SECTIONS = 16


def rising(function: Function, low: Any, high: Any, guess: Any, tolerance: float) -> Any:
    """Return where a function passes zero on its way up, within a bracket.

    The ends of the bracket count as below and above zero without being asked: a function that is
    negative all over has its root at ``high``. A jump through zero is a root.

    Args:
        function: of floats, or of tensors entry by entry, where it takes several points of every
            cell at once, ``[points, cells]``.
        low: lower end of the bracket.
        high: its upper end.
        guess: where to begin, within the bracket.
        tolerance: of the root, > 0.
    """
    if isinstance(guess, Tensor):
        return _of_cells(function, low, high, guess, tolerance)
    return _of_one(function, low, high, guess, tolerance)


def _of_one(function: Function, low: float, high: float, y: float, tolerance: float) -> float:
    """Secant steps where they make good progress, bisection elsewhere."""
    value = function(y)
    before, value_before = y, value
    # Where the function is steeper than 1 (as those of implicit steps mostly are), the root is
    # on the way to this point.
    y = min(max(y - value, low), high)
    if value < 0.0:
        low = before
    else:
        high = before
    for _ in range(_MOST):
        if abs(y - before) <= tolerance or high - low <= tolerance:
            break
        value = function(y)
        if value < 0.0:
            low = y
        else:
            high = y
        # Where the value did not at least halve, the line through both points says little.
        new = 0.5 * (low + high)
        if abs(value) <= 0.5 * abs(value_before):
            secant = y - value * (y - before) / (value - value_before)
            new = secant if low < secant < high else new
        before, value_before, y = y, value, new
    return y


def _of_cells(
    function: Function, low: Tensor, high: Tensor, guess: Tensor, tolerance: float
) -> Tensor:
    """Sections of the bracket, as many at once as cost little: first finer towards the guess."""
    half = max(1, min(_SECTIONS, _AT_ONCE // max(1, guess.numel())) // 2)
    like = {"dtype": guess.dtype, "device": guess.device}
    along = (-1,) + (1,) * guess.ndim
    parts = torch.arange(1, 2 * half + 1, **like).view(along) / (2 * half + 1)
    # From the tolerance to the whole bracket in equal ratios, on either side of the guess.
    ratio = (tolerance / (high - low).clamp(min=tolerance)) ** (1.0 / half)
    away = ratio ** torch.arange(half, -1, -1, **like).view(along) * (high - low)
    points = torch.cat([guess - away.flip(0), guess[None], guess + away]).clamp(low, high)
    below = function(points) < 0.0
    # Of several roots, the next one on the way from the guess.
    rises = below[half + 1]
    beyond = torch.where(rises, points > guess, points < guess)
    low, high = torch.where(rises, guess, low), torch.where(rises, high, guess)
    for _ in range(_MOST):
        first = torch.where(~below & beyond, points, high).amin(0)
        last = torch.where(below & beyond, points, low).amax(0)
        first = torch.where(rises, first, torch.where(~below & beyond & (points > last), points, high).amin(0))
        last = torch.where(rises, torch.where(below & beyond & (points < first), points, low).amax(0), last)
        low, high = last, first
        width = high - low
        if bool((width <= tolerance).all()):
            break
        points = low + width * parts
        below = function(points) < 0.0
        beyond = torch.ones_like(below)
    return 0.5 * (low + high)
