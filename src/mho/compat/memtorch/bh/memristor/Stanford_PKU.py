"""Stanford–PKU."""
# ruff: noqa: N801, N802, N999

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, ClassVar

from mho.compat._common import require
from mho.compat.memtorch.bh.memristor._model import Modelled, nominal
from mho.compat.memtorch.bh.memristor._specs import ReadAtVoltage
from mho.compat.memtorch.bh.memristor.Memristor import Signal, plots
from mho.devices import maths


def _read(p: Any, gap: float) -> float:
    """Return the conductance (S) that a gap (m) reads as."""
    current = p.I_0 * math.exp(-gap / p.g_0) * math.sinh(p.read_voltage / p.V_0)
    return float(current / p.read_voltage)


def _gap(p: Any, resistance: Any) -> Any:
    """Return the gap (m) that reads as a resistance (Ω); numbers or tensors."""
    current = p.I_0 * maths.sinh(p.read_voltage / p.V_0)
    return p.g_0 * maths.log(current * resistance / p.read_voltage)


def _bound(name: str) -> Any:
    """Return an attribute: the gap (m) that belongs to a resistance of that name."""
    return property(
        lambda device: float(_gap(device, getattr(device, name))),
        lambda device, gap: setattr(device, name, 1.0 / _read(device, float(gap))),
    )


class Stanford_PKU(Modelled, tensor=True):
    """The Stanford–PKU model of RRAM: `mho.devices.StanfordPKU`.

    The conductance is that of a read at ``read_voltage``; ``r_on`` and ``r_off`` there say how far
    the gap can move.

    Args:
        time_series_resolution: time between two samples of a signal (s).
        r_off: largest resistance (Ω).
        r_on: least resistance (Ω).
        gap_init: gap of a new device (m).
        g_0: length scale of the current (m).
        V_0: voltage scale of the current (V).
        I_0: scale of the current (A).
        read_voltage: voltage of the read that defines the conductance (V).
        T_init: ambient temperature (K).
        R_th: thermal resistance (K/W).
        gamma_init: field enhancement without a gap.
        beta: loss of enhancement with the gap.
        t_ox: oxide thickness (m).
        F_min: least enhanced field that moves the gap (V/m).
        vel_0: attempt velocity (m/s).
        E_a: activation energy (eV).
        a_0: hopping distance (m).
        delta_g_init: velocity noise of the gap (m/s).
        model_switch: 0, the standard model, or 1, the dynamic model with noise.
        T_crit: temperature of the noise's onset (K).
        T_smth: width of the onset (K).
        **kwargs: ``reference=True`` takes the means of stochastic parameters.
    """

    _kind = ReadAtVoltage
    _renamed: ClassVar = {
        **{"i0": "I_0", "g0": "g_0", "v0": "V_0", "velocity": "vel_0", "gamma0": "gamma_init"},
        **{"e_a": "E_a", "a0": "a_0", "f_min": "F_min", "t_ambient": "T_init", "r_th": "R_th"},
        **{"t_crit": "T_crit", "t_smooth": "T_smth"},
    }
    T_init: Any
    R_th: Any

    def __init__(
        self,
        time_series_resolution: Any = 1e-4,
        r_off: Any = 218586,
        r_on: Any = 542,
        gap_init: Any = 2e-10,
        g_0: Any = 0.25e-9,
        V_0: Any = 0.25,
        I_0: Any = 1000e-6,
        read_voltage: Any = 0.1,
        T_init: Any = 298,
        R_th: Any = 2.1e3,
        gamma_init: Any = 16,
        beta: Any = 0.8,
        t_ox: Any = 12e-9,
        F_min: Any = 1.4e9,
        vel_0: Any = 10,
        E_a: Any = 0.6,
        a_0: Any = 0.25e-9,
        delta_g_init: Any = 0.02,
        model_switch: Any = 0,
        T_crit: Any = 450,
        T_smth: Any = 500,
        **kwargs: Any,
    ) -> None:
        self._adopt(locals())

    @classmethod
    def _fields(cls, p: Any) -> dict[str, Any]:
        return {
            **super()._fields(p),
            **{"gap_min": _gap(p, p.r_on), "gap_max": _gap(p, p.r_off)},
            "delta_gap": p.delta_g_init * p.model_switch,
            "noise_time": nominal(p.time_series_resolution),
        }

    @staticmethod
    def _initial(p: Any) -> Any:
        """Return the conductance (S) of a new device: at ``gap_init``, within the window."""
        return _read(p, min(max(p.gap_init, _gap(p, p.r_on)), _gap(p, p.r_off)))

    @classmethod
    def _refuse(cls, p: Any) -> None:
        super()._refuse(p)
        low, high = _gap(p, p.r_on), _gap(p, p.r_off)
        need = "r_on and r_off must belong to gaps 0 < gap_min < gap_max"
        require(0.0 < low < high, f"{need}, got {low:g} m and {high:g} m")

    gap_min = _bound("r_on")
    gap_max = _bound("r_off")

    @property
    def gap(self) -> float:
        """Gap now (m)."""
        _, p = self._cell.equations()
        return float(p.gap_max - self._state * (p.gap_max - p.gap_min))

    @gap.setter
    def gap(self, value: float) -> None:
        self._cell.g = _read(self, float(value))

    def T_current(self, voltage: float, current: float) -> float:
        """Return the temperature (K) under a voltage (V) and its current (A)."""
        return self.T_init + abs(voltage * current) * self.R_th

    def dg_dt(self, voltage: float, current: float) -> float:
        """Return the gap's drift (m/s) under a voltage (V) and its current (A), without noise."""
        spec, p = self._cell.equations()
        temperature = float(self.T_current(voltage, current))
        hot = SimpleNamespace(**vars(p) | {"t_ambient": temperature, "r_th": 0.0})
        x, v = self._state, float(voltage)
        return float(-spec.rate(x, spec.drive(v, hot), hot) * (p.gap_max - p.gap_min))

    def _speed(self, voltage: float) -> float:
        return -self.dg_dt(voltage, self.current(voltage)) / (self.gap_max - self.gap_min)

    def plot_hysteresis_loop(  # type: ignore[override]
        self,
        duration: float = 0.5,
        voltage_signal_amplitude: float = 1.5,
        voltage_signal_frequency: float = 10,
        log_scale: bool = False,
        return_result: bool = False,
    ) -> tuple[Signal, Signal] | None:
        """Plot the current under a sine; see the function of this name."""
        signal = (duration, voltage_signal_amplitude, voltage_signal_frequency)
        return super().plot_hysteresis_loop(self, *signal, log_scale, return_result)

    plot_bipolar_switching_behaviour = plots((0.5, 1.5, 10), (1.5, 0.05))[1]
