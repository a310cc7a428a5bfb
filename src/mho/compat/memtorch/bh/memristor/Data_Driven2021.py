"""Data-driven, 2021."""
# ruff: noqa: N801, N802, N999

from __future__ import annotations

import math
from typing import Any

from mho.compat.memtorch.bh.memristor._model import Modelled
from mho.compat.memtorch.bh.memristor._signals import each
from mho.compat.memtorch.bh.memristor._specs import TwoBranch2021
from mho.compat.memtorch.bh.memristor.Data_Driven import PerResistance, coefficients


class Data_Driven2021(PerResistance, tensor=True):
    """The data-driven model of 2021: `mho.devices.DataDriven2021`. The conductance is ``1/R``.

    Args:
        time_series_resolution: time between two samples of a signal (s).
        r_off: largest resistance (Ω).
        r_on: least resistance (Ω).
        A_p, A_n: speed under positive and under negative voltages (1/(Ω s)).
        t_p, t_n: its voltage scales (V).
        k_p, k_n: kept, and not used.
        r_p, r_n: bounds, coefficients of 1 and v (Ω, Ω/V).
        a_p, a_n: amplitude of the current (V).
        b_p, b_n: steepness of the current (1/V).
        **kwargs: ``reference=True`` takes the means of stochastic parameters.
    """

    _kind = TwoBranch2021

    def __init__(
        self,
        time_series_resolution: Any = 1e-10,
        r_off: Any = 3000,
        r_on: Any = 1600,
        A_p: Any = 600.10075,
        A_n: Any = -34.5988399,
        t_p: Any = -0.0212028,
        t_n: Any = -0.05343997,
        k_p: Any = 5.11e-4,
        k_n: Any = 1.17e-3,
        r_p: Any = [2699.2336, -672.930205],  # noqa: B006 - never changed
        r_n: Any = [649.413746, -1474.32358],  # noqa: B006
        a_p: Any = 0.32046175,
        a_n: Any = 0.32046175,
        b_p: Any = 2.71689828,
        b_n: Any = 2.71689828,
        **kwargs: Any,
    ) -> None:
        self._adopt(locals())

    def s_pn(self, voltage: float, A: float, t: float) -> float:
        """Return the speed ``A (exp(|v|/t) - 1)`` (1/(Ω s)) under a voltage (V)."""
        return A * math.expm1(abs(voltage) / t)

    def r_pn(self, voltage: float, a0: float, a1: float) -> float:
        """Return the bound ``a0 + a1 v`` (Ω) of a voltage (V)."""
        return a0 + a1 * voltage

    def dRdt(self, voltage: float) -> float:
        """Return the resistance's speed (Ω/s) under a voltage (V)."""
        return each(self._dRdt, voltage)

    def _dRdt(self, voltage: float) -> float:
        side = "p" if voltage > 0 else "n"
        A, t, bound = (getattr(self, f"{name}_{side}") for name in ("A", "t", "r"))
        s = self.s_pn(voltage, A, t)
        ahead = self.r_pn(voltage, *coefficients(f"r_{side}", bound)) - 1.0 / self._cell.g
        # s and the way ahead have one sign exactly where the bound lies ahead.
        return max(s * ahead, 0.0) * ahead

    def resistance(self, voltage: float) -> float:
        """Return the resistance (Ω) after one sample of a voltage (V), which does not move it."""
        if self._as_published:
            return super().resistance(voltage)
        step = float(self.time_series_resolution)
        return each(lambda v: 1.0 / Modelled._moved(self, v, step), voltage)

    def _speed(self, voltage: float) -> float:
        return -self.dRdt(voltage) / (self.r_off - self.r_on)
