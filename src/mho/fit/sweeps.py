"""Voltage sweeps: cut into cycles, in time, out and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mho.core import checks, intake
from mho.fit.calibration import Array, vector

_REST = 0.03  # of the largest voltage: below, a sweep has no polarity
_LEAST = 8  # samples of a cycle


@dataclass(frozen=True)
class Excursion:
    """From rest to a voltage and back, within one sweep.

    Attributes:
        sign: of the voltage, +1 or -1.
        out: indices of the samples on the way out.
        back: indices of the samples on the way back, the farthest one included.
    """

    sign: int
    out: slice
    back: slice


@dataclass(frozen=True)
class Sweeps:
    """Cycles of one cell, one after the other, in columns of one length.

    Attributes:
        voltage: ``[samples, cycles]`` (V); short cycles stay at their last one.
        current: ``[samples, cycles]`` (A); 0 there.
        seconds: from each sample to the next, ``[samples, cycles]`` (s); 0 there.
        measured: which entries are samples.
        timed: whether the times were measured, not made of a rate.
    """

    voltage: Array
    current: Array
    seconds: Array
    measured: npt.NDArray[np.bool_]
    timed: bool

    @property
    def cycles(self) -> int:
        """How many."""
        return self.voltage.shape[1]

    @property
    def rate(self) -> float:
        """Mean rate of the sweeps (V/s): the way of the voltage over the time it took."""
        return float(np.abs(np.diff(self.voltage, axis=0)).sum() / self.seconds.sum())

    @property
    def lengths(self) -> list[int]:
        """Samples of every cycle."""
        lengths: list[int] = self.measured.sum(axis=0).tolist()
        return lengths

    def cycle(self, k: int) -> tuple[Array, Array]:
        """Return voltages and currents of one cycle."""
        n = self.lengths[k]
        return self.voltage[:n, k], self.current[:n, k]

    def only(self, cycles: Sequence[int], every: int = 1) -> Sweeps:
        """Return some cycles, every so many samples of them."""
        at = np.asarray(cycles, int)
        # What was skipped takes its time, too.
        total = np.add.reduceat(self.seconds[:, at], np.arange(0, len(self.seconds), every), axis=0)
        return Sweeps(
            self.voltage[::every, at],
            self.current[::every, at],
            total,
            self.measured[::every, at],
            self.timed,
        )


def sweeps(
    voltage: Any,
    current: Any,
    *,
    time: Any = None,
    rate: float | None = None,
    cycle: Any = None,
) -> Sweeps:
    """Return measured cycles in one form.

    Args:
        voltage: (V), one after the other, or one array a cycle (a sequence or rows).
        current: (A), likewise.
        time: (s), likewise, increasing within a cycle.
        rate: of the voltage (V/s) where there are no times.
        cycle: of every sample, a number or a name; where not given, a cycle begins wherever the
            voltage takes up the polarity again that it began with.

    Raises:
        ValueError: if the lengths differ, a cycle is too short, or times do not increase.
    """
    volts, amps = _parts("voltage", voltage), _parts("current", current)
    times = _parts("time", time) if time is not None else None
    for name, other in (("current", amps), ("time", times)):
        if other is not None and [len(p) for p in other] != [len(p) for p in volts]:
            found, wanted = sum(map(len, other)), sum(map(len, volts))
            raise ValueError(f"{name} and voltage must be as many, got {found} and {wanted}")
    if time is not None and rate is not None:
        raise ValueError("rate must not be given with time: they would say two things")
    if cycle is not None and len(volts) > 1:
        raise ValueError("cycle must not be given where every cycle is an array of its own")
    if len(volts) == 1:
        cuts = _cuts(volts[0], cycle)
        volts, amps = np.split(volts[0], cuts), np.split(amps[0], cuts)
        times = np.split(times[0], cuts) if times is not None else None
    for k, part in enumerate(volts):
        if len(part) < _LEAST:
            raise ValueError(
                f"every cycle must have at least {_LEAST} samples, cycle {k + 1} has {len(part)}"
            )
    if rate is not None:
        rate = checks.number("rate", rate, above=0.0)
    seconds = [
        _seconds(part, None if times is None else times[k], rate or 1.0, k)
        for k, part in enumerate(volts)
    ]
    return _packed(volts, amps, seconds, timed=times is not None)


def whole(voltage: Array, current: Array) -> Sweeps:
    """Return samples as one sweep, whatever they go through, without times."""
    return _packed([voltage], [current], [np.zeros_like(voltage)], timed=False)


def applied(voltage: Any, *, time: Any = None, rate: float = 1.0) -> Sweeps:
    """Return one sweep that is to be simulated: any course of voltages, without currents.

    Args:
        voltage: (V), ``[samples]``, at least 2.
        time: of the samples (s), increasing.
        rate: of the voltage (V/s) where there are no times.

    Raises:
        ValueError: if it is not one sweep, or times do not increase.
    """
    parts = _parts("voltage", voltage)
    if len(parts) != 1 or np.ndim(voltage) != 1 or len(parts[0]) < 2:
        raise ValueError(
            "voltage must be one sweep, [samples], of at least 2 samples, got an array of shape "
            f"{tuple(np.shape(voltage))}"
        )
    volts = parts[0]
    times = vector("time", time) if time is not None else None
    if times is not None and len(times) != len(volts):
        raise ValueError(f"time and voltage must be as many, got {len(times)} and {len(volts)}")
    seconds = _seconds(volts, times, rate, 0)
    return _packed([volts], [np.zeros_like(volts)], [seconds], timed=times is not None)


def excursions(voltage: Array) -> list[Excursion]:
    """Return the excursions of one sweep, in order.

    A sweep that begins away from 0 V, as from -V to V and back, has its first way out last.

    Args:
        voltage: of the sweep (V).
    """
    rest = _REST * float(np.abs(voltage).max(initial=0.0))
    sign = np.where(voltage > rest, 1, np.where(voltage < -rest, -1, 0))
    found = []
    edges = [0, *(np.flatnonzero(np.diff(sign)) + 1).tolist(), len(voltage)]
    for start, stop in pairwise(edges):
        if sign[start] == 0 or stop - start < 3:
            continue
        peak = start + int(np.abs(voltage[start:stop]).argmax())
        found.append(Excursion(int(sign[start]), slice(start, peak + 1), slice(peak, stop)))
    return found


def rested(voltage: Array) -> npt.NDArray[np.intp]:
    """Return the order of the samples in which a closed sweep begins nearest to 0 V."""
    order = np.arange(len(voltage))
    most = float(np.abs(voltage).max(initial=0.0))
    closed = abs(voltage[0] - voltage[-1]) <= 0.1 * most
    if abs(voltage[0]) <= 0.1 * most or not closed:
        return order
    return np.roll(order, -int(np.abs(voltage).argmin()))


def _parts(name: str, values: Any) -> list[Array]:
    # One array a cycle, where values are rows or a sequence of arrays; else one array of all.
    if isinstance(values, list | tuple):  # cycles may differ in length
        nested = len(values) > 0 and not any(intake.is_number(part) for part in values)
    else:
        values = intake.array(name, values)
        nested = values.ndim > 1
    return [vector(name, part) for part in values] if nested else [vector(name, values)]


def _cuts(voltage: Array, cycle: Any) -> list[int]:
    if cycle is not None:
        label = intake.labels(cycle)
        if len(label) != len(voltage):
            raise ValueError(
                f"cycle and voltage must be as many, got {len(label)} and {len(voltage)}"
            )
        cuts = np.flatnonzero(label[1:] != label[:-1]) + 1
        if len(cuts) + 1 != len(np.unique(label)):
            raise ValueError("cycle must not come back to an earlier one: samples go in order")
        found: list[int] = cuts.tolist()
        return found
    parts = excursions(voltage)
    signs = [part.sign for part in parts]
    alike = len(set(signs)) == 1
    return [
        parts[k].out.start
        for k in range(1, len(parts))
        if signs[k] == signs[0]
        and (alike or signs[k - 1] != signs[0])
        and abs(voltage[0]) <= 0.1 * np.abs(voltage).max()
    ]


def _seconds(voltage: Array, time: Array | None, rate: float, k: int) -> Array:
    if time is not None:
        steps = np.diff(time)
        if (steps <= 0.0).any():
            raise ValueError(f"time must increase within a cycle, it does not in cycle {k + 1}")
        return np.append(steps, 0.0)
    # A sample repeated at a turn took its time, too.
    moved = np.abs(np.diff(voltage))
    usual = float(np.median(moved[moved > 0.0])) if moved.any() else 0.0
    if usual == 0.0:
        raise ValueError(f"voltage must be swept, it is {voltage[0]:g} V all over cycle {k + 1}")
    return np.append(np.where(moved > 0.0, moved, usual) / rate, 0.0)


def _packed(volts: list[Array], amps: list[Array], seconds: list[Array], *, timed: bool) -> Sweeps:
    longest = max(map(len, volts))

    def column(parts: list[Array], rest: list[float]) -> Array:
        return np.stack(
            [
                np.append(part, np.full(longest - len(part), end))
                for part, end in zip(parts, rest, strict=True)
            ],
            axis=1,
        )

    nothing = [0.0] * len(volts)
    measured = np.arange(longest)[:, None] < np.array([len(part) for part in volts])
    return Sweeps(
        column(volts, [float(part[-1]) for part in volts]),
        column(amps, nothing),
        column(seconds, nothing),
        measured,
        timed,
    )
