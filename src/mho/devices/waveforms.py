"""Voltage waveforms: every function returns ``(time, voltage)`` tensors of one shape ``[n]``.

The samples are ``dt`` apart, beginning at time 0, and so fit ``cells.simulate(voltage, dt=dt)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mho.core import checks

Waveform = tuple[Tensor, Tensor]


def sine(
    amplitude: float, frequency: float, *, dt: float, cycles: float = 1.0, offset: float = 0.0
) -> Waveform:
    """Return ``offset + amplitude · sin(2π frequency t)``.

    Args:
        amplitude: peak (V).
        frequency: in Hz, > 0.
        dt: time between samples (s); at most half a period.
        cycles: number of periods, > 0.
        offset: mean (V).

    Returns:
        Times (s) and voltages (V); the end of the last cycle is included.
    """
    amplitude, offset = checks.number("amplitude", amplitude), checks.number("offset", offset)
    frequency, time = checks.plain(frequency), _cycles(frequency, dt, cycles)
    return _out(time, offset + amplitude * torch.sin(2.0 * math.pi * frequency * time))


def triangle(
    amplitude: float, frequency: float, *, dt: float, cycles: float = 1.0, offset: float = 0.0
) -> Waveform:
    """Return a triangle that starts at ``offset`` upwards: 0 → +amplitude → -amplitude → 0.

    Args:
        amplitude: peak (V).
        frequency: in Hz, > 0.
        dt: time between samples (s); at most half a period.
        cycles: number of periods, > 0.
        offset: mean (V).

    Returns:
        Times (s) and voltages (V); the end of the last cycle is included.
    """
    amplitude, offset = checks.number("amplitude", amplitude), checks.number("offset", offset)
    frequency, time = checks.plain(frequency), _cycles(frequency, dt, cycles)
    phase = torch.remainder(frequency * time + 0.25, 1.0)
    return _out(time, offset + amplitude * (1.0 - 4.0 * (phase - 0.5).abs()))


def pulse_train(
    levels: Sequence[float] | float,
    *,
    width: float,
    period: float,
    dt: float,
    count: int = 1,
    baseline: float = 0.0,
) -> Waveform:
    """Return rectangular pulses: each lasts ``width`` at the start of its ``period``.

    Args:
        levels: voltage of each pulse (V), or of all pulses; a sequence is gone through
            ``count`` times.
        width: of a pulse (s), >= dt.
        period: from one pulse to the next (s), >= width.
        dt: time between samples (s).
        count: how many pulses (or times through ``levels``).
        baseline: voltage between pulses (V).

    Returns:
        Times (s) and voltages (V), of ``count · len(levels)`` periods.
    """
    dt = checks.number("dt", dt, above=0.0)
    width = checks.number("width", width, least=dt)
    period = checks.number("period", period, least=width)
    baseline = checks.number("baseline", baseline)
    count = checks.integer("count", count)
    levels = checks.plain(levels)
    heights = [levels] if isinstance(levels, (int, float)) else list(levels)
    heights = [checks.number("levels", height) for height in heights]
    _refuse_endless(count * len(heights) * period, dt)
    on, whole = round(width / dt), round(period / dt)
    volts = torch.full((count, len(heights), whole), baseline, dtype=torch.float64)
    volts[:, :, :on] = torch.tensor(heights, dtype=torch.float64)[:, None]
    return _out(dt * torch.arange(volts.numel(), dtype=torch.float64), volts.flatten())


def _refuse_endless(seconds: float, dt: float) -> None:
    if seconds > _MOST * dt:
        raise ValueError(
            f"dt must be >= {seconds / _MOST:.3g} s: a waveform has {_MOST:.0e} samples at most, "
            f"and this one lasts {seconds:.3g} s, got {dt:g} s"
        )


_MOST = 1_000_000_000  # samples: 8 GB


def programming_signal(
    count: int, *, duration: float, refractory: float, level: float, resolution: float
) -> Waveform:
    """Return equal programming pulses, each followed by a pause.

    Args:
        count: number of pulses.
        duration: of a pulse (s), >= resolution.
        refractory: pause at 0 V after each pulse (s), >= 0.
        level: voltage of the pulses (V).
        resolution: time between samples (s), > 0.

    Returns:
        Times (s) and voltages (V).
    """
    resolution = checks.number("resolution", resolution, above=0.0)
    duration = checks.number("duration", duration, least=resolution)
    refractory = checks.number("refractory", refractory, least=0.0)
    level = checks.number("level", level)
    return pulse_train(
        level, width=duration, period=duration + refractory, dt=resolution, count=count
    )


def _cycles(frequency: float, dt: float, cycles: float) -> Tensor:
    frequency = checks.number("frequency", frequency, above=0.0)
    cycles = checks.number("cycles", cycles, above=0.0)
    dt = checks.number("dt", dt, above=0.0, most=0.5 / frequency)
    _refuse_endless(cycles / frequency, dt)
    samples = round(cycles / (frequency * dt)) + 1
    return dt * torch.arange(samples, dtype=torch.float64)


def _out(time: Tensor, voltage: Tensor) -> Waveform:
    dtype = torch.get_default_dtype()
    return time.to(dtype), voltage.to(dtype)
