"""Waveforms through one cell, with as fine steps as the model needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from mho.devices import SwitchingCells
from mho.devices.integrate import HEUN
from mho.devices.maths import unit

# Longer signals are left to tensors; shorter ones are far faster on Python's floats.
_LONG = 256
# A step of a waveform that moves the state by more of its range is too coarse...
_COARSE = 0.05
# ...and steps within a sample move it by at most so much, with an error of Euler's rule (that of
# Heun's is of higher order) of at most so much.
_MOST, _ERROR = 0.05, 2e-5
# A state that would move by less is at rest.
_REST = 1e-12
# Steps within a sample before a model is taken for a stiff one.
STEPS = 1000


def follow(
    spec: Any,
    p: Any,
    x: float,
    volts: list[float],
    step: float,
    currents: bool,
    population: Callable[[], SwitchingCells],
) -> tuple[Iterable[float], float]:
    """Drive a cell with a waveform.

    Between samples the voltage is linear, and the last one is held for one more step. Where the
    model moves too fast for that, each voltage is held until the next one, and the equation is
    solved within.

    Args:
        spec: mho's device.
        p: its parameters (floats).
        x: state before.
        volts: voltages (V).
        step: between samples (s).
        currents: whether to return them.
        population: makes the cell as a population, for what floats cannot do.

    Returns:
        Currents at the samples (A), none if not asked for, and the state after them.

    Raises:
        ValueError: if the model is too stiff for the waveform.
    """
    if len(volts) > (1 if spec.stochastic else _LONG):
        found = _as_population(population(), volts, step, currents)
        if found is not None:
            return found
    if not spec.stochastic:
        gentle = _gentle(spec, p, x, volts, step) if 1 < len(volts) <= _LONG else None
        states = gentle or _held(spec, p, x, volts, step)
        if states is not None:
            pairs = zip(states, volts, strict=False)
            return [spec.current_at(y, v, p) for y, v in pairs] if currents else (), states[-1]
    cells, passed = population(), []
    for voltage in volts:
        if currents:
            passed.append(float(cells.current(voltage)))
        cells.apply_pulse(voltage, step)
    return passed, float(cells.x)


def _as_population(
    cells: SwitchingCells, volts: list[float], step: float, currents: bool
) -> tuple[Iterable[float], float] | None:
    """Follow by mho's own simulation; None if that finds the samples too coarse."""
    every = 1 if currents else None
    waveform = torch.tensor(volts, dtype=torch.float64)
    try:
        current = cells.simulate(waveform, dt=step, method="heun", every=every)
    except ValueError as refused:
        if "too coarse" not in str(refused):
            raise
        return None
    return current.numpy(), float(cells.x)


def _gentle(spec: Any, p: Any, x: float, volts: list[float], step: float) -> list[float] | None:
    """Return the states at the samples and after them, by one step a sample; None: too coarse."""
    drives = [spec.drive(v, p) for v in (*volts, volts[-1])]
    states = [x]
    for ahead in HEUN.states(lambda x, drive: spec.rate(x, drive, p), x, drives, step):
        if abs(ahead - x) > _COARSE:
            return None
        states.append(ahead)
        x = ahead
    return states


def _held(spec: Any, p: Any, x: float, volts: list[float], step: float) -> list[float] | None:
    """Return the states as `_gentle` does, with each voltage held; None: too stiff."""
    states = [x]
    for v in volts:
        after = held(spec, p, states[-1], v, step)
        if after is None:
            return None
        states.append(after)
    return states


def held(spec: Any, p: Any, x: float, v: float, seconds: float) -> float | None:
    """Return the state after a voltage was held; None: noise, or too stiff for floats."""
    if spec.stochastic:
        return None
    after: float | None = spec.pulse(x, v, seconds, p)
    if after is not None:
        return after
    drive = spec.drive(v, p)
    return hold(lambda state: spec.rate(state, drive, p), x, seconds)


def hold(rate: Callable[[float], float], x: float, seconds: float) -> float | None:
    """Return the state after a time under one voltage, by Heun's rule with steps of its own.

    Args:
        rate: of the state (1/s).
        x: state before.
        seconds: how long.

    Returns:
        The state, held in [0, 1]; None if the steps were not enough.
    """
    slope, left = rate(x), seconds
    for _ in range(STEPS):
        if abs(slope) * left <= _REST or (x >= 1.0 and slope > 0.0) or (x <= 0.0 and slope < 0.0):
            # At rest, or at the bound ahead; the least motion still counts.
            return unit(x + left * slope)
        h = min(left, _MOST / abs(slope))
        ahead = rate(unit(x + h * slope))
        while abs(ahead - slope) * h > 2.0 * _ERROR and h * abs(slope) > _REST:
            h *= 0.4
            ahead = rate(unit(x + h * slope))
        if slope * ahead < 0.0:  # driven from both sides to somewhere between, nearer than _ERROR
            return unit(x + h * slope * slope / (slope - ahead))
        x, left = unit(x + 0.5 * h * (slope + ahead)), left - h
        if left <= 0.0:
            return x
        slope = rate(x)
    return None
