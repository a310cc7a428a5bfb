"""Precision: what is computed in float32 although models are in half precision or under autocast.

Microsiemens, converters' levels and the sums of many of them need more than the 8 or 11 bits of
bfloat16 and float16. Inputs and outputs keep the dtype of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def wide(kind: torch.dtype) -> torch.dtype:
    """Return the dtype in which something of this dtype is computed: float32 at least."""
    return torch.promote_types(kind, torch.float32)


REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What conductances may be given in. Of fewer bits, whole and complex numbers they are none."""


def of_cells(kind: torch.dtype | None) -> torch.dtype:
    """Return the dtype in which cells of a given one (torch's default if None) are computed.

    Raises:
        TypeError: if it is not one of `REAL`.
    """
    kind = torch.get_default_dtype() if kind is None else kind
    if kind not in REAL:
        raise TypeError(f"dtype must be one of {', '.join(map(str, REAL))}, got {kind!r}")
    return wide(kind)


def widened(x: Tensor) -> Tensor:
    """Return a floating tensor in float32 at least; others as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def keeping(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Let what `torch.nn.Module` applies to its tensors move and widen them, but never narrow them.

    Args:
        fn: as ``torch.nn.Module._apply`` takes it: ``.half()`` and ``.to(torch.bfloat16)`` then
            change nothing; complex numbers and those of less than 16 bits are refused.
    """

    def kept(tensor: Tensor) -> Tensor:
        found = fn(tensor)
        if tensor.is_floating_point() and found.dtype not in REAL:
            names = ", ".join(map(str, REAL))
            raise TypeError(f"cells hold numbers of {names}: they cannot go to {found.dtype}")
        narrowed = tensor.is_floating_point() and wide(found.dtype) != found.dtype
        if not narrowed or found.dtype == tensor.dtype:
            return found
        return tensor if found.device == tensor.device else tensor.to(found.device)

    return kept


def plain(x: Tensor, kind: torch.dtype) -> bool:
    """Whether inputs are of this dtype and no ``torch.autocast`` is at work: nothing to convert."""
    if x.dtype is not kind:
        return False
    where = x.device.type
    return where == "meta" or not torch.is_autocast_enabled(where)


def _autocast(kind: str) -> bool:
    return kind != "meta" and torch.is_autocast_enabled(kind)


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """Compute in the operands' own precision, whatever ``torch.autocast`` says."""
    kind = device.type
    return torch.autocast(kind, enabled=False) if _autocast(kind) else nullcontext()


def handed_out(x: Tensor) -> torch.dtype:
    """Return the dtype that torch's own layer would give its outputs for these inputs.

    For integers it is torch's default.
    """
    kind = x.device.type
    if _autocast(kind) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()
