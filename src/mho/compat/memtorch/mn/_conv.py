"""What the convolutions share: kernels as columns, patches as inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.compat.memtorch._require import require
from mho.compat.memtorch.mn import _read
from mho.compat.memtorch.mn._layer import Memristive
from mho.nn.convolve import Geometry

_MOST_UNFOLDED = 1 << 24


def settings(digital: Any, kind: type[nn.Module], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that make a torch layer like a given one, without memory.

    Raises:
        Refused: if it is of another kind.
    """
    require(
        isinstance(digital, kind),
        f"convolutional_layer must be a torch.nn.{kind.__name__}, got {type(digital).__name__}",
    )
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")
    same = {name: getattr(digital, name) for name in (*names, "groups", "padding_mode")}
    return {**same, "bias": digital.bias is not None, **kwargs, "device": "meta"}


def forward(layer: Memristive, x: Tensor) -> Tensor:
    """Return the outputs of a convolution, ``[batch, channels, *size]`` (batch optional)."""
    conv: Any = layer
    if layer.forward_legacy_enabled:
        require(conv.weight is not None, f"{layer} has given up its weight")
        digital: Tensor = conv._conv_forward(x, conv.weight, conv.bias)
        return digital
    dims = len(conv.kernel_size)
    if x.dim() == dims + 1:
        return forward(layer, x.unsqueeze(0)).squeeze(0)
    require(
        x.dim() == dims + 2 and x.shape[1] == conv.in_channels,
        f"input must have shape [batch, {conv.in_channels}, {', '.join(['size'] * dims)}], "
        f"got {list(x.shape)}",
    )
    volts, unscale = layer._volts(x)
    currents = _read.linear(layer, volts, lambda v, matrix: _convolve(conv, v, matrix))
    if currents is None:
        currents = _by_patch(conv, volts)
    bias = None if conv.bias is None else conv.bias.view(-1, *[1] * dims)
    return layer._finished(currents, unscale, bias)


def _convolve(conv: Any, v: Tensor, matrix: Tensor) -> Tensor:
    # From [arrays, rows, columns]: rows are channels and kernel, or each channel is an array.
    kernel = matrix.permute(2, 0, 1).reshape(conv.out_channels, -1, *conv.kernel_size)
    result: Tensor = conv._conv_forward(v, kernel, None)
    return result


def _by_patch(conv: Any, v: Tensor) -> Tensor:
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    image = F.pad(v, conv._reversed_padding_repeated_twice, mode=mode)
    geometry = Geometry(conv.kernel_size, conv.stride, conv.dilation, conv.groups)
    # Unfolded images are many times as large: no more of them at once than memory bears.
    each = math.prod((image.shape[1], *geometry.out(tuple(image.shape[2:])), *conv.kernel_size))
    parts = image.split(max(1, _MOST_UNFOLDED // max(each, 1)))
    return torch.cat([_unfolded(conv, part, geometry) for part in parts])


def _unfolded(conv: Any, image: Tensor, geometry: Geometry) -> Tensor:
    patches = geometry.patches(image)  # [batch, *out, groups, rows]
    places, groups = patches.shape[:-2], conv.groups
    rows = conv.crossbars[0].rows
    count = math.prod(places)
    flat = patches.reshape(count * groups, patches.shape[-1] // rows, rows)
    currents = _read.vectors(conv, flat).reshape(count, groups, conv.out_channels)
    if groups > 1:  # a column answers to the inputs of its own group alone
        blocks = currents.unflatten(-1, (groups, -1))
        currents = blocks.diagonal(dim1=1, dim2=2).transpose(1, 2)
    return currents.reshape(*places, conv.out_channels).movedim(-1, 1)


def text(layer: Any) -> str:
    """Say in short what a convolution is."""
    kind = type(layer).__name__
    values = [f"in_channels={layer.in_channels}", f"out_channels={layer.out_channels}"]
    values += [f"{name}={getattr(layer, name)}" for name in ("kernel_size", "stride", "padding")]
    if set(layer.dilation) != {1}:
        values.append(f"dilation={layer.dilation}")
    if layer.groups != 1:
        values.append(f"groups={layer.groups}")
    return f"bh.{kind}({', '.join(values)})"
