"""Samples of a convolution: patches of the input, one row each."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor


def convolution_samples(layer: Any, x: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Lay out a convolution's input and output derivatives as samples of a matrix product.

    Args:
        layer: the convolution (kernel_size, stride, padding, dilation, groups, padding_mode).
        x: input ``[batch, in_channels, *size]``, batch optional.
        delta: derivatives by the output ``[batch, out_channels, *size]``.

    Returns:
        ``input [samples, in_channels/groups · Π kernel_size]`` and ``delta [samples,
        out_channels]``: one sample per image and position, with several groups one for each, with
        a delta that is zero outside of the group.
    """
    dims, groups = len(layer.kernel_size), int(layer.groups)
    if x.dim() == dims + 1:
        x, delta = x.unsqueeze(0), delta.unsqueeze(0)
    rows = patches(layer, x).unflatten(1, (groups, -1))  # [batch, groups, in, *kernel, *out]
    out = range(3 + dims, 3 + 2 * dims)
    rows = rows.permute(1, 0, *out, *range(2, 3 + dims))  # [groups, batch, *out, in, *kernel]
    rows = rows.reshape(-1, rows.shape[2 + dims :].numel())  # moved in memory once
    delta = delta.flatten(2).transpose(1, 2).flatten(0, 1)  # [batch · positions, out]
    if groups == 1:
        return rows, delta
    own = delta.unflatten(1, (groups, -1))
    spread = delta.new_zeros(groups, len(delta), groups, own.shape[2])
    spread.diagonal(dim1=0, dim2=2).copy_(own.permute(0, 2, 1))
    return rows, spread.flatten(2).flatten(0, 1)


def patches(layer: Any, x: Tensor) -> Tensor:
    """Return what lies under the kernel at every position, ``[batch, in, *kernel, *out]``."""
    dims = len(layer.kernel_size)
    x = _padded(layer, x)
    for d in range(dims):
        reach = layer.dilation[d] * (layer.kernel_size[d] - 1) + 1
        x = x.unfold(2 + d, reach, layer.stride[d])[..., :: layer.dilation[d]]
    order = (0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims))
    return x.permute(order)


def _padded(layer: Any, x: Tensor) -> Tensor:
    sides: list[int] = []
    for d in reversed(range(len(layer.kernel_size))):  # F.pad starts with the last dimension
        if layer.padding == "same":
            total = layer.dilation[d] * (layer.kernel_size[d] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [0, 0] if layer.padding == "valid" else [layer.padding[d]] * 2
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, sides, mode) if any(sides) else x
