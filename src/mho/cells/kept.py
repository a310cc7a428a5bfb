"""Conductances kept in half precision: by their place in the window, decoded for every use.

    code = (g - g_min) / (g_max - g_min)    in float16; the error is at most 2^-12 of the window

Aging rounds to one neighbour or the other, by chance and right on average (the error of one call is
then at most 2^-11 of the window): changes smaller than a step add up to what they are.

Cells outside of the window keep their place (a code may be negative, or above 1, its error is then
2^-11 of itself); what broken cells conduct is kept as it is. Cells kept so are at rest: whatever
changes them works on a `live` fork, in float32, and `packed` ends it.

These functions are the methods of `Cells` that bear their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mho.core import extra, random

if TYPE_CHECKING:
    from mho.cells.population import Cells

C = TypeVar("C", bound="Cells")

CODED = ("g", "written")
KINDS = (None, torch.float16)
_LARGEST = torch.finfo(torch.float16).max


def check(kind: torch.dtype | None) -> torch.dtype | None:
    """Refuse dtypes in which conductances cannot be kept (ValueError)."""
    if kind not in KINDS:
        raise ValueError(
            f"cells_dtype must be None (as they are computed with) or torch.float16, got {kind!r}"
        )
    return kind


def encoded(
    g: Tensor, window: tuple[float, float], kind: torch.dtype, rng: Tensor | None = None
) -> Tensor:
    """Return the codes of conductances (S): the nearest; with a stream, right on average."""
    low, high = window
    code = g.sub(low).div_(high - low)
    if rng is not None:
        step = torch.exp2((torch.frexp(code).exponent - 11).clamp_(min=-24).to(code.dtype))
        share = torch.rand(
            code.shape,
            dtype=code.dtype,
            device=code.device,
            generator=random.take(rng, code.device),
        )
        code.add_(share.sub_(0.5).mul_(step))
    return code.clamp_(-_LARGEST, _LARGEST).to(kind)


def decoded(code: Tensor, window: tuple[float, float], kind: torch.dtype) -> Tensor:
    """Return the conductances (S) that codes stand for; none is negative."""
    low, high = window
    return code.to(kind).mul_(high - low).add_(low).clamp_(min=0.0)


def packed(cells: C, kind: torch.dtype | None, *, by_chance: bool = False) -> C:
    """Return the same cells at rest, their conductances kept in another dtype; None: as they are.

    Cells that are kept so already are returned themselves.

    Args:
        cells: a `live` population.
        kind: the dtype.
        by_chance: whether conductances are rounded by the cells' own stream, right on average.
    """
    if kind is None or cells.kept_as is not None:
        return cells
    twin = cells.fork()
    window, broken = cells.spec.window, cells.broken
    for name in CODED:
        held: Any = cells._buffers[name]
        rng = twin.rng if by_chance and name == "g" else None
        twin._buffers[name] = None if held is None else encoded(held, window, kind, rng)
    twin.register_buffer("broken_g", None if broken is None else broken.g.clone())
    twin.kept_as, twin.kind = kind, cells.g.dtype
    return twin


def live(cells: C) -> C:
    """Return a fork of the cells that can be changed, its conductances as they are computed with.

    That of cells which are not kept otherwise is a plain `Cells.fork`.
    """
    twin = cells.fork()
    if cells.kept_as is None:
        return twin
    held = {name: conductances(cells, name) for name in CODED}
    twin.kept_as = None
    twin._buffers.pop("broken_g", None)
    twin._buffers.update(held)
    return twin


def g(cells: Cells) -> Any:
    """Conductances now (S), of ``shape``."""
    return cells._buffers["g"] if cells.kept_as is None else conductances(cells, "g")


def written(cells: Cells) -> Any:
    """Conductances when last written (S), where aged cells must know them; else None.

    See `mho.cells.life.remembers`.
    """
    return cells._buffers["written"] if cells.kept_as is None else conductances(cells, "written")


def conductances(cells: Cells, name: str) -> Tensor | None:
    """Return one of the buffers of conductances (S) of cells that are kept in another dtype."""
    code = cells._buffers[name]
    if code is None:
        return None
    g = decoded(code, cells.spec.window, cells.kind)
    broken = cells.broken
    return g if broken is None or name != "g" else broken.keep(g)


def refuse(cells: Cells) -> None:
    """Refuse what changes, in place, cells that are kept in half precision (ValueError)."""
    if cells.kept_as is not None:
        raise ValueError(
            f"these cells are kept in {cells.kept_as} and cannot be changed in place (steps of "
            "training would be lost in rounding): convert with cells_dtype=None"
        )


def suit(cells: Cells, state: dict[str, Any], prefix: str) -> None:
    """Bring a checkpoint's conductances into the form in which these cells are kept.

    Args:
        cells: what is to be loaded.
        state: the checkpoint; changed.
        prefix: of the keys of these cells.
    """
    saved = extra.of(state, prefix).get("kept_as")
    theirs = None if saved is None else check(getattr(torch, str(saved)))
    if theirs == cells.kept_as:
        return
    window, at = cells.spec.window, state.get(f"{prefix}broken_at")
    broken = state.pop(f"{prefix}broken_g", None)
    for key in (f"{prefix}{name}" for name in CODED):
        held = state.get(key)
        if held is None:
            continue
        if theirs is not None:
            g = decoded(held, window, cells.g.dtype)
            if broken is not None and key.endswith(".g"):
                g.view(-1)[at] = broken.to(g)
            state[key] = g
        elif cells.kept_as is not None:
            if at is not None and key.endswith(".g"):
                state[f"{prefix}broken_g"] = held.reshape(-1)[at]
            state[key] = encoded(held, window, cells.kept_as)
