"""Broken cells of a chip, from measured maps."""

from __future__ import annotations

from torch import Tensor

from mho.core import checks


def outside_window(conductance: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Take the cells of a measured map that lie outside a window for stuck.

    Args:
        conductance: measured ``[rows, cols]`` (S).
        low: lowest conductance (S) of a healthy cell, >= 0.
        high: highest conductance (S) of a healthy cell, > low.

    Returns:
        The mask and the conductances that `Chip` takes as ``stuck``.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    checks.instance("conductance", conductance, Tensor)
    if conductance.dim() != 2:
        raise ValueError(f"conductance must be [rows, cols], got {list(conductance.shape)}")
    checks.finite("conductance", conductance)
    low = checks.number("low", low, least=0.0)
    high = checks.number("high", high, above=low)
    return (conductance < low) | (conductance > high), conductance
