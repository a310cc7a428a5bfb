"""Estimates together: sums of what is known, rates, the longest of several, and how they print."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mho.analysis.components.base import Estimate, total
from mho.core.text import quantity

NOTHING = Estimate.exact(0.0)


def combine(rule: Callable[..., float], *estimates: Estimate) -> Estimate:
    """Return what a rule that grows with all its arguments makes of estimates, end by end."""
    ends = ([e.low for e in estimates], [e.typical for e in estimates], [e.high for e in estimates])
    return Estimate(*(rule(*values) for values in ends))


def said(value: Estimate | None, unit: str) -> str:
    """Say an estimate: one number, or the typical one with its range; "not counted" for None."""
    if value is None:
        return "not counted"
    if unit == "m²":
        ends = [f"{end * 1e6:.3g} mm²" for end in (value.typical, value.low, value.high)]
    else:
        ends = [quantity(end, unit, zero="0") for end in (value.typical, value.low, value.high)]
    return ends[0] if ends[1] == ends[2] else f"{ends[0]} ({ends[1]} … {ends[2]})"


def bound(value: Estimate | None, known: Estimate, unit: str) -> str:
    """Say an estimate, or what is known of it as a lower bound."""
    if value is not None:
        return said(value, unit)
    return "not counted" if known.high == 0.0 else f"≥ {said(known, unit)}"


def number(value: Estimate) -> str:
    """Say an estimate without a unit."""
    ends = [f"{end:.3g}" for end in (value.typical, value.low, value.high)]
    return ends[0] if ends[1] == ends[2] else f"{ends[0]} ({ends[1]} … {ends[2]})"


def known(values: Iterable[Estimate | None]) -> Estimate:
    """Return the sum of what is known."""
    return total(value for value in values if value is not None) or NOTHING


def slowest(times: list[Estimate | None] | list[Estimate]) -> Estimate | None:
    """Return the longest time, end by end; None if one is not known."""
    told = [time for time in times if time is not None]
    return combine(max, *told, NOTHING) if len(told) == len(times) else None


def rate(count: float, per: Estimate | None) -> Estimate | None:
    """Return a number of things over what they take (an estimate), where that is known."""
    if per is None or per.low == 0.0:
        return None
    return Estimate(count / per.high, count / per.typical, count / per.low)
