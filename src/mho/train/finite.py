"""Gradients that are not finite: found, told of, and put aside for the time of a step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from mho.core import notice


def is_finite(tensor: Tensor) -> bool:
    """Whether all entries are finite; one cheap pass where they are."""
    dense = _entries(tensor)
    # A finite sum needs finite terms; the sum of finite terms may overflow.
    return bool(torch.isfinite(dense.sum())) or bool(torch.isfinite(dense).all())


def bad_entries(tensor: Tensor) -> int:
    """How many entries are NaN or infinite."""
    return int((~torch.isfinite(_entries(tensor))).sum())


def bad_gradients(parameters: Iterable[Tensor]) -> dict[Tensor, Tensor]:
    """Return the gradients that have NaN or infinite entries, by parameter."""
    return {p: p.grad for p in parameters if p.grad is not None and not is_finite(p.grad)}


def warn(what: str, bad: Mapping[str, Tensor]) -> None:
    """Say which parameters are passed by.

    Args:
        what: is not finite.
        bad: the tensors that are not, by what their parameters are called.
    """
    parts = [f"{name} ({bad_entries(tensor)} entries)" for name, tensor in bad.items()]
    notice.warn(f"{what} not finite, so nothing was written there: {', '.join(parts)}")


@contextmanager
def without(parameters: Collection[Tensor]) -> Iterator[None]:
    """Take gradients away for the time of a block: torch's optimizers pass such parameters by."""
    kept = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, grad in zip(parameters, kept, strict=True):
            parameter.grad = grad


def _entries(tensor: Tensor) -> Tensor:
    return tensor.coalesce().values() if tensor.is_sparse else tensor
