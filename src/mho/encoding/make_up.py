"""Healthy cells that make up for broken ones of the same weight.

Two searches for conductances whose sum ``Σ_s c[s] G[s]`` meets a target: `make_up` goes from cell
to cell, `nearest_sum` finds the best there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from mho.core.constants import constant

_LARGEST = 2**16  # sums told apart: beyond, significances are taken for any real numbers
_BLOCK = 2**22  # entries of the table of costs that are worked on at once


def nearest_sum(
    target: Tensor,
    stuck: Tensor,
    stuck_g: Tensor,
    combination: Sequence[float],
    window: tuple[float, float],
    states: int | None = None,
) -> Tensor:
    """Choose the healthy cells' conductances so that ``Σ_s c[s] G[s]`` is nearest to its target.

    Cells of any conductance: as `make_up`, which finds the nearest sum, since what healthy cells
    can add up to is an interval. Cells of few states: the best of all choices, by dynamic
    programming over the sums that cells can have (whole numbers of one unit); of choices equally
    good the one that moves cells by the fewest states. Significances without a common unit (or of
    more than 65,536 sums) are left to `make_up`.

    Args:
        target: conductances planned, ``[slices, …]`` (S).
        stuck: which cells are broken, of the same shape.
        stuck_g: what these read (S).
        combination: ``c``, one number a slice.
        window: lowest and highest conductance (S).
        states: how many evenly spaced conductances a cell can hold; None for any.

    Returns:
        Conductances to write (S), of the same shape; those of broken cells as planned.
    """
    new = make_up(target, stuck, stuck_g, combination, window, states)
    whole = None if states is None else in_units(combination)
    if states is None or whole is None:
        return new
    unit, counts = whole
    if sum(map(abs, counts)) * (states - 1) > _LARGEST:
        return new
    low, step = window[0], (window[1] - window[0]) / (states - 1)
    hurt = stuck.any(0).flatten().nonzero().squeeze(1)
    found, c = new.flatten(1), constant(combination, new.dtype, new.device).view(-1, 1)
    sums = sum(map(abs, counts)) * (states - 1) + 1
    for part in hurt.split(max(_BLOCK // sums, 1)):
        aim, mask, value = (x.flatten(1)[:, part] for x in (target, stuck, stuck_g))
        # What healthy cells have to add beyond their lowest states, in units of the sums.
        wanted = (c * (aim - torch.where(mask, value, low))).sum(0) / (unit * step)
        planned = ((aim - low) / step).round().clamp_(0, states - 1)
        level = _nearest_levels(wanted, planned, mask, counts, states)
        found[:, part] = torch.where(mask, aim, level.to(aim.dtype) * step + low)
    return found.view_as(new).clamp_(*window).where(~stuck, target)


def _nearest_levels(
    wanted: Tensor, planned: Tensor, stuck: Tensor, counts: Sequence[int], states: int
) -> Tensor:
    """Return levels ``[slices, weights]`` whose ``Σ counts · level`` are nearest to ``wanted``.

    A table of costs over all sums grows slice by slice: the fewest states that cells must be moved
    from ``planned`` to have each sum. Broken cells stay at level 0.
    """
    lowest = sum(min(count, 0) for count in counts) * (states - 1)
    sums = sum(map(abs, counts)) * (states - 1) + 1
    cost = wanted.new_full((len(wanted), sums), math.inf)
    cost[:, -lowest] = 0.0
    choices = []
    for count, plan, broken in zip(counts, planned, stuck, strict=True):
        best, chosen = torch.full_like(cost, math.inf), torch.zeros_like(cost, dtype=torch.int32)
        for level in range(states):
            moved = (plan - level).abs()
            moved = moved.masked_fill(broken, math.inf if level else 0.0).unsqueeze(1)
            shift = count * level
            ahead, behind = max(shift, 0), max(-shift, 0)
            tried = cost[:, behind : sums - ahead] + moved
            now = best[:, ahead : sums - behind]
            chosen[:, ahead : sums - behind].masked_fill_(tried < now, level)
            torch.minimum(now, tried, out=now)
        cost = best
        choices.append(chosen)
    far = (torch.arange(lowest, lowest + sums, device=cost.device) - wanted.unsqueeze(1)).abs()
    far = far.masked_fill(cost.isinf(), math.inf)
    # Sums as near as the nearest, but for rounding: of these the one that moves cells least.
    nearest = far <= far.amin(1, keepdim=True) + 1e-4
    at = cost.masked_fill(~nearest, math.inf).argmin(1, keepdim=True)
    levels = []
    for count, chosen in zip(reversed(counts), reversed(choices), strict=True):
        taken = chosen.gather(1, at)
        at = at - count * taken
        levels.append(taken.squeeze(1))
    return torch.stack(levels[::-1])


def in_units(numbers: Sequence[float]) -> tuple[float, tuple[int, ...]] | None:
    """Return the largest unit of which all numbers are whole multiples, and these multiples.

    None where there is none that a person would mean (of denominators up to 1,000).
    """
    exact = [Fraction(number).limit_denominator(1000) for number in numbers]
    if any(abs(float(e) - n) > 1e-9 * abs(n) for e, n in zip(exact, numbers, strict=True)):
        return None
    below = math.lcm(*(e.denominator for e in exact))
    counts = [int(e * below) for e in exact]
    common = math.gcd(*counts) or 1
    return common / below, tuple(count // common for count in counts)


def make_up(
    target: Tensor,
    stuck: Tensor,
    stuck_g: Tensor,
    combination: Sequence[float],
    window: tuple[float, float],
    states: int | None = None,
    *,
    foresight: bool = True,
) -> Tensor:
    """Let healthy cells make up for broken ones, so that ``Σ_s c[s] G[s]`` meets its target.

    In turn (the largest ``|c|`` first) each healthy cell takes as much of what is missing as its
    window and its states allow, and none where that would not bring the sum nearer. So no weight
    ends up further from its target than it began.

    Args:
        target: conductances planned, ``[slices, …]`` (S).
        stuck: which cells are broken, of the same shape.
        stuck_g: what these read (S).
        combination: ``c``, one number a slice.
        window: lowest and highest conductance (S).
        states: how many evenly spaced conductances a cell can hold; None for any.
        foresight: see `InnerFaultTolerance`.

    Returns:
        Conductances to write (S), of the same shape; those of broken cells as planned.
    """
    low, high = window
    c = constant(combination, target.dtype, target.device)
    lost = torch.where(stuck, target - stuck_g, 0.0)
    order = sorted(range(len(combination)), key=lambda s: -abs(combination[s]))
    missing = torch.zeros_like(target[0])
    if foresight:
        missing = torch.tensordot(c, lost.flatten(1), dims=1).view_as(missing)
    else:
        order = list(range(len(combination)))
    new = target.clone()
    for s in order:
        share = float(combination[s])
        if not foresight:
            missing = missing + share * lost[s]
        if share == 0.0:
            continue
        wanted = (target[s] + missing / share).clamp_(low, high)
        if states is not None:
            step = (high - low) / (states - 1)
            wanted = ((wanted - low) / step).round_().mul_(step).add_(low)
        left = missing - share * (wanted - target[s])
        moves = ~stuck[s] & (left.abs() < missing.abs())
        new[s] = torch.where(moves, wanted, target[s])
        missing = torch.where(moves, left, missing)
    return new
