# ruff: noqa: N999
"""Devices that lose their state with time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import (
    conductance_drift,
)
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import (
    empirical_metal_oxide_RRAM as metal_oxide,
)

__all__ = ["apply_retention_model", "valid_retention_models"]

valid_retention_models: list[Callable[..., Any]] = [
    metal_oxide.model_endurance_retention,
    conductance_drift.model_conductance_drift,
]
"""What ``retention_model`` may be; append your own ``model(layer, x, **kwargs)``."""


def apply_retention_model(
    layer: Any,
    time: float,
    retention_model: Callable[..., Any] = conductance_drift.model_conductance_drift,
    **retention_model_kwargs: Any,
) -> Any:
    """Apply a retention model to a layer's devices.

    Args:
        layer: a memristive layer.
        time: since the devices were programmed (s).
        retention_model: one of ``valid_retention_models``.
        **retention_model_kwargs: its other arguments.

    Returns:
        The layer, changed in place.

    Raises:
        ValueError: if the model is not known or refuses an argument.
    """
    require(
        retention_model in valid_retention_models,
        f"retention_model must be one of valid_retention_models, got {retention_model!r}",
    )
    return retention_model(layer=layer, x=time, **retention_model_kwargs)
