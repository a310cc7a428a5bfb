"""Roots of rising functions of one unknown, on floats and on whole tensors of cells at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.devices import maths

Function = Callable[[Any], Any]

_MOST = 100
# Evaluating so many numbers at once takes hardly longer than evaluating one.
_AT_ONCE = 4096
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
    low, high = (before, high) if value < 0.0 else (low, before)
    good = False
    for _ in range(_MOST):
        if value == 0.0 or high - low <= tolerance:
            break
        value = function(y)
        low, high = (y, high) if value < 0.0 else (low, y)
        # Where the value did not at least halve, the line through both points says little; it must
        # halve twice in a row for a short step to mean that the root is near, not a jump.
        twice, good = good, abs(value) <= 0.5 * abs(value_before)
        new = 0.5 * (low + high)
        if good:
            secant = y - value * (y - before) / (value - value_before)
            new = secant if low <= secant <= high else new
        short = good and twice and abs(new - y) <= tolerance
        before, value_before, y = y, value, new
        if short:
            break
    return y


def _of_cells(
    function: Function, low: Tensor, high: Tensor, guess: Tensor, tolerance: float
) -> Tensor:
    """Sections of the bracket, as many at once as cost little: first finer towards the guess."""
    half = max(1, min(_SECTIONS, _AT_ONCE // max(1, guess.numel())) // 2)
    counted = torch.arange(2 * half + 2, dtype=guess.dtype, device=guess.device)
    counted = counted.view(-1, *(1,) * guess.ndim)
    # From the tolerance to the whole bracket in equal ratios, on either side of the guess.
    ratio = (tolerance / (high - low).clamp(min=tolerance)) ** (1.0 / half)
    away = (high - low) * ratio ** counted[: half + 1]
    points = torch.cat([guess - away, guess[None], guess + away.flip(0)]).clamp(low, high)
    below = function(points) < 0.0
    # Of several roots the next one from the guess: upwards from where the function is below zero.
    up = below[half + 1]
    low, high = torch.where(up, guess, low), torch.where(up, high, guess)
    for _ in range(_MOST):
        low, high = _next_root(points, below, low, high, up)
        if bool((high - low <= tolerance).all()):
            break
        points = low + (high - low) * counted[1:-1] / (2 * half + 1)
        below = function(points) < 0.0
    return 0.5 * (low + high)


def _next_root(
    points: Tensor, below: Tensor, low: Tensor, high: Tensor, up: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the neighbouring points around the lowest root (going ``up``), or the highest."""
    under, over = below & (points > low), ~below & (points < high)
    first = torch.where(over & (points > low), points, high).amin(0)
    last = torch.where(under & (points < high), points, low).amax(0)
    before = torch.where(under & (points < first), points, low).amax(0)
    after = torch.where(over & (points > last), points, high).amin(0)
    return torch.where(up, before, last), torch.where(up, first, after)


def crossing(function: Function, low: Any, high: Any, y: Any, tolerance: float) -> Any:
    """Return where a smooth rising function passes zero; arguments as in `rising`.

    Secant steps where they make good progress, bisection elsewhere, all cells in step: for
    functions that are nearly straight, one evaluation after the other is cheaper than many at once.
    """
    value = function(y)
    low, high = maths.where(value < 0.0, y, low), maths.where(value < 0.0, high, y)
    before, value_before = y, value
    # Of a slope of about 1.
    y = maths.largest(maths.smallest(y - value, high), low)
    good = value > math.inf
    for _ in range(_MOST):
        if maths.every((value == 0.0) | (high - low <= tolerance)):
            break
        value = function(y)
        low, high = maths.where(value < 0.0, y, low), maths.where(value < 0.0, high, y)
        rise = value - value_before
        secant = y - value * (y - before) / maths.where(rise == 0.0, rise + 1.0, rise)
        twice, good = good, abs(value) <= 0.5 * abs(value_before)
        straight = good & (secant >= low) & (secant <= high)
        new = maths.where(straight, secant, 0.5 * (low + high))
        new = maths.where(value == 0.0, y, new)
        near = (good & twice & (abs(new - y) <= tolerance)) | (high - low <= tolerance)
        before, value_before, y = y, value, new
        if maths.every(near | (value == 0.0)):
            break
    return y
