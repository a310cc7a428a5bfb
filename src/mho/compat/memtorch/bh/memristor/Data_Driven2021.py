"""Data-driven, 2021."""
# ruff: noqa: N801, N999
# mypy: disable-error-code="override"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mho.compat.memtorch.bh.memristor._model import Modelled
from mho.compat.memtorch.bh.memristor._specs import TwoBranch2021
from mho.compat.memtorch.bh.memristor.Data_Driven import coefficients, shared_fields
from mho.compat.memtorch.bh.memristor.Memristor import Memristor, Signal
from mho.devices import SwitchingDevice


class Data_Driven2021(Modelled, Memristor, tensor=True):
    """The data-driven model of 2021: `mho.devices.DataDriven2021`. The conductance is ``1/R``.

    Args:
        time_series_resolution: time between two samples of a signal (s).
        r_off: largest resistance (Ω).
        r_on: least resistance (Ω).
        A_p: speed under positive voltages (1/(Ω s)).
        A_n: speed under negative voltages (1/(Ω s)).
        t_p: voltage scale of the speed, positive voltages (V).
        t_n: voltage scale of the speed, negative voltages (V).
        k_p: kept, and not used.
        k_n: kept, and not used.
        r_p: bound of positive voltages, coefficients of 1 and v (Ω, Ω/V).
        r_n: bound of negative voltages, likewise.
        a_p: amplitude of the current, positive voltages (V).
        a_n: amplitude of the current, negative voltages (V).
        b_p: steepness of the current, positive voltages (1/V).
        b_n: steepness of the current, negative voltages (1/V).
        random_init: kept, and not used; see ``random_crossbar_init`` of `Crossbar`.
        **kwargs: ``reference=True`` takes the means of stochastic parameters.
    """

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
        random_init: bool = False,
        **kwargs: Any,
    ) -> None:
        self._adopt(locals())

    @staticmethod
    def fields(p: Any) -> dict[str, Any]:
        """Return mho's parameters."""
        return shared_fields(p)

    @staticmethod
    def spec(values: Mapping[str, float], p: Any) -> SwitchingDevice:
        """Return mho's device."""
        return TwoBranch2021(**values)

    @classmethod
    def refuse(cls, p: Any) -> None:
        """Refuse parameters that make no device."""
        super().refuse(p)
        for name in ("r_p", "r_n"):
            coefficients(name, getattr(p, name))

    def plot_hysteresis_loop(
        self,
        duration: float = 1e-3,
        voltage_signal_amplitude: float = 1.5,
        voltage_signal_frequency: float = 10e3,
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
        voltage_signal_amplitude: float = 1.5,
        voltage_signal_frequency: float = 10e3,
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
