# ruff: noqa: N999
"""Devices whose current is no straight line of the voltage."""

from __future__ import annotations

from typing import Any

from mho.compat._common import real, require, truth
from mho.compat.memtorch.bh.crossbar._currents import curves
from mho.compat.memtorch.bh.nonideality._layers import crossbars
from mho.compat.memtorch.bh.nonideality.FiniteConductanceStates import (
    apply_finite_conductance_states,
)

__all__ = ["apply_non_linear"]


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
    device conducts by the curve of its own parameters and of the state it is in,
    ``I = g · f(v)``. So the sweep's duration, amplitude and frequency do not matter, and both ways
    read the same currents. Devices of a user's class with a ``plot_hysteresis_loop`` of its own are
    swept by that, with ``return_result=True``, if they are not simulated; beyond the sweep the
    current at its end holds.

    ``layer.non_linear = True`` is all that is done to the layer; ``False`` undoes it, and a
    function ``f(crossbar, v)``, elementwise on voltages, takes the place of the devices' own.

    Args:
        layer: a memristive layer.
        sweep_duration: of the voltage sweep each device's curve is taken from (s), > 0.
        sweep_voltage_signal_amplitude: of the sweep (V), > 0.
        sweep_voltage_signal_frequency: of the sweep (Hz), > 0.
        num_conductance_states: round conductances to so many states first; None: do not.
        simulate: simulate the devices at every read (True), rather than sweep them once (False).

    Raises:
        Refused: if an argument is refused.
    """
    simulate = truth("simulate", simulate)
    sweep = {
        "duration": sweep_duration,
        "voltage_signal_amplitude": sweep_voltage_signal_amplitude,
        "voltage_signal_frequency": sweep_voltage_signal_frequency,
    }
    for name, value in sweep.items():
        require(real(f"sweep_{name}", value) > 0, f"sweep_{name} must be > 0, got {value!r}")
    if num_conductance_states is not None:
        apply_finite_conductance_states(layer, num_conductance_states)
    for crossbar in crossbars(layer):
        crossbar.sweep = None if simulate else sweep
        curves(crossbar)
    layer.non_linear = True
    if simulate:
        layer.simulate = True
    return layer
