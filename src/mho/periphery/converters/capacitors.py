"""Binary-weighted capacitive dividers: the DAC inside of SAR and ramp converters."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.periphery.draws import Draws


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
