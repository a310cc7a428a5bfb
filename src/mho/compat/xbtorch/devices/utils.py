"""Helpers about devices: roundings, sweeps, data sets of pulses, jump tables from data."""

# ruff: noqa: N802
from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

import mho
from mho.compat._common import truth
from mho.compat.xbtorch._params import get_xbtorch_param

__all__ = [
    "construct_cdf",
    "find_nearest",
    "find_nearest_2d",
    "get_kriging_profiles",
    "stochastic_round",
    "sweep_conductance_full",
    "synthesize_G_dG_dataset",
]

_ROUNDS = 1000  # of redrawing pulses that are not valid


def floating(values: Any) -> Tensor:
    """Return numbers, lists or arrays as a tensor of floating point; tensors as they are."""
    found = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values))
    return found if found.is_floating_point() else found.to(torch.get_default_dtype())


def find_nearest(array: Any, values: Any) -> Tensor:
    """Return the positions of the entries of ``array [n]`` nearest to values, of their shape.

    Of equally near ones the first. It may be ``[m, n]``, each value in a row of its own.
    """
    array, values = floating(array), floating(values)
    return (array - values.to(array.device).unsqueeze(-1)).abs().argmin(dim=-1)


find_nearest_2d = find_nearest


def stochastic_round(x: Any) -> Tensor:
    """Round to integers, up with the probability of the fraction."""
    x = floating(x)
    low = torch.floor(x)
    return low + (x - low > torch.rand_like(x)).to(x)


def written(device: Any, G: Tensor, pulse: Tensor, group_param_idx: Any) -> Any:
    """Return what a device's ``write`` does, also of one that asks for no ``group_param_idx``."""
    kinds = [parameter.kind for parameter in inspect.signature(device.write).parameters.values()]
    if len(kinds) > 2 or inspect.Parameter.VAR_POSITIONAL in kinds:
        return device.write(G, pulse, group_param_idx)
    return device.write(G, pulse)


def sweep_conductance_full(
    device: Any, group_param_idx: Any = (0, 0)
) -> tuple[list[float], list[float]]:
    """Take one cell (of that name) through its window by set pulses, and back by reset pulses.

    Returns:
        Conductances after 0, 1, … ``max_level`` pulses of each direction.
    """

    def sweep(start: float, sign: float) -> list[float]:
        # In double precision: what is clipped at a bound is then not beyond it.
        kind: Any = {"dtype": torch.float64, "device": get_xbtorch_param("pytorch_device")}
        G, pulse = torch.tensor([[start], [sign]], **kind)
        trace = [float(start)]
        for _ in range(int(device.max_level)):
            G = written(device, G, pulse, group_param_idx)
            trace.append(float(G))
        return trace

    return sweep(device.min_conductance_set, 1.0), sweep(device.max_conductance_reset, -1.0)


def synthesize_G_dG_dataset(
    device: Any,
    set: bool = True,
    num_points: int = 1000,
    min_delta_ratio: float = 1 / 1000,
    disable_filtering: bool = False,
) -> Any:
    """Return what single pulses do to cells all over the window.

    Args:
        device: any device. Every point is a cell of its own, and none is one of the device's.
        set: set pulses, else reset pulses.
        num_points: how many.
        min_delta_ratio: least ``|ΔG/G|`` of a point.
        disable_filtering: take all points, also those that did not move.

    Returns:
        Array ``[num_points, 2]`` of conductances and changes.

    Raises:
        RuntimeError: if hardly any point is valid.
    """
    set = truth("set", set)
    disable_filtering = truth("disable_filtering", disable_filtering)
    if hasattr(device, "spec"):
        device = copy.copy(device)
        device.reset_cached_params()
    low, high, missing = float(device.min_conductance), float(device.max_conductance), num_points
    sign = 1.0 if set else -1.0
    pulse = torch.full((num_points,), sign, device=get_xbtorch_param("pytorch_device"))
    found: list[Any] = []
    for _ in range(_ROUNDS):
        before = low + (high - low) * torch.rand_like(pulse, dtype=torch.float64)
        after = _pulsed(device, before.clone(), pulse).to(before)
        change = after - before
        valid = (after >= low) & (after <= high) & (change.abs() > min_delta_ratio * before.abs())
        points = torch.stack((before, change), dim=1)[valid | disable_filtering][:missing]
        found.append(points.cpu().numpy())
        missing -= len(points)
        if missing == 0:
            return np.concatenate(found)
    raise RuntimeError(
        f"{missing} of {num_points} points are missing: pulses of this device hardly change "
        f"anything by more than min_delta_ratio = {min_delta_ratio:g}; lower it, or set "
        "disable_filtering"
    )


def _pulsed(device: Any, G: Tensor, pulse: Tensor) -> Tensor:
    try:
        return floating(written(device, G, pulse, "data set"))
    except Exception:  # however it refuses: a device that knows single cells only
        pairs = zip(G.split(1), pulse.split(1), strict=True)
        return torch.cat([floating(written(device, *pair, "data set")).view(1) for pair in pairs])


def get_kriging_profiles(
    g: Any, dg: Any, axis_size: int = 100, epsilon: float = 1e-10, **kwargs: Any
) -> tuple[Any, Any, Any, Any]:
    """Fit mean and standard deviation of changes ``dg`` over conductances ``g``, by Kriging.

    Args:
        g: conductances before pulses.
        dg: changes, as many.
        axis_size: points of either axis.
        epsilon: least standard deviation.
        **kwargs: of SMT's surrogate model: not needed, and a warning says so.

    Returns:
        Axis of conductances, axis of changes, means and standard deviations.

    Raises:
        ValueError: if there are not as many changes as conductances.
        ImportError: if scikit-learn is missing.
    """
    g, dg = (np.asarray(x, dtype=np.float64).ravel() for x in (g, dg))
    if len(g) != len(dg):
        raise ValueError(f"g and dg must be as many, got {len(g)} and {len(dg)}")
    if kwargs:
        warnings.warn(
            f"{', '.join(kwargs)}: not used, the regression finds its parameters", stacklevel=2
        )
    G_axis = np.linspace(g.min(), g.max(), int(axis_size))
    reach = np.abs(dg).max()
    mean, deviation = mho.fit.kriging.profiles(g, dg, G_axis)
    dG_axis = np.linspace(-reach, reach, int(axis_size))
    return G_axis, dG_axis, mean, np.maximum(deviation, epsilon)


def construct_cdf(G_axis: Any, dG_axis: Any, mean_profile: Any, std_profile: Any) -> Any:
    """Return the normal distribution functions ``[n, m]`` of changes, by conductance.

    Args: see what `get_kriging_profiles` returns.
    """
    mean, deviation = (np.asarray(x, dtype=np.float64) for x in (mean_profile, std_profile))
    if not len(G_axis) == len(mean) == len(deviation):
        raise ValueError(
            "G_axis, mean_profile and std_profile must be as many, got "
            f"{len(G_axis)}, {len(mean)} and {len(deviation)}"
        )
    return scipy.special.ndtr((np.asarray(dG_axis)[None, :] - mean[:, None]) / deviation[:, None])
