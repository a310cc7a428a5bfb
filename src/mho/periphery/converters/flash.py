"""Flash converters: a comparator for every transition, along a ladder of resistors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core import checks
from mho.periphery.converters.base import Architecture
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Flash(Architecture):
    """All transitions at once: ``2^bits - 1`` comparators on taps of ``2^bits`` equal resistors.

    The code is the number of comparators that fire, so it rises with the current whatever their
    offsets. One bit is one comparator, as a sense amplifier is.

    Attributes:
        comparator_sigma: standard deviation of every comparator's offset, of full scale, >= 0.
        resistor_sigma: relative standard deviation of every resistor, in [0, 0.3].
    """

    comparator_sigma: float = 0.0
    resistor_sigma: float = 0.0

    def __post_init__(self) -> None:
        checks.number("Flash comparator_sigma", self.comparator_sigma, least=0.0)
        checks.number("Flash resistor_sigma", self.resistor_sigma, least=0.0, most=0.3)
        super().__post_init__()

    def cycles(self, bits: int) -> int:
        """One period: all comparators work at once."""
        return 1

    @property
    def drawn(self) -> bool:
        """Whether converters differ by chance."""
        return super().drawn or self.comparator_sigma > 0.0 or self.resistor_sigma > 0.0

    @property
    def linear(self) -> bool:
        """Whether transitions lie where those of an ideal converter do."""
        return super().linear and self.comparator_sigma == self.resistor_sigma == 0.0

    def check_bits(self, bits: int) -> None:
        """Refuse a resolution that this architecture cannot have (ValueError)."""
        if bits > 1:
            super().check_bits(bits)
        elif self.inl or self.resistor_sigma or self.gain != 1.0:
            raise ValueError(
                "Flash of one bit is one comparator, and looks at the sign alone: gain, inl and "
                f"resistor_sigma change nothing, got {self}"
            )

    def own_offset(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw the offset of the one comparator of one bit."""
        if bits > 1 or not self.comparator_sigma:
            return None
        return draws.normal("comparator", count) * self.comparator_sigma

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw transitions (steps), rising ``[count, 2^bits - 1]``; None for ideal ones."""
        if self.comparator_sigma == self.resistor_sigma == 0.0:
            return None
        full, many = 2 ** (bits - 1), 2**bits
        ladder = 1.0 + self.resistor_sigma * draws.normal("resistor", count, many)
        share = ladder.clamp_min(0.0).cumsum(1) / ladder.clamp_min(0.0).sum(1, keepdim=True)
        taps = share[:, :-1] * many - (full + 0.5)
        offsets = draws.normal("comparator", count, many - 1) * (self.comparator_sigma * full)
        return torch.sort(taps + offsets, dim=1).values
