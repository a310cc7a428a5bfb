# ruff: noqa: N999
"""Devices that hold only some conductances."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mho.compat._common import whole
from mho.compat.memtorch.bh.nonideality._layers import change, window
from mho.compat.memtorch.bh.Quantize import quantize

__all__ = ["apply_finite_conductance_states"]


def apply_finite_conductance_states(layer: Any, n_conductance_states: int) -> Any:
    """Round every device's conductance to the nearest of its states, in place.

    The states of a device, >= 1 of them, are evenly spaced from ``1/r_off`` to ``1/r_on`` of its
    own; a single one is the mean of the crossbar's cells.

    Raises:
        Refused: if the number is not whole or below 1.
    """
    count = whole("n_conductance_states", n_conductance_states)

    def round_to_states(crossbar: Any, g: Tensor) -> Tensor:
        if count == 1:
            return g[crossbar.used].mean().expand_as(g)
        low, high = window(crossbar, g)
        return quantize(g, count, min=low, max=high)

    return change(layer, round_to_states)
