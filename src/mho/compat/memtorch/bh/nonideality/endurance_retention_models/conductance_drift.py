"""Conductances that fall with a power of time, on `mho.effects.PowerLawDrift`."""

from __future__ import annotations

from typing import Any

from mho.compat._common import real, require
from mho.compat.memtorch.bh.nonideality._layers import change, context
from mho.effects import PowerLawDrift

__all__ = ["model_conductance_drift"]


def model_conductance_drift(
    layer: Any, x: float, initial_time: float = 1e-12, drift_coefficient: float = 0.1
) -> Any:
    """Let conductances drift: ``G = G0 · (x / initial_time)^(-drift_coefficient)``.

    Args:
        layer: a memristive layer; it is changed in place.
        x: retention time (s), at least ``initial_time``.
        initial_time: when the present conductances hold (s), >= 0; 0 counts as 1 ps.
        drift_coefficient: in [0, 1]; about 0.1 for amorphous phase-change material.

    Raises:
        Refused: if an argument is refused.

    Source: I. Boybat et al., "Impact of conductance drift on multi-PCM synaptic architectures",
    NVMTS 2018.
    """
    start, stop = real("initial_time", initial_time) or 1e-12, real("x", x)
    require(0 < start <= stop, f"0 <= initial_time <= x must hold, got {initial_time}, {x}")
    nu = real("drift_coefficient", drift_coefficient, least=0.0, most=1.0)
    drift = PowerLawDrift(nu=nu, t0=start)
    return change(layer, lambda crossbar, g: drift.age(g, context(crossbar, g), start, stop))
