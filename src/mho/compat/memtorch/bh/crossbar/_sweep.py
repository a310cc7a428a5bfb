"""I–V curves of devices of a user's class, as their own ``plot_hysteresis_loop`` gives them."""

from __future__ import annotations

import copy
import inspect
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Curve: TypeAlias = tuple[Any, Any]
"""Voltages (V), rising, and currents (A): arrays."""


def curves(crossbar: Any) -> list[Curve | None]:
    """Return every device's swept curve, and last that of one at the middle of the window.

    None stands for those that are not swept: their class has no sweep of its own, or the crossbar's
    ``sweep`` (the sweep's settings by name) is not there or None. Sweeps are of copies, and made
    again once a conductance has changed.
    """
    settings = getattr(crossbar, "sweep", None)
    if settings is None or not crossbar.per_device:
        return [None] * (crossbar.conductance_matrix.numel() + 1)
    now, found = fingerprint(crossbar.conductance_matrix), getattr(crossbar, "curves", None)
    if found is None or found[0] != settings or not torch.equal(found[1], now):
        devices = [*crossbar.devices.flat, middle(crossbar)]
        found = crossbar.curves = settings, now, [_swept(device, settings) for device in devices]
    result: list[Curve | None] = found[-1]
    return result


def middle(crossbar: Any) -> Any:
    """Return a device like the first one of a crossbar, at the middle of the window."""
    device = copy.deepcopy(crossbar.devices.flat[0])
    device.set_conductance((1 / crossbar.r_on_mean + 1 / crossbar.r_off_mean) / 2)
    return device


def _swept(device: Any, settings: dict[str, Any]) -> Curve | None:
    device = copy.deepcopy(device)
    sweep = getattr(device, "plot_hysteresis_loop", None)
    if sweep is None or str(getattr(sweep, "__module__", "")).startswith("mho.compat.memtorch."):
        return None
    given = {**settings, "return_result": True, "memristor": device, "memristor_model": device}
    known = inspect.signature(sweep).parameters
    found = sweep(**{name: value for name, value in given.items() if name in known})
    if found is None:  # it only draws
        return None
    voltages, currents = (np.asarray(values, np.float64).reshape(-1) for values in found)
    return _mean(voltages, currents)


def _mean(voltages: Any, currents: Any) -> Curve:
    """Return the mean of a loop's branches, each from one turn of the voltage to the next."""
    turns = np.flatnonzero(np.diff(np.sign(np.diff(voltages)))) + 1
    grid, branches = np.unique(voltages), []
    for first, last in zip([0, *turns], [*turns, len(voltages) - 1], strict=True):
        order = first + np.argsort(voltages[first : last + 1])
        branches.append(np.interp(grid, voltages[order], currents[order], np.nan, np.nan))
    return grid, np.nanmean(branches, axis=0)


# Sums of bits are kept for so many groups of values; a prime, so that rows fall apart.
_GROUPS = 1021


def fingerprint(values: Tensor) -> Tensor:
    """Return sums of a tensor's bits: they tell whether it changed, however it was written to.

    (torch does not count what is written through ``.data`` or NumPy.) Equal values have equal
    sums; others do but for a chance that is none. In one pass, and of 1021 integers at most.
    """
    bits = values.detach().contiguous().view(torch.int32).flatten()
    whole = len(bits) // _GROUPS * _GROUPS
    sums = bits[:whole].view(-1, _GROUPS).sum(0, dtype=torch.int32)
    if whole < len(bits):
        sums[: len(bits) - whole] += bits[whole:]
    return sums
