"""Biolek's window."""
# ruff: noqa: N802, N999

from __future__ import annotations

from typing import Any

from mho.compat.memtorch.bh.memristor._signals import each
from mho.devices import windows


def Biolek(voltage: float, x: Any = 1.0, p: float = 1) -> Any:
    """Return Biolek's window ``1 - (x - step(-voltage))^(2p)``; see `mho.devices.Biolek`.

    It is 0 at the bound that the state is heading for, 1 at the one it left. A voltage of 0
    counts as heading for 0.

    Args:
        voltage: its sign says where the state is heading: positive, towards 1.
        x: state, 0…1; a number or an array.
        p: exponent.
    """
    window = windows.Biolek(float(p))
    return each(lambda state: window(state, float(voltage)), x)
