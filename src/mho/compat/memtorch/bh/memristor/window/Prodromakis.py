"""Prodromakis' window."""
# ruff: noqa: N802, N999

from __future__ import annotations

from mho.devices import windows


def Prodromakis(x: float, p: float = 1, j: float = 1.0) -> float:
    """Return Prodromakis' window ``j (1 - [(x - ½)² + ¾]^p)``; see `mho.devices.Prodromakis`.

    Args:
        x: state, 0…1.
        p: exponent.
        j: height.
    """
    return float(windows.Prodromakis(float(p), float(j))(float(x), 0.0))
