"""Joglekar's window (under the spelling MemTorch gave it)."""
# ruff: noqa: N802, N999

from __future__ import annotations

from mho.devices import windows


def Jogelkar(x: float, p: float = 1, legacy: bool = False) -> float:
    """Return Joglekar's window ``1 - (2x - 1)^(2p)``; see `mho.devices.Joglekar`.

    Args:
        x: state, 0…1.
        p: exponent.
        legacy: return what MemTorch 1.1.6 did, ``(2 - 2x)^(2p)``, to compare with its results.
    """
    if legacy:
        return float(2.0 - 2.0 * x) ** (2 * p)
    return float(windows.Joglekar(float(p))(float(x), 0.0))
