# ruff: noqa: N999
"""Devices that lose their state with time."""

from __future__ import annotations

from typing import Any

from mho.compat.memtorch.bh.nonideality._layers import Model, apply_model
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import (
    model_conductance_drift,
    model_endurance_retention,
)

__all__ = ["apply_retention_model", "valid_retention_models"]

valid_retention_models: list[Model] = [model_endurance_retention, model_conductance_drift]
"""What ``retention_model`` may be; append your own ``model(layer, x, **kwargs)``."""


def apply_retention_model(
    layer: Any,
    time: float,
    retention_model: Model = model_conductance_drift,
    **retention_model_kwargs: Any,
) -> Any:
    """Apply one of ``valid_retention_models`` to a layer's devices, in place.

    ``time``: since the devices were programmed (s); all else is
    for the model.

    Raises:
        Refused: if the model is not known or refuses an argument.
    """
    known, more = valid_retention_models, retention_model_kwargs
    return apply_model(layer, time, "retention_model", retention_model, known, more)
