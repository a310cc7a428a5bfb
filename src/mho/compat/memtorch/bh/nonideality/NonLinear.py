# ruff: noqa: N999
"""Devices whose current is no straight line of the voltage."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.nonideality._layers import crossbars
from mho.compat.memtorch.bh.nonideality.FiniteConductanceStates import (
    apply_finite_conductance_states,
)

__all__ = ["apply_non_linear"]

_POINTS = 65


def apply_non_linear(
    layer: Any,
    sweep_duration: float = 1,
    sweep_voltage_signal_amplitude: float = 1,
    sweep_voltage_signal_frequency: float = 1,
    num_conductance_states: int | None = None,
    simulate: bool = False,
) -> Any:
    """Read a layer's devices through their nonlinear I–V curves.

    Reading disturbs no device: neither a sweep nor a simulated read leaves a trace, and every
    device conducts by the curve of the state it is in, ``I = g · f(v)``. So the sweep's duration,
    amplitude and frequency do not matter, and both ways read the same currents.

    Args:
        layer: a memristive layer.
        sweep_duration: of the voltage sweep each device's curve is taken from (s), > 0.
        sweep_voltage_signal_amplitude: of the sweep (V), > 0.
        sweep_voltage_signal_frequency: of the sweep (Hz), > 0.
        num_conductance_states: round conductances to so many states first; None: do not.
        simulate: simulate the devices at every read (True), rather than sweep them once (False).

    Returns:
        The layer, changed in place.

    Raises:
        ValueError: if an argument is refused.
    """
    crossbars(layer)
    sweep = {
        "sweep_duration": sweep_duration,
        "sweep_voltage_signal_amplitude": sweep_voltage_signal_amplitude,
        "sweep_voltage_signal_frequency": sweep_voltage_signal_frequency,
    }
    for name, value in sweep.items():
        require(0 < value < float("inf"), f"{name} must be > 0, got {value!r}")
    if num_conductance_states is not None:
        apply_finite_conductance_states(layer, num_conductance_states)
    layer.non_linear = static_current
    return layer


def static_current(crossbar: Any, voltages: Tensor) -> Tensor:
    """Return ``f(v)`` (V) of the devices' ``I = g · f(v)``.

    Args:
        crossbar: with the devices. A user's own ones are asked by example: a copy of the first
            answers voltages on a grid.
        voltages: any shape (V).
    """
    if not crossbar.per_device:
        read: Tensor = crossbar.transfer(voltages)
        return read
    device, most = crossbar.devices.flat[0], float(voltages.detach().abs().amax())
    grid = np.linspace(-most, most, _POINTS) if most else np.array([-1.0, 1.0])
    curve = [_current(device, float(v)) / float(device.g) for v in grid]
    at = voltages.detach().cpu().double().numpy()
    return torch.from_numpy(np.interp(at, grid, curve)).to(voltages)


def _current(device: Any, voltage: float) -> float:
    answer = copy.deepcopy(device).simulate(torch.tensor([voltage]), return_current=True)
    return float(np.asarray(answer).reshape(-1)[0])
