"""Linear ion drift."""
# ruff: noqa: N999

from __future__ import annotations

from typing import Any, ClassVar

from mho.compat.memtorch.bh.memristor._model import Modelled, nominal, parameter
from mho.compat.memtorch.bh.memristor._signals import each
from mho.compat.memtorch.bh.memristor._specs import ThresholdedDrift
from mho.compat.memtorch.bh.memristor.Memristor import plots
from mho.devices import Joglekar


class LinearIonDrift(Modelled, tensor=True):
    """Linear ion drift with Joglekar's window and write thresholds: `mho.devices.LinearIonDrift`.

    Args:
        time_series_resolution: time between two samples of a signal (s).
        u_v: mobility of the dopants (m²/(V s)).
        d: thickness of the film (m).
        r_on: least resistance (Ω).
        r_off: largest resistance (Ω).
        pos_write_threshold: least positive voltage that writes (V).
        neg_write_threshold: largest negative voltage that writes (V).
        p: exponent of Joglekar's window.
        **kwargs: ``reference=True`` takes the means of stochastic parameters.
    """

    _kind = ThresholdedDrift
    _renamed: ClassVar = {"mobility": "u_v"}

    def __init__(
        self,
        time_series_resolution: Any = 1e-4,
        u_v: Any = 1e-14,
        d: Any = 10e-9,
        r_on: Any = 100,
        r_off: Any = 16e3,
        pos_write_threshold: Any = 0.55,
        neg_write_threshold: Any = -0.55,
        p: Any = 1,
        **kwargs: Any,
    ) -> None:
        self._adopt(locals())

    @classmethod
    def _fields(cls, p: Any) -> dict[str, Any]:
        return {**super()._fields(p), "window_function": Joglekar(nominal(p.p))}

    r_i = parameter("r_on")

    @property
    def x(self) -> float:
        """State, 0…1; 1 is low resistance."""
        return self._state

    @x.setter
    def x(self, value: float) -> None:
        self._cell.g = 1.0 / (self.r_off - float(value) * (self.r_off - self.r_on))

    def dxdt(self, current: float) -> float:
        """Return the state's speed (1/s) under a current (A), whatever the thresholds."""
        (spec, p), x = self._cell.equations(), self._state
        volts_per_ampere = 1.0 / spec.conductance_at(x, p)
        return each(lambda i: spec.unthresholded(x, i * volts_per_ampere, p), current)

    def _speed(self, voltage: float) -> float:
        if self.neg_write_threshold < voltage < self.pos_write_threshold:
            return 0.0
        return self.dxdt(self.current(voltage))

    plot_hysteresis_loop, plot_bipolar_switching_behaviour = plots((4, 5, 2.5), (5, 2.5))
