"""Pairs that a sense amplifier compares: bits that are added in digital logic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LEAST_RATIO = 3.0  # of the window: what is needed to tell an unequal pair from an equal one


def sign_of(g: Tensor) -> Tensor:
    """Return +1 where the positive cell of a pair conducts as much or more, else -1.

    Args:
        g: ``[2, …]`` (S), positive and negative cells.

    Returns:
        ``[…]``; its gradient is that of the difference.
    """
    difference = g[0] - g[1]
    return _straight_through(torch.where(difference >= 0, 1.0, -1.0).to(g.dtype), difference)


def trit_of(g: Tensor) -> Tensor:
    """Return the sign of a pair's difference, or 0 where it is less than half of the pair's sum.

    Half of the sum is the difference of cells whose conductances are 3 to 1.

    Args:
        g: ``[2, …]`` (S), positive and negative cells.

    Returns:
        ``[…]``; its gradient is that of the difference.
    """
    difference = g[0] - g[1]
    unequal = difference.abs() >= 0.5 * (g[0] + g[1])
    return _straight_through(difference.sign() * unequal, difference)


def _straight_through(bits: Tensor, difference: Tensor) -> Tensor:
    if not difference.requires_grad:
        return bits
    return bits.detach() + (difference - difference.detach())


def refuse_currents(name: str, hardware: Any) -> None:
    """Refuse hardware in which currents count, for pairs that are read as bits.

    Raises:
        ValueError: if there is an ADC, an amplifier, wires or read noise, or cells are not ohmic.
    """
    found = {
        "an ADC": hardware.adc is not None,
        "an amplifier": hardware.amplified is not None,
        "wires": not hardware.array.wires.ideal,
        "noise of reads": any(b.acts_on("read_std") for b in hardware.behaviours),
        "cells that are not ohmic": not hardware.device.ohmic,
    }
    wrong = [what for what, there in found.items() if there]
    if wrong:
        raise ValueError(
            f"{name} with compared=True reads every pair as a bit, which is multiplied and added "
            f"in digital logic, where {', '.join(wrong)} would not act; with compared=False "
            "currents add on the bit lines"
        )
