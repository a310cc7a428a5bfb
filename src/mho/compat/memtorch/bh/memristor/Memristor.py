"""The abstract device: what MemTorch's users subclass, and plots of one device."""
# ruff: noqa: N999

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mho.compat._common import truth
from mho.core.extras import need

Signal = npt.NDArray[np.float64]

# A plot needs no more points than these; finer waveforms would only take time.
_PER_CYCLE, _AT_LEAST = 160, 500


class Memristor(ABC):
    """Base of all devices.

    A subclass says how a voltage signal moves it (`simulate`) and how it is put to a conductance
    (`set_conductance`), and keeps ``self.g`` (S) up to date. A crossbar of such a class holds one
    object per cell: it works, slowly. The models that come with this package are held as tensors.

    Args:
        r_off: off (largest) resistance (Ω).
        r_on: on (least) resistance (Ω).
        time_series_resolution: time between two samples of a signal (s).
        pos_write_threshold: least positive voltage that writes (V).
        neg_write_threshold: largest negative voltage that writes (V).
    """

    # Also of devices whose constructor does not call this one.
    g: Any = None
    finite_states: Any = None
    pos_write_threshold: Any = 0
    neg_write_threshold: Any = 0
    r_on: Any
    r_off: Any
    time_series_resolution: Any

    def __init__(
        self,
        r_off: Any,
        r_on: Any,
        time_series_resolution: Any,
        pos_write_threshold: Any = 0,
        neg_write_threshold: Any = 0,
    ) -> None:
        self.r_off = r_off
        self.r_on = r_on
        self.time_series_resolution = time_series_resolution
        self.pos_write_threshold = pos_write_threshold
        self.neg_write_threshold = neg_write_threshold
        self.g = None
        self.finite_states = None

    @abstractmethod
    def simulate(self, voltage_signal: Any) -> Any:
        """Apply a voltage signal.

        Args:
            voltage_signal: voltages (V), ``time_series_resolution`` apart. (With
                ``return_current=True``, the current (A) at every sample is returned.)
        """

    @abstractmethod
    def set_conductance(self, conductance: float) -> None:
        """Put the device to a conductance (S)."""

    def get_resistance(self) -> float:
        """Return the resistance (Ω) now."""
        return 1 / self.g if self.g else math.inf

    def plot_hysteresis_loop(
        self,
        memristor: Any,
        duration: float,
        voltage_signal_amplitude: float,
        voltage_signal_frequency: float,
        log_scale: bool = False,
        return_result: bool = False,
    ) -> tuple[Signal, Signal] | None:
        """Plot a device's current under a sine; see the function of this name."""
        signal = (duration, voltage_signal_amplitude, voltage_signal_frequency)
        return plot_hysteresis_loop(memristor, *signal, log_scale, return_result)

    def plot_bipolar_switching_behaviour(
        self,
        memristor: Any,
        voltage_signal_amplitude: float,
        voltage_signal_frequency: float,
        log_scale: bool = True,
        return_result: bool = False,
    ) -> tuple[Signal, Signal] | None:
        """Plot a device's current under one triangle; see the function of this name."""
        signal = (voltage_signal_amplitude, voltage_signal_frequency)
        return plot_bipolar_switching_behaviour(memristor, *signal, log_scale, return_result)


def plots(loop: tuple[float, float, float], sweep: tuple[float, float]) -> tuple[Any, Any]:
    """Return the two methods ``plot_…`` of a model, with the model's own defaults.

    Args:
        loop: duration (s), amplitude (V) and frequency (Hz) of the sine.
        sweep: amplitude (V) and frequency (Hz) of the triangle.
    """

    def plot_hysteresis_loop(
        self: Any,
        duration: float = loop[0],
        voltage_signal_amplitude: float = loop[1],
        voltage_signal_frequency: float = loop[2],
        return_result: bool = False,
    ) -> tuple[Signal, Signal] | None:
        """Plot the current under a sine; see the function of this name."""
        signal = (duration, voltage_signal_amplitude, voltage_signal_frequency)
        return Memristor.plot_hysteresis_loop(self, self, *signal, return_result=return_result)

    def plot_bipolar_switching_behaviour(
        self: Any,
        voltage_signal_amplitude: float = sweep[0],
        voltage_signal_frequency: float = sweep[1],
        log_scale: bool = True,
        return_result: bool = False,
    ) -> tuple[Signal, Signal] | None:
        """Plot the current under a triangle; see the function of this name."""
        plot = Memristor.plot_bipolar_switching_behaviour
        signal = (voltage_signal_amplitude, voltage_signal_frequency)
        return plot(self, self, *signal, log_scale, return_result)

    return plot_hysteresis_loop, plot_bipolar_switching_behaviour


