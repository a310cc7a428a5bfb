"""Stages of 1.5 bits, which hand on what is left of their input: pipeline and cyclic converters."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.periphery.converters.base import ideal_transitions
from mho.periphery.draws import Draws

_RESOLVED = 2.0**-9  # of a step, to which transitions are found
_REACH = 8.0  # steps, and an eighth of full scale: how far they may lie from their places


class Stages(NamedTuple):
    """Stages of converters, one after the other; each tensor is ``[stages or 1, count, 1]``.

    Attributes:
        low: offset of the lower comparator, of full scale.
        high: offset of the upper one.
        ratio: of the two capacitors, ``C2 / C1``.
        shrink: ``1 + 1/(A β)`` of the amplifier.
    """

    low: Tensor
    high: Tensor
    ratio: Tensor
    shrink: Tensor


def draw(
    draws: Draws,
    stages: int,
    count: int,
    *,
    capacitor_sigma: float,
    parasitic_sigma: float,
    comparator_sigma: float,
    amplifier_db: float | None,
) -> Stages:
    """Draw stages, independent of one another (forms of CrossSim's converters; Spear et al. 2023).

    ``C1, C2 ~ N(1, σ)``, ``C_par ~ |N(0, σ_par)|``, ``β = C1 / (C1 + C2 + C_par)``.
    """
    first, second, parasitic, low, high = (
        draws.normal(name, stages, count, 1) for name in ("c1", "c2", "parasitic", "low", "high")
    )
    c1 = (1.0 + capacitor_sigma * first).clamp_min(0.1)
    c2 = (1.0 + capacitor_sigma * second).clamp_min(0.1)
    beta = c1 / (c1 + c2 + parasitic_sigma * parasitic.abs())
    shrink = 1.0 if amplifier_db is None else 1.0 + 10.0 ** (-amplifier_db / 20.0) / beta
    one = torch.ones_like(beta)
    return Stages(comparator_sigma * low, comparator_sigma * high, c2 / c1, one * shrink)


def code(u: Tensor, stages: Stages, number: int) -> Tensor:
    """Convert inputs ``u [count, …]`` of full scale to codes in ``±(2^number - 1)``.

        c = -1, 0 or 1, as V lies to ∓1/4 + o;   V ← ((1 + γ) V - c γ) / (1 + 1/(A β))

    Args:
        u: inputs, in ±1.
        stages: ``number`` of them, or one that is used again and again.
        number: of stages.
    """
    total = torch.zeros_like(u)
    for k in range(number):
        at = min(k, len(stages.ratio) - 1)
        low, high, ratio, shrink = (each[at] for each in stages)
        choice = (u > 0.25 + high).to(u.dtype) - (u < low - 0.25).to(u.dtype)
        total = total * 2.0 + choice
        u = ((1.0 + ratio) * u - choice * ratio) / shrink
    return total


def transitions(stages: Stages, bits: int, like: Tensor, count: int) -> Tensor:
    """Return the transitions (steps) of converters of ``bits - 1`` stages, by bisection.

    Where a transfer falls back, as at a comparator's threshold of stages that gain too little, one
    of the crossings is taken: the converter that is simulated rises. The lowest code, which these
    stages do not have, is taken to end a step below the next.

    Args:
        stages: of the converters.
        bits: of the converters.
        like: gives dtype and device.
        count: how many there are.

    Returns:
        Rising ``[count, 2^bits - 1]``.
    """
    full = 2 ** (bits - 1)
    wanted = ideal_transitions(bits, like)
    reach = _REACH + full / 8
    low = (wanted - reach).expand(count, -1)
    high = (wanted + reach).expand(count, -1)
    rounds = 1 + int(torch.tensor(2 * reach / _RESOLVED, device="cpu").log2().ceil())
    for _ in range(rounds):
        middle = (low + high) / 2
        over = code(middle / full, stages, bits - 1) > wanted  # the code above it, or more
        high = torch.where(over, middle, high)
        low = torch.where(over, low, middle)
    found = (low + high) / 2
    found[:, 0] = found[:, 1] - 1.0  # such stages do not have the lowest code
    return found.cummax(1).values
