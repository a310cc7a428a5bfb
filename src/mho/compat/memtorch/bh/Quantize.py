# ruff: noqa: N999
"""Converters and level grids, on `mho.periphery.quantize`."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mho.compat.memtorch._require import require
from mho.periphery import ADC
from mho.periphery import quantize as grids

__all__ = ["quant_methods", "quantize"]

quant_methods = ["linear", "log", "log_minmax", "minmax", "tanh"]
"""What ``quant_method`` may be."""


def quantize(
    tensor: Tensor,
    quant: int,
    overflow_rate: float = 0.0,
    quant_method: str | None = None,
    min: float | Tensor = float("nan"),
    max: float | Tensor = float("nan"),
    override_original: bool = False,
) -> Tensor:
    """Quantise a tensor.

    With a method, ``quant`` is the bit width of a converter whose full scale is the largest
    magnitude of the tensor (the bounds', where they are given and larger), after the
    ``overflow_rate`` largest fraction is dropped; see `mho.periphery.ADC` for the methods. One
    bit is the sign at full scale. Without a method, ``quant`` is a number of levels, evenly
    spaced from ``min`` to ``max``, both included; one level is the mean.

    Args:
        tensor: floating point, any shape.
        quant: bits (with a method) or levels (without), >= 1.
        overflow_rate: fraction of values, in [0, 1], that full scale may leave out.
        quant_method: one of `quant_methods`, or None.
        min: smallest value, a number or a tensor that fits ``tensor``; NaN: the tensor's own.
        max: largest value, likewise.
        override_original: write the result into ``tensor``, too.

    Returns:
        The quantised tensor; rounding passes gradients, clipping stops them.

    Raises:
        ValueError: if an argument is refused.
        TypeError: if ``tensor`` is not a floating-point tensor.
    """
    _check(tensor, quant, overflow_rate, quant_method)
    low, high = _bound("min", min, tensor), _bound("max", max, tensor)
    if tensor.numel() == 0:
        result = tensor.clone()
    elif quant_method is None:
        result = _to_levels(tensor, int(quant), low, high)
    else:
        inside = tensor if low is None and high is None else tensor.clamp(low, high)
        result = convert(inside, quant, overflow_rate, quant_method, bounds=(low, high))
    if override_original:
        with torch.no_grad():
            return tensor.copy_(result)
    return result


def convert(
    tensor: Tensor,
    bits: int,
    overflow_rate: float,
    quant_method: str,
    *,
    bounds: tuple[Tensor | None, Tensor | None] = (None, None),
    each_row: bool = False,
) -> Tensor:
    """Convert as a converter of ``bits`` bits does; what `quantize` does with a method.

    Args:
        tensor: floating point, not empty.
        bits: >= 1.
        overflow_rate: fraction of values in [0, 1] that full scale may leave out.
        quant_method: one of `quant_methods`.
        bounds: values that full scale reaches to at least.
        each_row: every last dimension is one conversion with a full scale of its own.

    Returns:
        Tensor of the same shape.
    """
    values = tensor.detach() if each_row else tensor.detach().reshape(1, -1)
    full_scale = _full_scale(values.abs(), overflow_rate, bounds)
    adc = ADC(bits=int(bits), method=quant_method)
    if quant_method == "minmax":
        low, high = values.aminmax(dim=-1, keepdim=True)
        limit = _stack(low, high, bounds, full_scale, each_row)
    elif quant_method == "log_minmax":
        sizes = values.abs()
        # What rounding leaves of currents that cancel is no current.
        rounding = full_scale * torch.finfo(sizes.dtype).eps
        least = torch.where(sizes > rounding, sizes, full_scale).amin(-1, keepdim=True)
        limit = (
            torch.stack((least, full_scale))
            if each_row
            else torch.stack((least.reshape(()), full_scale.reshape(())))
        )
    else:
        limit = full_scale if each_row else full_scale.reshape(())
    # A copy: the converter may work in place.
    return adc.convert(tensor.clone(), limit)


def _stack(
    low: Tensor,
    high: Tensor,
    bounds: tuple[Tensor | None, Tensor | None],
    full_scale: Tensor,
    each_row: bool,
) -> Tensor:
    """Both ends of a min–max converter, each within full scale unless bounds say otherwise."""
    low, high = torch.maximum(low, -full_scale), torch.minimum(high, full_scale)
    if bounds[0] is not None:
        low = torch.minimum(low, bounds[0].amin())
    if bounds[1] is not None:
        high = torch.maximum(high, bounds[1].amax())
    ends = torch.stack((low, high))
    return ends if each_row else ends.reshape(2)


def _full_scale(
    sizes: Tensor, overflow_rate: float, bounds: tuple[Tensor | None, Tensor | None]
) -> Tensor:
    """Largest magnitude that is not dropped, ``[rows, 1]``; 1 where there is no signal."""
    count = sizes.shape[-1]
    # As int(x + 1/2): Python rounds halves to even.
    drop = min(int(overflow_rate * count + 0.5), count - 1)
    if drop == 0:
        largest = sizes.amax(-1, keepdim=True)
    else:
        largest = sizes.topk(drop + 1, dim=-1).values[..., -1:]
    for bound in bounds:
        if bound is not None:
            largest = torch.maximum(largest, bound.abs().amax())
    return torch.where(largest == 0, torch.ones_like(largest), largest)


def _to_levels(tensor: Tensor, count: int, low: Tensor | None, high: Tensor | None) -> Tensor:
    """Nearest of ``count`` levels from ``low`` to ``high``."""
    bottom = tensor.detach().amin() if low is None else low
    top = tensor.detach().amax() if high is None else high
    if count == 1:
        inside = torch.minimum(torch.maximum(tensor.detach().mean(), bottom), top)
        return grids.straight_through(inside.expand_as(tensor).clone(), tensor)
    step = (top - bottom) / (count - 1)
    # Levels of no distance are one level.
    unit = torch.where(step == 0, torch.ones_like(step), step)
    return grids.to_grid((tensor - bottom) / unit, 0, count - 1) * step + bottom


def _check(tensor: Tensor, quant: int, overflow_rate: float, quant_method: str | None) -> None:
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"tensor must be a floating-point tensor, got {kind}")
    require(
        isinstance(quant, (int, np.integer)) and not isinstance(quant, bool) and quant > 0,
        f"quant must be an integer > 0, got {quant!r}",
    )
    require(
        isinstance(overflow_rate, (int, float)) and 0 <= overflow_rate <= 1,
        f"overflow_rate must be in [0, 1], got {overflow_rate!r}",
    )
    require(
        quant_method is None or quant_method in quant_methods,
        f"quant_method must be None or one of {quant_methods}, got {quant_method!r}",
    )


def _bound(name: str, value: float | Tensor, like: Tensor) -> Tensor | None:
    if isinstance(value, Tensor):
        bound = value.detach().to(like)
        require(not bool(bound.isnan().any()), f"{name} must not hold NaN")
        try:
            bound.expand(like.shape)
        except RuntimeError:
            require(
                False,
                f"{name} must fit a tensor of shape {list(like.shape)}, got {list(bound.shape)}",
            )
        return bound
    require(isinstance(value, (int, float)), f"{name} must be a number, got {value!r}")
    return (
        None if math.isnan(value) else torch.as_tensor(value, dtype=like.dtype, device=like.device)
    )
