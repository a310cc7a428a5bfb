"""What tells a model or a tensor from others, in a few characters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def digest(value: Any) -> str:
    """Return what tells a model's class and numbers, tensors, or lists of them from others."""
    found = hashlib.sha256()
    if isinstance(value, nn.Module):
        found.update(repr(value).encode())
        value = dict(sorted(value.state_dict().items()))
    _update(found, value)
    return found.hexdigest()[:16]


def _update(found: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        dense = value.detach().cpu().resolve_conj().resolve_neg().to_dense()
        flat = dense.contiguous().reshape(-1)
        found.update(f"{value.dtype} {list(value.shape)}".encode())
        found.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            found.update(str(name).encode())
            _update(found, item)
    elif isinstance(value, (list, tuple)):
        found.update(f"{len(value)} items".encode())
        for item in value:
            _update(found, item)
    else:
        found.update(repr(value).encode())
