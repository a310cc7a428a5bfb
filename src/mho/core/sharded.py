"""Tensors of which every process holds a part (``DTensor``, as FSDP2 makes of parameters)."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is one over several processes."""
    return hasattr(tensor, "full_tensor")  # torch.distributed.tensor is dear to import


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor; if it is sharded every process must ask for it."""
    sharded: Any = tensor
    found: Tensor = sharded.full_tensor() if is_sharded(tensor) else tensor
    return found


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a tensor, the same in every process, sharded as another is (if it is)."""
    if not is_sharded(other):
        return tensor
    from torch.distributed.tensor import distribute_tensor  # dear, and known to who got here

    spread: Any = other
    return distribute_tensor(tensor, spread.device_mesh, spread.placements)
