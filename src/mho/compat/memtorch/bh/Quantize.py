# ruff: noqa: N999
"""Converters and level grids, on `mho.periphery`.

Levels on a grid are the nearest; a value halfway between two becomes the upper one,
``floor(x / step + 1/2)``. (mho's own converters round halves to even.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import real, require, truth, whole
from mho.core import derivatives
from mho.periphery import ADC
from mho.periphery import quantize as grids

__all__ = ["quant_methods", "quantize"]

quant_methods = ["linear", "log", "log_minmax", "minmax", "tanh"]
"""What ``quant_method`` may be."""

Bounds = tuple[Tensor | None, Tensor | None]
Converter = tuple[int, float, str]
"""A converter: its bits, the fraction of values full scale may leave out, its method."""


def quantize(
    tensor: Any,
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
    bit is a comparator: the sign (of 0: +) at full scale, with ``minmax`` the nearer of the two
    ends. Without a method, ``quant`` is a number of levels, evenly spaced from ``min`` to ``max``,
    both included; one level is the mean.

    Args:
        tensor: any shape, or a NumPy array. Integers become torch's default floating type.
        quant: bits (with a method) or levels (without), >= 1.
        overflow_rate: fraction of values, in [0, 1], that full scale may leave out.
        quant_method: one of `quant_methods`, or None.
        min: smallest value, a number or a tensor that fits ``tensor``; NaN: the tensor's own.
        max: largest value, likewise.
        override_original: write the result into ``tensor``, too; it must be floating point.

    Returns:
        The quantised tensor; rounding passes gradients, clipping stops them.

    Raises:
        Refused: if an argument is refused.
        TypeError: if ``tensor`` is no tensor of numbers, or cannot hold the result.
    """
    override_original = truth("override_original", override_original)
    original, x = _values(tensor, override_original)
    count = whole("quant", quant)
    rate = real("overflow_rate", overflow_rate, least=0.0, most=1.0)
    _check_method(quant_method)
    low, high = _bound("min", min, x), _bound("max", max, x)
    if x.numel() == 0:
        result = x.clone()
    elif quant_method is None:
        result = _to_levels(x, count, low, high)
    else:
        inside = x if low is None and high is None else derivatives.clip(x, low, high)
        ready = (count, rate, quant_method)
        result = convert(inside.reshape(1, -1), ready, (low, high)).reshape(x.shape)
    if not override_original:
        return result
    with torch.no_grad():
        return original.copy_(result)


def converter(bits: Any, overflow_rate: Any, quant_method: str | None) -> Converter | None:
    """Return a layer's converter (or raise `Refused`); None, without bits or a method, is none."""
    _check_method(quant_method)
    if quant_method is None or bits is None:
        return None
    rate = real("ADC_overflow_rate", overflow_rate, least=0.0, most=1.0)
    return whole("ADC_resolution", bits), rate, quant_method


def convert(
    tensor: Tensor, ready: Converter, bounds: Bounds = (None, None), *, fresh: bool = False
) -> Tensor:
    """Convert as a converter does, each last dimension with a full scale of its own.

    Full scale reaches to ``bounds`` at least. A ``fresh`` tensor may be overwritten, where no
    gradient is needed.
    """
    bits, rate, method = ready
    # Not aminmax, which takes ten times as long over a dimension.
    low, high = tensor.detach().amin(-1, keepdim=True), tensor.detach().amax(-1, keepdim=True)
    full = _full_scale(tensor.detach(), torch.maximum(high, -low), rate, bounds)
    if method == "linear" and bits > 1:
        step, top = grids.power_of_two_step(full, bits), 2 ** (bits - 1)
        # In place: at the size of many tiles fresh memory costs more than the arithmetic.
        graded = torch.is_grad_enabled() and tensor.requires_grad
        if graded or not fresh:
            return _half_up(tensor / step, -top, top - 1) * step
        return tensor.div_(step).add_(0.5).floor_().clamp_(-top, top - 1).mul_(step)
    if method == "minmax":
        low, high = torch.maximum(low, -full), torch.minimum(high, full)
        low = low if bounds[0] is None else torch.minimum(low, bounds[0].amin())
        high = high if bounds[1] is None else torch.maximum(high, bounds[1].amax())
        return _to_levels(tensor, 2**bits, low, high)
    limit = full
    if method == "log_minmax":
        sizes = tensor.detach().abs()
        # What rounding leaves of currents that cancel is no current.
        rounding = full * torch.finfo(sizes.dtype).eps
        limit = torch.stack((torch.where(sizes > rounding, sizes, full).amin(-1, True), full))
    # A copy: the converter may work in place.
    return ADC(bits=bits, method=method).convert(tensor.clone(), limit)


def _full_scale(x: Tensor, largest: Tensor, overflow_rate: float, bounds: Bounds) -> Tensor:
    """Largest magnitude that is not dropped, ``[…, 1]``; 1 where there is no signal."""
    # As int(x + 1/2): Python rounds halves to even.
    drop = min(int(overflow_rate * x.shape[-1] + 0.5), x.shape[-1] - 1)
    if drop:
        largest = x.abs().topk(drop + 1, dim=-1).values[..., -1:]
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
    return _half_up((tensor - bottom) / unit, 0, count - 1) * step + bottom


def _half_up(x: Tensor, low: float, high: float) -> Tensor:
    """Round to integers within bounds; gradients as those of `mho.periphery.quantize.to_grid`."""
    hard = (x.detach() + 0.5).floor_().clamp_(low, high)
    return grids.straight_through(hard, x.clamp(low - 0.5, high + 0.5))


def _check_method(quant_method: str | None) -> None:
    require(
        quant_method is None or quant_method in quant_methods,
        f"quant_method must be None or one of {quant_methods}, got {quant_method!r}",
    )


def _values(tensor: Any, to_be_written: bool) -> tuple[Tensor, Tensor]:
    """Return a tensor as it was given (an array's memory is shared), and in floating point."""
    given = torch.from_numpy(tensor) if isinstance(tensor, np.ndarray) else tensor
    if not isinstance(given, Tensor) or given.is_complex():
        kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise TypeError(f"tensor must be a tensor of real numbers, got {kind}")
    if given.is_floating_point():
        return given, given
    if to_be_written:
        raise TypeError(f"override_original: a tensor of {given.dtype} cannot hold the result")
    return given, given.to(torch.get_default_dtype())


def _bound(name: str, value: Any, like: Tensor) -> Tensor | None:
    """Return a bound as a tensor; None where it is NaN, or infinite: no bound."""
    if np.ndim(value) == 0:
        number = value.item() if hasattr(value, "item") else value
        unbounded = isinstance(number, float) and not np.isfinite(number)
        return None if unbounded else like.new_tensor(real(name, number))
    bound = torch.as_tensor(value).detach().to(like)
    require(not bool(bound.isnan().any()), f"{name} must not hold NaN")
    try:
        bound.expand(like.shape)
    except RuntimeError:
        given = f"got {list(bound.shape)}"
        require(False, f"{name} must fit a tensor of shape {list(like.shape)}, {given}")
    return bound
