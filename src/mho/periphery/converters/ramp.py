"""Ramp (single-slope) converters: a staircase that all converters of an array compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mho.periphery.converters.capacitors import _Capacitive
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Ramp(_Capacitive):
    """A counter runs while a ramp rises; each converter keeps the count at which it is passed.

    The ramp is the staircase of one capacitive divider an array
    (`mho.periphery.converters.capacitors.levels`), so its nonlinearity is the same for all columns
    of the array; each converter's comparator has an offset of its own. Transitions lie half-way
    between neighbouring levels; where the staircase falls back the comparator has switched before.

    Attributes:
        capacitor_sigma: relative standard deviation of a unit capacitor, in [0, 0.3].
        comparator_sigma: standard deviation of a comparator's offset, of full scale, >= 0.
        amplifier_db: open-loop gain of the ramp's amplifier (dB), > 0; None is an ideal one.
    """

    per_array: ClassVar[bool] = True

    def cycles(self, bits: int) -> int:
        """One period a level."""
        return int(2**bits)

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw transitions (steps), rising ``[count, 2^bits - 1]``; None for ideal ones."""
        if self.even:
            return None
        level = self.dividers(draws, count, bits)
        return ((level[:, 1:] + level[:, :-1]) / 2).cummax(1).values
