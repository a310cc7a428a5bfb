"""What solvers accept: conductances and line resistances, checked and brought to one form."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from mho.core.checks import instance, plain

Ohms: TypeAlias = "Tensor | float"


def solving_device(like: Tensor) -> torch.device:
    """Return where to solve: where ``like`` is, unless that device has no float64."""
    return torch.device("cpu") if like.device.type == "mps" else like.device


def conductances(G: Tensor) -> Tensor:
    """Check conductances and return them as ``[N, m, n]`` in float64.

    Raises:
        TypeError: if ``G`` is no floating-point tensor.
        ValueError: if it is no (batch of) matrices, is empty, has negative, NaN or infinite
            entries, or has no conductance at all.
    """
    instance("G", G, Tensor)
    if not G.dtype.is_floating_point:
        raise TypeError(f"G must be a floating-point tensor, got {G.dtype}")
    if G.ndim < 2 or 0 in G.shape:
        raise ValueError(f"G must have shape [..., m, n] with no empty side, got {list(G.shape)}")
    least, most = (float(value) for value in G.detach().aminmax())
    if not (least >= 0 and most < float("inf")):
        bad = int((~((G >= 0) & torch.isfinite(G))).sum())
        raise ValueError(
            f"G must be finite and >= 0 siemens, but {bad} of {G.numel()} entries are not "
            f"(least {least:g}, greatest {most:g})"
        )
    if most == 0:
        raise ValueError(f"G must conduct somewhere, but all {G.numel()} conductances are 0")
    return G.to(device=solving_device(G), dtype=torch.float64).reshape(-1, *G.shape[-2:])


def as_lines(
    name: str, ohms: Ohms | None, lead: torch.Size | tuple[int, ...], size: int, like: Tensor
) -> Tensor:
    """Check the resistances of the lines of one kind and return them as ``[N, lines]``.

    Args:
        name: of the parameter.
        ohms: one number, or one per line ``[..., size]`` [ohm].
        lead: leading dimensions of the arrays.
        size: number of lines.
        like: says dtype and device.

    Raises:
        TypeError: if it is neither a number nor a tensor.
        ValueError: for another shape, and negative, NaN or infinite resistances.
    """
    ohms = plain(ohms)
    if isinstance(ohms, bool) or not isinstance(ohms, (int, float, Tensor)):
        raise TypeError(f"{name} must be a number or a tensor, got {ohms!r}")
    values = torch.as_tensor(ohms, dtype=like.dtype, device=like.device)
    if not bool(((values >= 0) & torch.isfinite(values)).all()):
        raise ValueError(f"{name} must be finite and >= 0 ohm, got {ohms!r}")
    full = (*lead, size)
    try:
        return values.broadcast_to(full).reshape(-1, size)
    except RuntimeError:
        raise ValueError(
            f"{name} must be one number or one per line, {list(full)}, got {list(values.shape)}"
        ) from None
