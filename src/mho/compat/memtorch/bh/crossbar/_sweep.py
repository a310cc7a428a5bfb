"""I–V curves of devices of a user's class, as their own ``plot_hysteresis_loop`` gives them."""

from __future__ import annotations

import copy
import inspect
from typing import Any, TypeAlias

import numpy as np

from mho.compat._common import kept

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

    def swept() -> list[Curve | None]:
        return [_swept(device, settings) for device in (*crossbar.devices.flat, middle(crossbar))]

    sources = [crossbar._held.mark()]
    result: list[Curve | None] = kept(vars(crossbar), "curves", settings, sources, swept)
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
    given = {**settings, "return_result": True}
    known = inspect.signature(sweep).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        given |= {"memristor": device, "memristor_model": device}
        given = {p.name: given[p.name] for p in known if p.name in given}
    found = sweep(**given)
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
