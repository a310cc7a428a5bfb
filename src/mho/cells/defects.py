"""Broken cells of a population: which, what they conduct, and breaking more of them.

These functions are the methods of `Cells` that bear their names.
"""

# ruff: noqa: D417 (methods of Cells: their first argument is it)

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.cells import kept
from mho.cells.life import Broken
from mho.core import checks

if TYPE_CHECKING:
    from mho.cells.population import Cells


def broken(cells: Cells) -> Broken | None:
    """The broken cells; None where none can break."""
    if cells.broken_at is None:
        return None
    own = cells._buffers.get("broken_g")
    return Broken(cells.broken_at, cells.g.reshape(-1)[cells.broken_at] if own is None else own)


def stuck(cells: Cells) -> Tensor | None:
    """Mask of the broken cells, of ``shape``; None where none can break."""
    return None if cells.broken_at is None else Broken(cells.broken_at, cells.like).mask(cells.like)


@torch.no_grad()
def break_too(cells: Cells, mask: Tensor, g: Tensor) -> None:
    """Break cells that were whole.

    Args:
        mask: which, of ``shape``; of those broken before nothing changes.
        g: what they conduct forever (S), of ``shape``, >= 0 where the mask is true.

    Raises:
        TypeError, ValueError: if one is of another kind, shape or value.
    """
    kept.refuse(cells)
    for name, tensor in (("stuck mask", mask), ("stuck conductances", g)):
        checks.shape(name, tensor, cells.shape)
    if mask.dtype != torch.bool:
        raise TypeError(f"stuck mask must be boolean, got {mask.dtype}")
    at = mask.flatten().nonzero().squeeze(1).to(cells.g.device)
    also = Broken(at, g.to(cells.g).reshape(-1)[at])
    checks.finite("stuck conductances", also.g)
    if len(at) and float(also.g.min()) < 0:
        raise ValueError(f"stuck conductances must be >= 0 S, got {float(also.g.min())!r}")
    known = cells.broken
    joined = also if known is None else known.joined(also, cells.g)
    cells.g = joined.keep(cells.g)
    cells.broken_at = joined.at


def with_broken(cells: Cells, current: Tensor, v: Tensor) -> Tensor:
    """Return currents (A) of cells with a state of their own, those of broken cells put right.

    What a broken cell conducts has no state: it is ``g · f(v)``, as in an array's reads; where
    the device's current does not separate, the cell is taken for a resistor.

    Args:
        current: of all cells by their states (A), ``[…, *shape]``.
        v: voltages (V) that broadcast to it.
    """
    mask = cells.stuck
    if mask is None:
        return current
    driven = cells.spec.transfer(v) if cells.spec.separable else v
    return torch.where(mask, cells.g * driven, current)
