"""VTEAM."""
# ruff: noqa: N999

from __future__ import annotations

import math
from typing import Any, ClassVar

from mho import devices
from mho.compat.memtorch.bh.memristor._model import Modelled, parameter
from mho.compat.memtorch.bh.memristor._signals import each
from mho.compat.memtorch.bh.memristor.Memristor import plots


class VTEAM(Modelled, tensor=True):
    """The VTEAM model with a resistance linear in its state: `mho.devices.VTEAM`.

    A voltage above ``v_off`` raises the resistance, one below ``v_on`` lowers it.

    Args:
        time_series_resolution: time between two samples of a signal (s).
        r_off: largest resistance (Ω), at the state ``d``.
        r_on: least resistance (Ω), at the state 0.
        d: length of the device (m): the state's range is 0…d.
        k_on, k_off: speed towards low (< 0) and towards high (> 0) resistance (m/s).
        alpha_on, alpha_off: its exponents.
        v_on, v_off: its thresholds, < 0 and > 0 (V).
        x_on: state of a new device (m).
        x_off: kept, and not used: the range's end is ``d``.
        **kwargs: ``reference=True`` takes the means of stochastic parameters.
    """

    _kind = devices.VTEAM
    _renamed: ClassVar = {"w_off": "d"}  # and w_on is 0
    d: Any

    def __init__(
        self,
        time_series_resolution: Any = 1e-10,
        r_off: Any = 1000,
        r_on: Any = 50,
        d: Any = 3e-9,
        k_on: Any = -10,
        k_off: Any = 5e-4,
        alpha_on: Any = 3,
        alpha_off: Any = 1,
        v_on: Any = -0.2,
        v_off: Any = 0.02,
        x_on: Any = 0,
        x_off: Any = 3e-9,
        **kwargs: Any,
    ) -> None:
        self._adopt(locals())

    @staticmethod
    def _initial(p: Any) -> Any:
        """Return the conductance (S) of a new device: at the state ``x_on``."""
        return 1.0 / (p.r_on + (p.r_off - p.r_on) * p.x_on / p.d)

    pos_write_threshold = parameter("v_off")
    neg_write_threshold = parameter("v_on")

    @property
    def lamda(self) -> Any:
        """Logarithm of ``r_off / r_on``, until it is assigned."""
        return vars(self).get("lamda", math.log(self.r_off / self.r_on))

    @lamda.setter
    def lamda(self, value: Any) -> None:
        vars(self)["lamda"] = value

    @property
    def x(self) -> float:
        """State (m), 0…d; 0 is low resistance."""
        return self.d * (1.0 - self._state)

    @x.setter
    def x(self, value: float) -> None:
        self._cell.g = 1.0 / (self.r_on + (self.r_off - self.r_on) * float(value) / self.d)

    def dxdt(self, voltage: float) -> float:
        """Return the state's speed (m/s) under a voltage (V)."""
        spec, p = self._cell.equations()
        return each(lambda v: -self.d * spec.drive(v, p)[0], voltage)  # there is no window

    def _speed(self, voltage: float) -> float:
        return -self.dxdt(voltage) / self.d

    plot_hysteresis_loop, plot_bipolar_switching_behaviour = plots((200e-9, 1, 50e6), (1.5, 50e6))
