"""What tells a model or a tensor from others, in a few characters."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def digest(value: nn.Module | Tensor) -> str:
    """Return what tells a model's class and numbers, or a tensor, from others."""
    found = hashlib.sha256()
    if isinstance(value, nn.Module):
        found.update(repr(value).encode())
        for name, item in sorted(value.state_dict().items()):
            found.update(name.encode())
            found.update(_bytes(item) if isinstance(item, Tensor) else repr(item).encode())
    else:
        found.update(_bytes(value))
    return found.hexdigest()[:16]


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    head = f"{tensor.dtype} {list(tensor.shape)}".encode()
    return head + flat.view(torch.uint8).numpy().tobytes()
