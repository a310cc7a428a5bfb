"""The ideal ohmic cell."""

from __future__ import annotations

from dataclasses import dataclass

from mho.cells.device import Device
from mho.cells.programming import Exact, Programming
from mho.cells.spread import Spread, check_window


@dataclass(frozen=True)
class LinearDevice(Device):
    """An ohmic cell that holds any conductance of its window, exactly: ``I = g · v``.

    Attributes:
        g_min: lowest conductance (S), >= 0; a number or a `Spread`.
        g_max: highest conductance (S), > g_min; a number or a `Spread`.

    Spread conductances without a lower bound of their own are kept at or above 0 S.

    Raises:
        ValueError: if ``g_min`` is negative or not below ``g_max``.
    """

    g_min: float | Spread = 1e-6
    g_max: float | Spread = 100e-6

    def __post_init__(self) -> None:
        for name in ("g_min", "g_max"):
            value = getattr(self, name)
            if isinstance(value, Spread) and value.low is None:
                object.__setattr__(self, name, value.replace(low=0.0))
        check_window(self.g_min, self.g_max)

    @property
    def programming(self) -> Programming:
        """How cells are programmed where the hardware does not say: exactly."""
        return Exact()
