"""Prodromakis' window."""
# ruff: noqa: N802, N999

from __future__ import annotations

from mho.devices import windows


def Prodromakis(x: float, p: float = 1, j: float = 1.0, legacy: bool = False) -> float:
    """Return Prodromakis' window ``j (1 - [(x - ½)² + ¾]^p)``; see `mho.devices.Prodromakis`.

    Args:
        x: state, 0…1.
        p: exponent.
        j: height.
        legacy: return what MemTorch 1.1.6 did, ``j (1.75 - (x - ½)²)^p``, to compare with its
            results.
    """
    if legacy:
        return float(j * (1.75 - (x - 0.5) ** 2) ** p)
    return float(windows.Prodromakis(float(p), float(j))(float(x), 0.0))
