"""Inputs to voltages."""
# ruff: noqa: N999

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mho.compat._common import real, require, truth
from mho.compat.memtorch.utils import convert_range

__all__ = ["convert_range", "naive_scale"]


def naive_scale(module: Any, input: Tensor, force_scale: bool = False) -> Tensor:
    """Encode inputs as voltages: the largest magnitude becomes ``max_input_voltage``.

    A layer that encodes its inputs so multiplies its currents by the inverse of the scale again.

    Args:
        module: a layer, with ``max_input_voltage``: None, or a voltage (V), > 0.
        input: any shape; voltages (V) of the same shape are returned.
        force_scale: scale also inputs that do not exceed ``max_input_voltage``.

    Raises:
        Refused: if ``max_input_voltage`` is not a number > 0.
    """
    factor = scale(module, input, force_scale)
    return input if factor is None else input * factor


def scale(module: Any, input: Tensor, force_scale: bool = False) -> float | None:
    """Return what `naive_scale` multiplies inputs by (V), or None where it leaves them."""
    force_scale = truth("force_scale", force_scale)
    if module.max_input_voltage is None:
        return None
    most = real("max_input_voltage", module.max_input_voltage)
    require(most > 0, f"max_input_voltage must be > 0, got {most!r}")
    if not input.numel():
        return None
    largest = float(torch.maximum(input.detach().amax(), -input.detach().amin()))
    # What is not finite has no scale: it is seen at the outputs it reaches, and nowhere else.
    if largest == 0.0 or not math.isfinite(largest) or (not force_scale and largest <= most):
        return None
    return most / largest
