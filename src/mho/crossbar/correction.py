"""Correction: what stands between a crossbar's cells and its outputs, as one immutable value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Correction:
    """Converter ranges, output correction, and what drift is measured against.

    Attributes:
        input_range: input magnitude that becomes the largest voltage, ``[]``; NaN until calibrated.
        adc_range: full scale (A) per converter ``[converters]``; NaN until calibrated.
        gain: factor on the outputs, ``[groups · cols]``; 1 until calibrated.
        offset: added to the outputs, ``[groups · cols]``; 0 until calibrated.
        reference: ``Σ_rows |weight|`` per column ``[groups · cols]``, as a read averaged over its
            noise found it when programmed, calibrated or last compensated; NaN until programmed.
        shift: ``[1 + converters]``, logarithm of the factor by which training has moved the
            calibrated input range and converter ranges; None unless they are learned.
        trim: what is done to the current of every line before its converter, so that this has no
            gain and no offset: a factor and a current added then (steps),
            ``[2, groups, tiles, lines]``; None until `mho.calibrate` trims. It is of the converters
            of one chip, and ends where the crossbar gets others.
    """

    input_range: Tensor
    adc_range: Tensor
    gain: Tensor
    offset: Tensor
    reference: Tensor
    shift: Tensor | None = None
    trim: Tensor | None = None

    @classmethod
    def none(cls, outputs: int, converters: int, like: Tensor) -> Correction:
        """Return that of a crossbar that was never programmed nor calibrated."""
        return cls(
            input_range=like.new_full((), torch.nan),
            adc_range=like.new_full((converters,), torch.nan),
            gain=like.new_ones(outputs),
            offset=like.new_zeros(outputs),
            reference=like.new_full((outputs,), torch.nan),
        )

    def replace(self, **changes: Any) -> Correction:
        """Return a copy with some values changed."""
        return replace(self, **changes)

    @property
    def of_ranges_alone(self) -> Correction:
        """The same converter ranges, no output correction: for cells that were written anew."""
        gain, offset = torch.ones_like(self.gain), torch.zeros_like(self.offset)
        return replace(self, gain=gain, offset=offset)

    @property
    def corrects(self) -> bool:
        """Whether gain or offset do anything."""
        return corrects(self.gain, self.offset)


def corrects(gain: Tensor, offset: Tensor) -> bool:
    """Whether a gain or an offset of the outputs does anything."""
    return bool((gain != 1).any()) or bool((offset != 0).any())
