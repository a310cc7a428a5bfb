"""What calibration looks for: converter ranges and lines through samples, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Convert = Callable[[Tensor, Tensor], Tensor]
"""From values and a full scale, broadcast to them, to converted values."""

_CANDIDATES = 64
_ROUNDS = 3  # of candidates, each between the neighbours of the best of the round before
_SMALLEST = 2.0**-10  # of the first candidates, relative to the largest magnitude
_TAIL = 1024  # samples kept one by one at either end: what is clipped counts by its square
_BULK = 4096  # samples kept of all the others
_BLOCK = 2**15  # values converted at once: what is worked on stays in the cache


class Samples(NamedTuple):
    """Values that converters are given.

    Attributes:
        value: ``[converters, count]``.
        weight: how much each sample's squared error counts, ``[count]`` or as ``value``.
    """

    value: Tensor
    weight: Tensor


def percentile(samples: Samples, share: float) -> Tensor:
    """Return a percentile of the magnitudes.

    Args:
        samples: of every converter.
        share: in (0, 100]; 100 is the largest magnitude.

    Returns:
        ``[converters]``; 1 where it is 0.
    """
    size = samples.value.abs()
    rank = round(share / 100.0 * size.shape[1])
    last = rank >= size.shape[1]
    found = size.amax(1) if last else size.kthvalue(max(rank, 1), dim=1).values
    return torch.where(found > 0, found, 1.0)


def least_error(samples: Samples, convert: Convert, *, in_place: bool = True) -> Tensor:
    """Return the range with the smallest squared error of the converted values.

    Ranges are tried one beside the other, in rounds that narrow down. The first go from the
    largest magnitude, which clips nothing, down in equal ratios.

    Args:
        samples: of every converter.
        convert: the converter.
        in_place: whether it may overwrite the values it is given.

    Returns:
        ``[converters]``; 1 where all samples are 0.
    """
    largest = percentile(samples, 100.0).double()
    few = condensed(samples)
    best, high, low = largest, largest, largest * _SMALLEST
    share = torch.linspace(0.0, 1.0, _CANDIDATES, dtype=torch.float64, device=low.device)
    for _ in range(_ROUNDS):
        tried = high.unsqueeze(1) * (low / high).unsqueeze(1) ** share
        tried[:, -1] = best  # so that a round never makes it worse
        errors = _errors(few, tried, convert, in_place)
        chosen = errors.argmin(1, keepdim=True)  # the widest of equal ones
        best = tried.gather(1, chosen).squeeze(1)
        step = (low / high) ** (1.0 / (_CANDIDATES - 1))
        low, high = best * step, torch.minimum(best / step, largest)
    return best.to(samples.value)


def condensed(samples: Samples) -> Samples:
    """Return fewer samples that stand for all: the extremes as they are, the others in strides."""
    value, weight = _sorted(samples)
    count = value.shape[1]
    stride = math.ceil(max(count - 2 * _TAIL, 0) / _BULK)
    if stride <= 1:
        return Samples(value, weight)
    stop = _TAIL + (count - 2 * _TAIL) // stride * stride
    inner = weight[:, _TAIL:stop].unflatten(1, (-1, stride)).sum(2)
    middle = value[:, _TAIL:stop].unflatten(1, (-1, stride))[..., stride // 2]
    return Samples(
        torch.cat((value[:, :_TAIL], middle, value[:, stop:]), dim=1),
        torch.cat((weight[:, :_TAIL], inner, weight[:, stop:]), dim=1),
    )


def _sorted(samples: Samples) -> Samples:
    """Sort the samples of every converter by value."""
    value, weight = samples.value, samples.weight.to(samples.value.dtype)
    one = weight.flatten()[:1]
    if bool((weight == one).all()):
        return Samples(_vectorised(value), one.expand_as(value))
    order = value.argsort(dim=1)
    return Samples(value.gather(1, order), weight.expand_as(value).gather(1, order))


def _vectorised(value: Tensor) -> Tensor:
    """Sort rows; NumPy's vector instructions are a hundred times as fast as torch on a CPU."""
    if value.device.type != "cpu":
        return value.sort(dim=1).values
    if value.dtype == torch.bfloat16:  # of reads under autocast; NumPy has none
        return _vectorised(value.float()).to(value.dtype)
    return torch.from_numpy(np.sort(value.detach().numpy(), axis=1))


def _errors(samples: Samples, tried: Tensor, convert: Convert, in_place: bool) -> Tensor:
    """Return the squared errors ``[converters, candidates]`` of ranges tried, shaped alike."""
    # In double precision: fine converters' errors are near the rounding of single precision.
    value = samples.value.double().unsqueeze(1)
    one = samples.weight.flatten()[:1]
    even = bool((one == 1).all()) and bool((samples.weight == one).all())
    weight = None if even else samples.weight.double().expand_as(samples.value).unsqueeze(1)
    parts = min(max(1, math.ceil(value.numel() * tried.shape[1] / _BLOCK)), tried.shape[1])
    found = []
    for some in tried.tensor_split(parts, dim=1):
        wide = value.expand(-1, some.shape[1], -1)
        converted = convert(wide.clone() if in_place else wide, some.unsqueeze(2))
        error = converted.sub_(wide).square_()
        found.append((error if weight is None else error.mul_(weight)).sum(2))
    return torch.cat(found, dim=1)


class Line(NamedTuple):
    """``target ≈ gain · output + offset``, column by column: ``[columns]`` each."""

    gain: Tensor
    offset: Tensor


class Moments:
    """Sums over samples, batch by batch, of outputs read twice and what they should be.

    The two readings of one input differ by their noise alone, so that it drops out of the mean
    of their product: ``E[y₁ y₂] = E[y]²`` where ``E[y₁²] = E[y]² + σ²``.

    Args:
        columns: how many outputs.
        device: where the sums are kept.
    """

    def __init__(self, columns: int, device: torch.device) -> None:
        # count, Σy, Σt, Σy₁y₂, Σyt, with y the mean of both
        self.sums = torch.zeros(5, columns, dtype=torch.float64, device=device)

    def add(self, first: Tensor, second: Tensor, target: Tensor) -> None:
        """Take in two readings and the targets, ``[samples, columns]`` each."""
        one, t = first.double(), target.double()
        two = one if second is first else second.double()
        y = one if two is one else (one + two) / 2
        count = torch.full_like(self.sums[0], len(t))
        self.sums += torch.stack((count, y.sum(0), t.sum(0), (one * two).sum(0), (y * t).sum(0)))


def lines(sums: Tensor) -> tuple[Line, Tensor]:
    """Return the lines of least squares for outputs without noise, and how large outputs are.

    A column that hardly moves (all stuck, or no input) tells nothing about its gain, which is
    then 1.

    Args:
        sums: of `Moments`, ``[..., 5, columns]``, with samples.

    Returns:
        Gains and offsets ``[..., columns]``; the root of the mean square of the largest output
        ``[...]``.
    """
    count, y, t, yy, yt = sums.unbind(-2)
    mean_y, mean_t = y / count, t / count
    power = (yy / count).clamp(min=0.0)
    variance = yy / count - mean_y**2
    covariance = yt / count - mean_y * mean_t
    tells = (variance > 1e-12 * power) & (covariance > 0)
    gain = torch.where(tells, covariance / variance.clamp(min=1e-300), 1.0)
    return Line(gain, mean_t - gain * mean_y), power.sqrt().amax(-1)
