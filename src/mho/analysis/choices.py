"""A choice for each layer, by one price that is the same for all.

With a price for what is limited (Lagrange's multiplier) each layer takes what costs least, what is
limited and what is to be least together (H. Everett, Oper. Res. 11, 399 (1963),
doi:10.1287/opre.11.3.399). What the limit then still leaves is spent by one layer after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

EXACT = 1 + 1e-9
"""Sums of floats that are as large may differ by so much."""


class Choice(NamedTuple):
    """Bits of one layer's converters, what they cost and how they err.

    Attributes:
        dac: bits of its drivers; None where they are not chosen.
        adc: bits of its converters; None where they are not chosen.
        energy: of the layer in one inference (J).
        error: what they do to the model's outputs, squared, relative.
    """

    dac: int | None
    adc: int | None
    energy: float
    error: float


Of: TypeAlias = Callable[[Choice], float]
Table: TypeAlias = Mapping[str, Sequence[Choice]]


def energy_of(choice: Choice) -> float:
    """Return the energy (J)."""
    return choice.energy


def error_of(choice: Choice) -> float:
    """Return the error, squared, relative."""
    return choice.error


def least(table: Table, limited: Of, wanted: Of) -> dict[str, Choice]:
    """Return the choices with the least of what is limited."""
    return {
        name: min(found, key=lambda c: (limited(c), wanted(c))) for name, found in table.items()
    }


def cheapest(table: Table, limit: float, limited: Of, wanted: Of) -> dict[str, Choice] | None:
    """Return the choices with the least sum of one thing, the sum of another within a limit.

    Found by bisection of the price of what is limited. None: there are none.

    Args:
        table: choices by layer.
        limit: of the sum.
        limited: from a choice to what is limited.
        wanted: from a choice to what is to be least.
    """

    def at(price: float) -> dict[str, Choice]:
        return {
            name: min(found, key=lambda c: (wanted(c) + price * limited(c), limited(c)))
            for name, found in table.items()
        }

    limit *= EXACT
    best = {
        name: min(found, key=lambda c: (limited(c), wanted(c))) for name, found in table.items()
    }
    if _total(best, limited) > limit:
        return None
    low, high = 0.0, 1e30
    for _ in range(200):
        price = math.sqrt(low * high) if low else high * 1e-60
        found = at(price)
        if _total(found, limited) <= limit:
            best, high = found, price
        else:
            low = price
        if low and high / low < 1 + 1e-9:
            break
    return _filled(best, table, limit, limited, wanted)


def _filled(
    best: dict[str, Choice], table: Table, limit: float, limited: Of, wanted: Of
) -> dict[str, Choice]:
    """Return choices that use what the limit leaves: prices alone stop at corners of the hull."""
    while True:
        spare = limit - _total(best, limited)
        better = [
            (wanted(choice) - wanted(best[name]), name, choice)
            for name, found in table.items()
            for choice in found
            if limited(choice) - limited(best[name]) <= spare
        ]
        gain, name, choice = min(better, key=lambda each: each[0])
        if gain >= 0.0:
            return best
        best = {**best, name: choice}


def _total(found: Mapping[str, Choice], of: Of) -> float:
    return sum(map(of, found.values()))
