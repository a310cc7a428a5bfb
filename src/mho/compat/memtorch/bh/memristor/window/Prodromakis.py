"""Prodromakis' window."""
# ruff: noqa: N802, N999

from __future__ import annotations

from typing import Any

from mho.compat._common import truth
from mho.compat.memtorch.bh.memristor._signals import each
from mho.devices import windows


def Prodromakis(x: Any, p: float = 1, j: float = 1.0, legacy: bool = False) -> Any:
    """Return Prodromakis' window ``j (1 - [(x - ½)² + ¾]^p)``; see `mho.devices.Prodromakis`.

    Args:
        x: state, 0…1; a number or an array.
        p: exponent.
        j: height.
        legacy: return what MemTorch 1.1.6 did, ``j (1.75 - (x - ½)²)^p``, to compare with it.
    """
    legacy = truth("legacy", legacy)
    if legacy:
        return each(lambda state: j * (1.75 - (state - 0.5) ** 2) ** p, x)
    window = windows.Prodromakis(float(p), float(j))
    return each(lambda state: window(state, 0.0), x)
