"""Joglekar's window (under the spelling MemTorch gave it)."""
# ruff: noqa: N802, N999

from __future__ import annotations

from typing import Any

from mho.compat._common import truth
from mho.compat.memtorch.bh.memristor._signals import each
from mho.devices import windows


def Jogelkar(x: Any, p: float = 1, legacy: bool = False) -> Any:
    """Return Joglekar's window ``1 - (2x - 1)^(2p)``; see `mho.devices.Joglekar`.

    Args:
        x: state, 0…1; a number or an array.
        p: exponent.
        legacy: return what MemTorch 1.1.6 did, ``(2 - 2x)^(2p)``, to compare with its results.
    """
    legacy = truth("legacy", legacy)
    if legacy:
        return each(lambda state: (2.0 - 2.0 * state) ** (2 * p), x)
    window = windows.Joglekar(float(p))
    return each(lambda state: window(state, 0.0), x)
