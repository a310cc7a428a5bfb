# ruff: noqa: N999
"""Devices worn by use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mho.compat._common import require
from mho.compat.memtorch.bh.nonideality.endurance_retention_models import model_endurance_retention

__all__ = ["apply_endurance_model", "valid_endurance_models"]

valid_endurance_models: list[Callable[..., Any]] = [model_endurance_retention]
"""What ``endurance_model`` may be; append your own ``model(layer, x, **kwargs)``."""


def apply_endurance_model(
    layer: Any,
    x: float,
    endurance_model: Callable[..., Any] = model_endurance_retention,
    **endurance_model_kwargs: Any,
) -> Any:
    """Apply one of ``valid_endurance_models`` to a layer's devices, in place.

    ``x``: SET–RESET cycles (or energy, J) that the devices have been through; all else is
    for the model.

    Raises:
        Refused: if the model is not known or refuses an argument.
    """
    message = f"endurance_model must be one of valid_endurance_models, got {endurance_model!r}"
    require(endurance_model in valid_endurance_models, message)
    return endurance_model(layer=layer, x=x, **endurance_model_kwargs)
