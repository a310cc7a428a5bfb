"""Ramp (single-slope) converters: a staircase that all converters of an array compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mho.core import checks
from mho.periphery.converters import capacitors
from mho.periphery.converters.base import Architecture
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Ramp(Architecture):
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
    compares: ClassVar[bool] = False

    capacitor_sigma: float = 0.0
    comparator_sigma: float = 0.0
    amplifier_db: float | None = None

    def __post_init__(self) -> None:
        checks.number("Ramp capacitor_sigma", self.capacitor_sigma, least=0.0, most=0.3)
        checks.number("Ramp comparator_sigma", self.comparator_sigma, least=0.0)
        if self.amplifier_db is not None:
            checks.number("Ramp amplifier_db", self.amplifier_db, above=0.0)
        super().__post_init__()

    def cycles(self, bits: int) -> int:
        """One period a level."""
        return int(2**bits)

    @property
    def drawn(self) -> bool:
        """Whether converters differ by chance."""
        return super().drawn or self.capacitor_sigma > 0.0 or self.comparator_sigma > 0.0

    @property
    def linear(self) -> bool:
        """Whether transitions lie where those of an ideal converter do."""
        return super().linear and self.capacitor_sigma == 0.0 and self.amplifier_db is None

    def own_offset(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw the comparators' offsets (steps)."""
        if not self.comparator_sigma:
            return None
        return draws.normal("comparator", count) * (self.comparator_sigma * 2 ** (bits - 1))

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw transitions (steps), rising ``[count, 2^bits - 1]``; None for ideal ones."""
        if self.capacitor_sigma == 0.0 and self.amplifier_db is None:
            return None
        level = capacitors.levels(draws, count, bits, self.capacitor_sigma, self.amplifier_db)
        return ((level[:, 1:] + level[:, :-1]) / 2).cummax(1).values
