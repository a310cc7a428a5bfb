"""Binary-weighted capacitive dividers: the DAC inside of SAR and ramp converters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mho.core import checks
from mho.periphery.converters.base import Architecture
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class _Capacitive(Architecture):
    """What converters with a capacitive divider and comparators share.

    Attributes:
        capacitor_sigma: relative standard deviation of a unit capacitor, in [0, 0.3].
        comparator_sigma: standard deviation of a comparator's offset, of full scale, >= 0.
        amplifier_db: open-loop gain of the divider's amplifier (dB), > 0; None is an ideal one.
    """

    compares: ClassVar[bool] = False

    capacitor_sigma: float = 0.0
    comparator_sigma: float = 0.0
    amplifier_db: float | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        checks.number(f"{name} capacitor_sigma", self.capacitor_sigma, least=0.0, most=0.3)
        checks.number(f"{name} comparator_sigma", self.comparator_sigma, least=0.0)
        if self.amplifier_db is not None:
            checks.number(f"{name} amplifier_db", self.amplifier_db, above=0.0)
        super().__post_init__()

    @property
    def drawn(self) -> bool:
        """Whether converters differ by chance."""
        return super().drawn or self.capacitor_sigma > 0.0 or self.comparator_sigma > 0.0

    @property
    def linear(self) -> bool:
        """Whether transitions lie where those of an ideal converter do."""
        return super().linear and self.even

    @property
    def even(self) -> bool:
        """Whether the divider's levels are those of an ideal one."""
        return self.capacitor_sigma == 0.0 and self.amplifier_db is None

    def own_offset(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Draw the comparators' offsets (steps)."""
        if not self.comparator_sigma:
            return None
        return draws.normal("comparator", count) * (self.comparator_sigma * 2 ** (bits - 1))

    def dividers(self, draws: Draws, count: int, bits: int) -> Tensor:
        """Draw the levels of ``count`` dividers; see `levels`."""
        return levels(draws, count, bits, self.capacitor_sigma, self.amplifier_db)


def levels(draws: Draws, count: int, bits: int, sigma: float, amplifier_db: float | None) -> Tensor:
    """Draw the levels of capacitive dividers (steps), ``[count, 2^bits]``.

    Capacitor ``n`` is ``2^n`` unit capacitors, each of relative deviation ``sigma``, so its own is
    ``σ · 2^(n/2)`` units; one more unit ends the divider. An amplifier of gain ``A`` with feedback
    factor ``β = C_N / (C_N + Σ b_n C_n)``, ``C_N`` being all capacitors, lowers each level by
    ``1 + 1/(A β)`` (the forms of CrossSim's converters; Spear et al., "The Impact of
    Analog-to-Digital Converter Architecture and Variability on Analog Neural Network Accuracy",
    IEEE JXCDC 2023).

    Args:
        draws: where mismatch comes from.
        count: how many dividers.
        bits: of each.
        sigma: relative standard deviation of a unit capacitor.
        amplifier_db: gain of the amplifier (dB); None is an ideal one.
    """
    unit = draws.normal("capacitor", count, bits + 1)
    power = torch.arange(bits, dtype=unit.dtype, device=unit.device)
    size = torch.cat((torch.exp2(power), torch.ones_like(power[:1])))
    size = (size + sigma * unit * size.sqrt()).clamp_min(0.0)
    code = torch.arange(2**bits, device=unit.device)
    bit = (code.unsqueeze(0) >> torch.arange(bits, device=unit.device).unsqueeze(1)) & 1
    charged = size[:, :-1] @ bit.to(unit.dtype)
    share = charged / size.sum(1, keepdim=True)
    full = 2 ** (bits - 1)
    if amplifier_db is not None:
        beta = 1.0 / (1.0 + share)
        share = share / (1.0 + 10.0 ** (-amplifier_db / 20.0) / beta)
    return (2.0 * share - 1.0) * full
