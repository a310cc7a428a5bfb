# ruff: noqa: N999
"""Devices that lose their state with time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mho.compat._common import require
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import (
    model_conductance_drift,
    model_endurance_retention,
)

__all__ = ["apply_retention_model", "valid_retention_models"]

valid_retention_models: list[Callable[..., Any]] = [
    model_endurance_retention,
    model_conductance_drift,
]
"""What ``retention_model`` may be; append your own ``model(layer, x, **kwargs)``."""


def apply_retention_model(
    layer: Any,
    time: float,
    retention_model: Callable[..., Any] = model_conductance_drift,
    **retention_model_kwargs: Any,
) -> Any:
    """Apply one of ``valid_retention_models`` to a layer's devices, in place.

    ``time``: since the devices were programmed (s); all else is for the model.

    Raises:
        Refused: if the model is not known or refuses an argument.
    """
    message = f"retention_model must be one of valid_retention_models, got {retention_model!r}"
    require(retention_model in valid_retention_models, message)
    return retention_model(layer=layer, x=time, **retention_model_kwargs)
