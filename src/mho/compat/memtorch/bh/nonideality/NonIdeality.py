# ruff: noqa: N999
"""Non-idealities of a whole model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, unique
from typing import Any, TypeVar

import torch

from mho.compat._common import require
from mho.compat.memtorch.bh.nonideality.DeviceFaults import apply_device_faults
from mho.compat.memtorch.bh.nonideality.Endurance import apply_endurance_model
from mho.compat.memtorch.bh.nonideality.FiniteConductanceStates import (
    apply_finite_conductance_states,
)
from mho.compat.memtorch.bh.nonideality.NonLinear import apply_non_linear
from mho.compat.memtorch.bh.nonideality.Retention import apply_retention_model
from mho.core import notice

__all__ = ["NonIdeality", "apply_nonidealities", "required"]

M = TypeVar("M", bound=torch.nn.Module)


@unique
class NonIdeality(Enum):
    """The non-idealities."""

    FiniteConductanceStates = 1
    DeviceFaults = 2
    NonLinear = 3
    Endurance = 4
    Retention = 5


_SWEEP = ("sweep_duration", "sweep_voltage_signal_amplitude", "sweep_voltage_signal_frequency")
_REQUIRED: dict[NonIdeality, tuple[str, ...]] = {
    NonIdeality.FiniteConductanceStates: ("conductance_states",),
    NonIdeality.DeviceFaults: ("lrs_proportion", "hrs_proportion", "electroform_proportion"),
    NonIdeality.NonLinear: _SWEEP,
    NonIdeality.Endurance: ("x", "endurance_model", "endurance_model_kwargs"),
    NonIdeality.Retention: ("time", "retention_model", "retention_model_kwargs"),
}
_KNOWN = {"simulate", "num_conductance_states"}.union(*_REQUIRED.values())


def apply_nonidealities(
    model: M, non_idealities: NonIdeality | Iterable[NonIdeality], **kwargs: Any
) -> M:
    """Apply non-idealities to every memristive layer of a model, in the order given.

    Args:
        model: with memristive layers, at any depth.
        non_idealities: which ones.
        **kwargs: what they need. FiniteConductanceStates: ``conductance_states``. DeviceFaults:
            ``lrs_proportion``, ``hrs_proportion``, ``electroform_proportion``. NonLinear:
            ``simulate=True``, or ``sweep_duration``, ``sweep_voltage_signal_amplitude``,
            ``sweep_voltage_signal_frequency``; ``num_conductance_states`` if wanted. Endurance:
            ``x``, ``endurance_model``, ``endurance_model_kwargs``. Retention: ``time``,
            ``retention_model``, ``retention_model_kwargs``.

    Returns:
        The model, changed in place.

    Raises:
        Refused: if an argument is missing, unknown or refused, or the model has no memristive
            layers.
    """
    wanted = [non_idealities] if isinstance(non_idealities, NonIdeality) else list(non_idealities)
    for kind in wanted:
        require(isinstance(kind, NonIdeality), f"non_idealities holds {kind!r}, no NonIdeality")
        if not (kind is NonIdeality.NonLinear and kwargs.get("simulate")):
            required(kwargs, _REQUIRED[kind], f"NonIdeality.{kind.name}")
    unknown = sorted(set(kwargs) - _KNOWN)
    if unknown:
        known = f"they take {sorted(_KNOWN)}"
        notice.warn(f"no non-ideality takes {', '.join(unknown)}: no effect; {known}")
    layers = [m for m in model.modules() if getattr(m, "crossbars", None) is not None]
    require(bool(layers), f"{type(model).__name__} has no memristive layers: patch it first")
    for layer in layers:
        for kind in wanted:
            _apply(layer, kind, kwargs)
    return model


def required(kwargs: Mapping[str, Any], arguments: Sequence[str], call: str) -> None:
    """Refuse keyword arguments in which one that ``call`` needs is missing, or None."""
    missing = [name for name in arguments if kwargs.get(name) is None]
    require(not missing, f"{call} needs {', '.join(missing)}")


def _apply(layer: Any, kind: NonIdeality, kwargs: Mapping[str, Any]) -> None:
    given: list[Any] = [kwargs.get(name) for name in _REQUIRED[kind]]
    if kind is NonIdeality.NonLinear:
        names = (*_SWEEP, "num_conductance_states", "simulate")
        apply_non_linear(layer, **{name: kwargs[name] for name in names if name in kwargs})
    elif kind is NonIdeality.FiniteConductanceStates:
        apply_finite_conductance_states(layer, *given)
    elif kind is NonIdeality.DeviceFaults:
        apply_device_faults(layer, *given)
    elif kind is NonIdeality.Endurance:
        apply_endurance_model(layer, *given[:2], **given[2])
    else:
        apply_retention_model(layer, *given[:2], **given[2])
