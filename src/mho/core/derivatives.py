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
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
