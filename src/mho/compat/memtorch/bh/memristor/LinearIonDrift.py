"""Linear ion drift."""
# ruff: noqa: N999
# mypy: disable-error-code="override"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mho.compat.memtorch.bh.memristor._model import Modelled, nominal
from mho.compat.memtorch.bh.memristor._specs import ThresholdedDrift
from mho.compat.memtorch.bh.memristor.Memristor import Memristor, Signal
from mho.devices import Joglekar, SwitchingDevice


class LinearIonDrift(Modelled, Memristor, tensor=True):
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

    @staticmethod
    def fields(p: Any) -> dict[str, Any]:
        """Return mho's parameters."""
        return {
            "r_on": p.r_on,
            "r_off": p.r_off,
            "d": p.d,
            "mobility": p.u_v,
            "pos_write_threshold": p.pos_write_threshold,
            "neg_write_threshold": p.neg_write_threshold,
        }

    @staticmethod
    def spec(values: Mapping[str, float], p: Any) -> SwitchingDevice:
        """Return mho's device."""
        return ThresholdedDrift(**values, window_function=Joglekar(nominal(p.p)))

    @property
    def x(self) -> float:
        """State, 0…1; 1 is low resistance."""
        return (self.r_off - 1.0 / self.g) / (self.r_off - self.r_on)

    @x.setter
    def x(self, value: float) -> None:
        self.g = 1.0 / (self.r_off - value * (self.r_off - self.r_on))

    @property
    def r_i(self) -> float:
        """Resistance of a new device (Ω)."""
        return float(self.r_on)

    def plot_hysteresis_loop(
        self,
        duration: float = 4,
        voltage_signal_amplitude: float = 5,
        voltage_signal_frequency: float = 2.5,
        return_result: bool = False,
        log_scale: bool = False,
    ) -> tuple[Signal, Signal] | None:
        """Plot the current under a sine; see `Memristor.plot_hysteresis_loop`."""
        return super().plot_hysteresis_loop(
            self,
            duration,
            voltage_signal_amplitude,
            voltage_signal_frequency,
            log_scale,
            return_result,
        )

    def plot_bipolar_switching_behaviour(
        self,
        voltage_signal_amplitude: float = 5,
        voltage_signal_frequency: float = 2.5,
        log_scale: bool = True,
        return_result: bool = False,
    ) -> tuple[Signal, Signal] | None:
        """Plot the current under a triangle; see `Memristor.plot_bipolar_switching_behaviour`."""
        return super().plot_bipolar_switching_behaviour(
            self,
            voltage_signal_amplitude,
            voltage_signal_frequency,
            log_scale,
            return_result,
        )
