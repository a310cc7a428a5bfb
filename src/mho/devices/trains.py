"""The arithmetic of pulse trains: bounds, directions, responses that are linear in the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from mho.core.constants import as_tensor

Cell: TypeAlias = Mapping[str, "float | Tensor"]
"""A population's parameters by name: a number where all cells agree, else one value per cell."""

TINY = 1e-30  # stands for a rate of 0: expm1 is its argument far above it, also in float32
LARGEST_EXPONENT = 80.0  # exp of it is still a float32


def bounded(g: Tensor, cell: Cell) -> Tensor:
    """Return conductances (S) stopped at each cell's own ``g_min`` and ``g_max``."""
    low, high = cell["g_min"], cell["g_max"]
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return torch.minimum(torch.maximum(g, as_tensor(low, g)), as_tensor(high, g))
    return g.clamp(low, high)


def pick(
    up: Tensor, when_set: float | Tensor, when_reset: float | Tensor, like: Tensor
) -> float | Tensor:
    """Return a parameter by direction of the pulse; one number where both are equal.

    Two numbers become a tensor of the precision of ``like``: `torch.where` of numbers alone knows
    torch's default only.
    """
    if not isinstance(when_set, Tensor) and when_set == when_reset:
        return when_set
    return torch.where(up, as_tensor(when_set, like), as_tensor(when_reset, like))


def relax(x: Tensor, rate: float | Tensor, drive: float | Tensor, n: Tensor) -> Tensor:
    """Return ``x`` after ``n`` pulses of ``x ← x·e^(−rate) + drive·(1 − e^(−rate))/rate``.

    The affine map of all responses whose step is linear in the conductance; in closed form
    ``x·e^(−rate·n) + drive·(1 − e^(−rate·n))/rate``, with the limit ``x + drive·n`` at rate 0.

    Args:
        x: state before.
        rate: relaxation per pulse; negative for a step that grows as it goes.
        drive: the step at ``x = 0`` in the limit of small rates.
        n: number of pulses, >= 0.
    """
    rate = as_tensor(rate, x)
    rate = torch.where(rate.abs() < TINY, torch.full_like(rate, TINY), rate)
    exponent = (-rate * n).clamp(max=LARGEST_EXPONENT)
    return x * exponent.exp() - drive * exponent.expm1() / rate