def plot_hysteresis_loop(
    memristor_model: Any,
    duration: float,
    voltage_signal_amplitude: float,
    voltage_signal_frequency: float,
    log_scale: bool = False,
    return_result: bool = False,
) -> tuple[Signal, Signal] | None:
    """Plot a device's current over a sine voltage.

    Args:
        memristor_model: the device; it is moved by the signal.
        duration: of the signal (s).
        voltage_signal_amplitude: its amplitude (V).
        voltage_signal_frequency: its frequency (Hz).
        log_scale: whether the axis of the current is symmetric-logarithmic.
        return_result: return voltages and currents, and plot nothing.

    Returns:
        Voltages (V) and currents (A), or None.
    """
    log_scale = truth("log_scale", log_scale)
    return_result = truth("return_result", return_result)
    cycles = duration * voltage_signal_frequency
    turns = 2 * math.pi * voltage_signal_frequency
    voltage, current = _traced(
        memristor_model, lambda t: voltage_signal_amplitude * np.sin(turns * t), duration, cycles
    )
    if return_result:
        return voltage, current
    _draw(voltage, current, "Hysteresis loop", "symlog" if log_scale else "linear")
    return None


def plot_bipolar_switching_behaviour(
    memristor_model: Any,
    voltage_signal_amplitude: float,
    voltage_signal_frequency: float,
    log_scale: bool = True,
    return_result: bool = False,
) -> tuple[Signal, Signal] | None:
    """Plot the magnitude of a device's current over one triangle of voltage (a slow DC sweep).

    The voltage goes from 0 to the amplitude (V), to its negative and back to 0; ``log_scale`` says
    whether the axis of the magnitude is logarithmic. For all else see `plot_hysteresis_loop`.
    """
    log_scale = truth("log_scale", log_scale)
    return_result = truth("return_result", return_result)

    def triangle(time: Signal) -> Signal:
        phase = np.mod(voltage_signal_frequency * time + 0.25, 1.0)
        return voltage_signal_amplitude * (1.0 - 4.0 * np.abs(phase - 0.5))

    voltage, current = _traced(memristor_model, triangle, 1 / voltage_signal_frequency, 1.0)
    if return_result:
        return voltage, current
    title = "Bipolar switching behaviour (DC)"
    _draw(voltage, np.abs(current), title, "log" if log_scale else "linear")
    return None


def _traced(
    device: Any, wave: Callable[[Signal], Signal], duration: float, cycles: float
) -> tuple[Signal, Signal]:
    """Return voltages (V) and the currents (A) under them."""
    step, own = float(device.time_series_resolution), getattr(device, "_own", None)
    # Whether it is a model that takes any step: but for two methods, however it is overridden.
    refined = own is not None and not {"simulate", "resistance"} & {*own, *vars(device)}
    if refined:
        step = max(step, duration / max(_PER_CYCLE * cycles, _AT_LEAST))
    voltage = wave(step * np.arange(round(duration / step) + 1, dtype=np.float64))
    if not refined:
        return voltage, np.asarray(device.simulate(voltage, return_current=True), np.float64)
    # The voltage is a line from point to point: what is held is its middle.
    middles = 0.5 * (voltage + np.append(voltage[1:], voltage[-1:]))
    current = np.empty_like(voltage)
    for k, (v, middle) in enumerate(zip(voltage.tolist(), middles.tolist(), strict=True)):
        current[k] = device.current(v)
        device._drive([middle], step)
    return voltage, current


def _draw(voltage: Signal, current: Signal, title: str, scale: str) -> None:
    plt = need("matplotlib.pyplot", "viz")
    figure, axes = plt.subplots()
    axes.plot(voltage, current)
    label = "|Current| (A)" if current.min() >= 0 else "Current (A)"
    axes.set(title=title, xlabel="Voltage (V)", ylabel=label, yscale=scale)
    figure.tight_layout()
    plt.show()
