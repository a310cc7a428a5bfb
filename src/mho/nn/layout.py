"""How convolutions lay their outputs in memory, and print themselves: as torch's layers do."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def as_torch(y: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
    """Return outputs ``y`` laid out as torch's own layer lays them, copied if they are not.

    That is without gaps, as what users ``view`` must be; channels last where the input ``x`` or
    the ``weight`` has its channels last.

    Args:
        y: outputs ``[batch, channels, *size]``.
        x: inputs, with as many dimensions.
        weight: kernels, with as many dimensions; None where nothing is known of them.
    """
    last = _channels_last(x) or (weight is not None and _channels_last(weight))
    turned = (y.movedim(1, -1) if last else y).contiguous()
    if y.shape[1] == 1:  # it has many layouts, and torch's next layer goes by the strides
        turned = turned.flatten().view(turned.shape)
    return turned.movedim(-1, 1) if last else turned


def _channels_last(x: Tensor) -> bool:
    """Whether torch takes a tensor's strides for channels last.

    The number of its items is not looked at: a graph may be for any.
    """
    if x.dim() not in (4, 5):
        return False
    least = 0
    for d in (1, *range(x.dim() - 1, 1, -1)):
        stride = x.stride(d)
        if stride < max(least, 1):
            return False
        least = stride * max(x.shape[d], 1)
    # One pixel of one channel says nothing.
    return x.stride(0) >= least and not (least == x.stride(1) and x.stride(0) == least)


def described(layer: Any, *options: str) -> str:
    """Return how a convolution prints itself: its channels, and options by name."""
    chosen = (f"{name}={getattr(layer, name)}" for name in options)
    return ", ".join((f"{layer.in_channels}, {layer.out_channels}", *chosen))
