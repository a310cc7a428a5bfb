"""Waveforms through cells, with as fine steps as the model needs."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.devices import SwitchingCells


def follow(cells: SwitchingCells, volts: Tensor, step: float, currents: bool = True) -> Tensor:
    """Drive cells with a waveform.

    Where the model moves too fast for the samples, each voltage is held until the next one, and
    every cell takes as many steps within as it needs (`SwitchingCells.apply_pulse`).

    Args:
        cells: they are moved.
        volts: ``[samples]`` or ``[samples, *shape]`` (V).
        step: between samples (s).
        currents: whether to return them.

    Returns:
        Currents at the samples ``[samples, *shape]`` (A); empty if not asked for.

    Raises:
        ValueError: if the waveform is not finite or the model too stiff for it.
    """
    if len(volts) > 1:
        try:
            return cells.simulate(volts, dt=step, method="heun", every=1 if currents else None)
        except ValueError as refused:
            if "too coarse" not in str(refused):
                raise
    return _held(cells, volts, step, currents)


def _held(cells: SwitchingCells, volts: Tensor, step: float, currents: bool) -> Tensor:
    passed = []
    for voltage in volts:
        if currents:
            passed.append(cells.current(voltage))
        cells.apply_pulse(voltage, step)
    return torch.stack(passed) if passed else volts.new_empty(0)
