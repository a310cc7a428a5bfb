"""What the demo varies: one property of the chip at a time, all others as on the base chip."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import torch
from torch import Tensor, nn
from tqdm import tqdm

import mho
from mho.core.text import duration
from mho.demo.data import Samples
from mho.demo.train import accuracy
from mho.study import over_chips

MINUTE, HOUR, DAY, MONTH, YEAR = 60.0, 3600.0, 86_400.0, 2_592_000.0, 31_557_600.0
CORES = min(os.cpu_count() or 1, 8)
_SAMPLES = 100  # to calibrate with


def chip(adc_bits: int = 8, stuck: float = 0.01, write: float = 0.02) -> mho.Hardware:
    """Describe the demo's hardware; the defaults are the base chip.

    Args:
        adc_bits: resolution of the converters at the bit lines.
        stuck: fraction of broken cells, half of them stuck low and half stuck high.
        write: standard deviation of a programmed conductance, relative to the window.
    """
    return mho.Hardware(
        device=mho.devices.LinearDevice(g_min=1e-6, g_max=100e-6),
        encoding=mho.encoding.Differential(),
        array=mho.Array(rows=64, cols=64),
        dac=mho.DAC(bits=8),
        adc=mho.ADC(bits=adc_bits),
        effects=(
            mho.effects.StuckAt(low=stuck / 2, high=stuck / 2),
            mho.effects.WriteNoise(sigma=write),
            mho.effects.PowerLawDrift(nu=0.06, nu_spread=0.02, t0=1.0),
            mho.effects.ReadNoise(sigma=0.005),
        ),
    )


@dataclass(frozen=True)
class Sweep:
    """One property of the chip, and the values it takes.

    Attributes:
        name: for people.
        title: of the panel it is drawn in; sweeps of one title share it.
        axis: label of the x axis, with its unit.
        values: in SI units.
        text: a value as people write it.
        hardware: the chip for one value; None for time, which passes on the base chip.
        per_axis: units of the x axis per unit of the values.
        falling: whether smaller values harm.
        recalibrated: whether chips are calibrated anew before every test.
    """

    name: str
    title: str
    axis: str
    values: tuple[float, ...]
    text: Callable[[float], str]
    hardware: Callable[[float], mho.Hardware] | None = None
    per_axis: float = 1.0
    falling: bool = False
    recalibrated: bool = False


def _percent(value: float) -> str:
    return f"{100 * value:g} %"


ADC_BITS = Sweep(
    name="ADC resolution",
    title="ADC resolution",
    axis="ADC resolution (bits)",
    values=(2, 3, 4, 5, 6, 7, 8),
    text=lambda value: f"{value:g} bits",
    hardware=lambda value: chip(adc_bits=int(value)),
    falling=True,
)
STUCK = Sweep(
    name="stuck cells",
    title="Stuck cells",
    axis="stuck cells (% of all)",
    values=(0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.10),
    text=_percent,
    hardware=lambda value: chip(stuck=value),
    per_axis=100.0,
)
WRITE_NOISE = Sweep(
    name="write noise",
    title="Write noise",
    axis="write noise σ (% of conductance window)",
    values=(0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25),
    text=_percent,
    hardware=lambda value: chip(write=value),
    per_axis=100.0,
)
TIME = Sweep(
    name="time",
    title="Time after programming",
    axis="time after programming",
    values=(1.0, MINUTE, HOUR, DAY, MONTH, YEAR, 10 * YEAR),
    text=duration,
)
TIME_RECALIBRATED = replace(TIME, name="time, recalibrated", recalibrated=True)
SWEEPS = (ADC_BITS, STUCK, WRITE_NOISE, TIME, TIME_RECALIBRATED)


def shorter(sweep: Sweep, count: int) -> Sweep:
    """Return the sweep with ``count`` of its values, ends included."""
    last = len(sweep.values) - 1
    chosen = tuple(sweep.values[round(i * last / (count - 1))] for i in range(count))
    return replace(sweep, values=chosen)


def measure(
    model: nn.Module, sweep: Sweep, data: Samples, seeds: Sequence[int], bar: tqdm[NoReturn]
) -> Tensor:
    """Return accuracies ``[chips, values]`` of a digital model put on crossbars.

    Args:
        model: trained, digital.
        sweep: what to vary.
        data: to calibrate and to test with.
        seeds: one chip each.
        bar: of progress; moved on by one for every value.
    """
    if sweep.hardware is None:
        bar.set_description(sweep.name)
        found = over_chips(
            mho.convert(model, chip()), _as_time_passes(sweep, data), seeds, workers=CORES
        )
        bar.update(len(sweep.values))
        return found
    columns = []
    for value in sweep.values:
        bar.set_description(f"{sweep.name}, {sweep.text(value)}")
        columns.append(on_chips(model, sweep.hardware(value), data, seeds))
        bar.update()
    return torch.stack(columns, dim=1)


def on_chips(
    model: nn.Module, hardware: mho.Hardware, data: Samples, seeds: Sequence[int]
) -> Tensor:
    """Return accuracies ``[chips]`` of a digital model on calibrated chips of some hardware."""

    def evaluate(chip: nn.Module) -> float:
        _calibrate(chip, data)
        return accuracy(chip, data)

    return over_chips(mho.convert(model, hardware), evaluate, seeds, workers=CORES)


def _as_time_passes(sweep: Sweep, data: Samples) -> Callable[[nn.Module], list[float]]:
    def evaluate(chip: nn.Module) -> list[float]:
        _calibrate(chip, data)
        found, now = [], 0.0
        for stop in sweep.values:
            mho.age(chip, stop - now)
            now = stop
            if sweep.recalibrated:
                _calibrate(chip, data)
            found.append(accuracy(chip, data))
        return found

    return evaluate


def _calibrate(chip: nn.Module, data: Samples) -> None:
    mho.calibrate(chip, data.train_x[:_SAMPLES])
