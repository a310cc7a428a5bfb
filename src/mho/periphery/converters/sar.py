"""Successive-approximation converters: binary search by a capacitive divider."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.periphery.converters.capacitors import _Capacitive
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class SAR(_Capacitive):
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

    def cycles(self, bits: int) -> int:
        """One period to sample, and one a bit."""
        return bits + 1

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw transitions (steps), rising ``[count, 2^bits - 1]``; None for ideal ones."""
        return None if self.even else searched(self.dividers(draws, count, bits) - 0.5)


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
