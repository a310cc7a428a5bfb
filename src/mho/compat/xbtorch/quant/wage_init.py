"""Initial weights for WAGE quantisation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["scale_limit", "truncated_normal_", "wage_init_"]

_MARGIN = 1.5  # of the initial weights over the smallest number


def truncated_normal_(tensor: Tensor, mean: float = 0, std: float = 1) -> None:
    """Fill a tensor with normal numbers that lie within two standard deviations of the mean."""
    mean, std = float(mean), float(std)
    torch.nn.init.trunc_normal_(tensor, mean, std, mean - 2 * std, mean + 2 * std)


def _scaled(limit: float, bits_W: int) -> tuple[float, float]:
    """Return a layer's scale, and its largest initial weight."""
    least = _MARGIN / 2.0 ** (float(bits_W) - 1)
    return max(2.0 ** round(math.log2(least / limit)), 1.0), max(least, float(limit))


def scale_limit(param: Any, limit: float, bits_W: int) -> float:
    """Set ``param.weight_scale``, and return the largest initial weight.

    With ``L_m = 1.5 / 2^(bits - 1)`` the scale is ``max(2^round(log2(L_m / limit)), 1)`` and the
    largest weight ``max(L_m, limit)``, where ``limit`` is the largest that keeps variances.
    """
    param.weight_scale, largest = _scaled(limit, bits_W)
    return largest


def scale_of(tensor: Tensor, bits_W: int) -> float:
    """Return the scale of a layer whose weights are ``tensor``; 1 for vectors and exact weights."""
    return 1.0 if tensor.dim() < 2 or bits_W == -1 else _scaled(limit_of(tensor, 1.0), bits_W)[0]


def limit_of(tensor: Tensor, factor: float = 2.0, mode: str = "fan_in") -> float:
    """Return ``√(3 · factor / fan_in)``; see `wage_init_`."""
    if mode != "fan_in":
        raise NotImplementedError(f"mode must be 'fan_in', got {mode!r}")
    if tensor.dim() < 2:
        raise ValueError(f"tensor must have 2 dimensions or more, got {list(tensor.shape)}")
    return math.sqrt(3.0 * float(factor) / tensor[0].numel())


def wage_init_(tensor: Any, bits_W: int, factor: float = 2.0, mode: str = "fan_in") -> None:
    """Draw weights uniformly for WAGE quantisation, and set ``tensor.weight_scale``.

    Args:
        tensor: to be filled, ``[outputs, inputs, …]``.
        bits_W: of a weight.
        factor: of the variance.
        mode: ``"fan_in"``.

    Raises:
        NotImplementedError: for another mode.
        ValueError: for vectors.
    """
    limit = scale_limit(tensor, limit_of(tensor, factor, mode), bits_W)
    tensor.data.uniform_(-limit, limit)
