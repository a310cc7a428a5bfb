"""What gradients need of a training read's matrix, saved in the dtype of the model.

A model in half precision is read in float32 behind converters. Its matrix, with the noise of one
read in it, is needed again for the gradient of the inputs: 4 bytes a weight until then. Rounded to
the model's dtype it is 2, and the gradient, which is handed on in that dtype, is off by no more
than its own rounding (measured in ``docs/scale.md``). What is read, and the gradient of the
weights, are what they were.
"""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from mho.crossbar import blocks

_top_hooks: Any = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
_hooks_allowed: Any = getattr(torch._C._autograd, "_saved_tensors_hooks_is_enabled", None)


class _Part(NamedTuple):
    """A part of a matrix, as a view of all that its storage holds."""

    whole: Tensor
    size: torch.Size
    stride: tuple[int, ...]
    offset: int
    kind: torch.dtype


_known: Any = WeakTensorKeyDictionary()
"""By matrix, while somebody reads it: what is saved in its place; one for all steps of a read."""


def saved_as(kind: torch.dtype, matrix: Tensor) -> AbstractContextManager[object]:
    """Save a matrix for gradients in another dtype, within the block.

    Where somebody else decides what is saved (gradient checkpointing, a compiler, transforms), or
    no hooks may be set, the block changes nothing.

    Args:
        kind: the dtype.
        matrix: as it is multiplied with; parts of it, being views, are known as such.
    """
    if not torch.is_grad_enabled() or not matrix.requires_grad or kind.itemsize >= 4:
        return nullcontext()
    if blocks.followed_by_torch() or _decided_elsewhere():
        return nullcontext()
    storage = matrix.untyped_storage()
    if storage.nbytes() != matrix.numel() * matrix.element_size():
        return nullcontext()
    where, alive = storage.data_ptr(), weakref.ref(matrix)  # hooks live as long as gradients do

    def pack(tensor: Tensor) -> Any:
        matrix = alive()
        if matrix is None or tensor.dtype != matrix.dtype:
            return tensor
        if tensor.untyped_storage().data_ptr() != where:
            return tensor
        if matrix not in _known:
            _known[matrix] = matrix.detach().as_strided((matrix.numel(),), (1,), 0).to(kind)
        offset = int(tensor.storage_offset())
        return _Part(_known[matrix], tensor.size(), tensor.stride(), offset, tensor.dtype)

    return torch.autograd.graph.saved_tensors_hooks(pack, _unpacked)


def _decided_elsewhere() -> bool:
    """Whether hooks are set already, or refused; so too where torch is too old to tell."""
    if _top_hooks is None or _hooks_allowed is None:
        return True
    return not _hooks_allowed() or _top_hooks(True) is not None


def _unpacked(saved: Any) -> Any:
    if not isinstance(saved, _Part):
        return saved
    part = saved.whole.as_strided(saved.size, saved.stride, saved.offset)
    return part.to(saved.kind)
