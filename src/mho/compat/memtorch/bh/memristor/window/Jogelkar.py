"""Joglekar's window (under the spelling MemTorch gave it)."""
# ruff: noqa: N802, N999

from __future__ import annotations

from mho.devices import windows


def Jogelkar(x: float, p: float = 1) -> float:
    """Return Joglekar's window ``1 - (2x - 1)^(2p)``; see `mho.devices.Joglekar`.

    Args:
        x: state, 0…1.
        p: exponent.
    """
    return float(windows.Joglekar(float(p))(float(x), 0.0))
