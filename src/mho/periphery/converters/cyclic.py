"""Cyclic (algorithmic) converters: one stage that works on its own residue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mho.periphery.converters.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class Cyclic(Pipeline):
    """As `Pipeline`, with one stage of 1.5 bits that is used ``bits - 1`` times.

    So the same mismatch acts at every bit.
    """

    one_stage: ClassVar[bool] = True

    def cycles(self, bits: int) -> int:
        """One period a pass."""
        return max(bits - 1, 1)

    def latency(self, bits: int) -> float | None:
        """Return the time (s) from a sample to its code."""
        return self.conversion_time(bits)
