"""Conductances that fall with a power of time, on `mho.effects.PowerLawDrift`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.nonideality._layers import change
from mho.effects import PowerLawDrift

__all__ = ["model_conductance_drift"]


def model_conductance_drift(
    layer: Any, x: float, initial_time: float = 1e-12, drift_coefficient: float = 0.1
) -> Any:
    """Let conductances drift: ``G = G0 · (x / initial_time)^(-drift_coefficient)``.

    Args:
        layer: a memristive layer.
        x: retention time (s), above ``initial_time``.
        initial_time: when the present conductances hold (s), >= 0; 0 counts as 1 ps.
        drift_coefficient: in [0, 1]; about 0.1 for amorphous phase-change material.

    Returns:
        The layer, changed in place.

    Raises:
        ValueError: if an argument is refused.

    Source: I. Boybat et al., "Impact of conductance drift on multi-PCM synaptic architectures",
    NVMTS 2018.
    """
    start = 1e-12 if initial_time == 0 else initial_time
    require(
        0 < start < x < float("inf"), f"0 <= initial_time < x must hold, got {initial_time}, {x}"
    )
    require(
        0 <= drift_coefficient <= 1, f"drift_coefficient must be in [0, 1], got {drift_coefficient}"
    )
    drift = PowerLawDrift(nu=float(drift_coefficient), t0=float(start))

    def age(crossbar: Any, g: Tensor) -> Tensor:
        window = {"g_min": 1 / crossbar.r_off_mean, "g_max": 1 / crossbar.r_on_mean}
        context = Context(like=g, rng=torch.zeros(2, dtype=torch.int64), **window)
        return drift.age(g, context, float(start), float(x))

    return change(layer, age)
