"""Numbers of a spec as tensors, which an accelerator is given once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_kept: dict[tuple[Any, torch.dtype, torch.device], Tensor] = {}
_MOST = 1024


def constant(values: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as a tensor; not to be written to.

    A copy from the host makes it wait for the accelerator, so what was copied is kept.

    Args:
        values: a number, or a (nested) tuple of numbers.
        dtype: of the tensor.
        device: where it is wanted.
    """
    if device.type == "cpu" or torch.compiler.is_compiling():
        return torch.tensor(values, dtype=dtype, device=device)
    key = values, dtype, device
    found = _kept.get(key)
    if found is None:
        with torch.inference_mode(False):  # what is kept must also serve reads that need gradients
            found = torch.tensor(values, dtype=dtype, device=device)
        if type(found) is Tensor and len(_kept) < _MOST:  # not one that a tracer has made
            _kept[key] = found
    return found


def as_tensor(value: float | Tensor, like: Tensor) -> Tensor:
    """Return a number or a tensor as a tensor of the precision and the device of another."""
    if isinstance(value, Tensor):
        return value.to(dtype=like.dtype, device=like.device)
    return constant(value, like.dtype, like.device)
