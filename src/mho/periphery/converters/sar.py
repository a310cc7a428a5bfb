"""Successive-approximation converters: binary search by a capacitive divider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mho.core import checks
from mho.periphery.converters import capacitors
from mho.periphery.converters.base import Architecture
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class SAR(Architecture):
    """One comparator, one bit after the other, the highest first.

    What the search finds rises with the current whatever the mismatch: where levels of the divider
    are out of order, codes are missing. Mismatch is `mho.periphery.converters.capacitors.levels`;
    its largest differential nonlinearity, at mid-scale, has a standard deviation of
    ``σ · √(2^bits - 1)`` steps.

    Attributes:
        capacitor_sigma: relative standard deviation of a unit capacitor, in [0, 0.3].
        comparator_sigma: standard deviation of the comparator's offset, of full scale, >= 0.
        amplifier_db: open-loop gain of the divider's amplifier (dB), > 0; None is an ideal one.
    """

    compares: ClassVar[bool] = False

    capacitor_sigma: float = 0.0
    comparator_sigma: float = 0.0
    amplifier_db: float | None = None

    def __post_init__(self) -> None:
        checks.number("SAR capacitor_sigma", self.capacitor_sigma, least=0.0, most=0.3)
        checks.number("SAR comparator_sigma", self.comparator_sigma, least=0.0)
        if self.amplifier_db is not None:
            checks.number("SAR amplifier_db", self.amplifier_db, above=0.0)
        super().__post_init__()

    def cycles(self, bits: int) -> int:
        """One period to sample, and one a bit."""
        return bits + 1

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
        sigma, db = self.capacitor_sigma, self.amplifier_db
        return searched(capacitors.levels(draws, count, bits, sigma, db) - 0.5)


def searched(level: Tensor) -> Tensor:
    """Return the transitions that a binary search by levels ``[…, 2^bits]`` has, from code 1 on.

    A level decides only between the levels that were tried before it.
    """
    many = level.shape[-1]
    found = torch.empty_like(level)
    found[..., 0] = -torch.inf
    step = many // 2
    while step:
        tried = level[..., step :: 2 * step]
        low = found[..., 0 :: 2 * step]
        high = torch.cat(
            (found[..., 2 * step :: 2 * step], torch.full_like(level[..., :1], torch.inf)), dim=-1
        )
        found[..., step :: 2 * step] = torch.minimum(torch.maximum(tried, low), high)
        step //= 2
    return found[..., 1:]
