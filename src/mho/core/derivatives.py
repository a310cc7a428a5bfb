"""Whether anybody asks for the derivative of an operation, in reverse or forward mode."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def forward_mode() -> bool:
    """Whether derivatives may be carried forward: within `torch.func.jvp`, or a ``dual_level``."""
    return forward_ad._current_level >= 0


def wanted(*tensors: Tensor) -> bool:
    """Whether a derivative with respect to any of these may be asked for."""
    # In forward mode tensors do not say so by requires_grad, and no_grad does not end it.
    if forward_mode():
        return True
    if torch.is_grad_enabled():
        for tensor in tensors:  # every read asks: a generator would cost more than all it does
            if tensor.requires_grad:
                return True
    return False


def clip(x: Tensor, low: Tensor | float | None, high: Tensor | float | None) -> Tensor:
    """Return ``x`` put inside ``[low, high]``; the gradient is one there, at both ends too.

    Much stands at an end exactly, such as the largest weight. `torch.clamp` has a gradient of one
    there up to torch 2.13, of zero or a half since.

    Args:
        x: any shape.
        low: broadcasts to ``x``; None for no lower end, and one of the two may be.
        high: as ``low``.
    """
    if not wanted(x):
        return torch.clamp(x, low, high)  # type: ignore[arg-type]
    seen = x.detach()
    found = torch.clamp(seen, low, high)  # type: ignore[arg-type]
    return torch.where(found == seen, x, found)
