"""Programming with pulses of fixed voltages, device by device or all at once."""
# ruff: noqa: N999

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.circuit import half_select
from mho.compat._common import real, require, truth, whole
from mho.compat.memtorch.bh.crossbar._cells import CellTensors
from mho.compat.memtorch.bh.crossbar._views import conductance_of
from mho.compat.memtorch.bh.memristor.Memristor import Signal
from mho.devices import SwitchingCells, simulation
from mho.devices.diffusion import fold

__all__ = ["gen_programming_signal", "naive_program"]

_WHOLE = 1e-9  # how far a number of samples may be from a whole one
_LONGEST = 2.0**40  # pulses in one burst
_ENOUGH, _STILL = 2.0**16, 1e-3  # pulses that move a cell by less of its tolerance: it is given up
_CHECK_TIME = 32  # rounds between looks at the clock


def naive_program(
    crossbar: CellTensors,
    point: tuple[int, ...],
    conductance: float,
    rel_tol: float = 0.01,
    pulse_duration: float = 1e-3,
    refactory_period: float = 0,
    pos_voltage_level: float = 1.0,
    neg_voltage_level: float = -1.0,
    timeout: float = 5,
    force_adjustment: float = 1e-3,
    force_adjustment_rel_tol: float = 1e-1,
    force_adjustment_pos_voltage_threshold: float = 0,
    force_adjustment_neg_voltage_threshold: float = 0,
    failure_iteration_threshold: int = 1000,
    simulate_neighbours: bool = True,
) -> Any:
    """Program one device with pulses of fixed voltages until it holds a conductance.

    The pulse that moves the device towards the conductance is given: positive or negative, as
    the model says. A device that was carried past it is turned back with pulses half as long, and
    so on, so that devices that switch within a pulse are programmed too. (In a passive array half
    of every pulse's voltage is on the neighbours in the same row and in the same column.)

    Args:
        crossbar: the crossbar.
        point: of the device: row and column, or tile, row and column.
        conductance: to program (S).
        rel_tol: error allowed, as a part of the conductance.
        pulse_duration: of a pulse (s); a multiple of the device's time resolution.
        refactory_period: pause after a pulse (s); nothing happens in it.
        pos_voltage_level: of positive pulses (V).
        neg_voltage_level: of negative pulses (V).
        timeout: seconds of computing after which the device is given up.
        force_adjustment: what a device stuck near a bound is moved by (S), at most half the way.
        force_adjustment_rel_tol: how near the bound's conductance it must be, relatively.
        force_adjustment_pos_voltage_threshold: positive pulses of at least this voltage (V) free.
        force_adjustment_neg_voltage_threshold: negative pulses of at most this voltage (V) free.
        failure_iteration_threshold: rounds after which the device is given up, and pulses in
            which a device must arrive at its present pace not to count as stuck.
        simulate_neighbours: whether neighbours feel half of each pulse.

    Returns:
        The programmed device.

    Raises:
        Refused: if the conductance is outside the device's window, or the durations do not fit.

    Warns:
        RuntimeWarning: if the device was given up.
    """
    pulses = SimpleNamespace(**locals())
    point = tuple(map(int, point))
    device, target = crossbar.devices[point], float(conductance)
    low, high = 1.0 / device.r_off, 1.0 / device.r_on
    require(
        low * (1 - 1e-6) <= target <= high * (1 + 1e-6),
        f"conductance must be in [{low:g}, {high:g}] S, got {target:g}",
    )
    _check(pulses, float(device.time_series_resolution))
    if not crossbar.per_device:
        chosen = torch.zeros_like(crossbar.conductance_matrix, dtype=torch.bool)
        chosen[point] = True
        goal = torch.full_like(chosen, target, dtype=torch.float64)
        _program_cells(crossbar, goal, (chosen,), pulses)
    elif crossbar.stuck is None or not bool(crossbar.stuck[point]):
        _program_object(crossbar, point, target, pulses)
    return device


def program_all(crossbar: CellTensors, target: Tensor, **params: Any) -> None:
    """Program all cells of a crossbar to conductances (S), of its tensors' shape.

    All are pulsed at once, unless half of a pulse moves some neighbour: then it is one after the
    other. ``params`` are those of `naive_program`.
    """
    given = inspect.signature(naive_program).bind(crossbar, (), target, **params)
    given.apply_defaults()
    pulses = SimpleNamespace(**given.arguments)
    _check(pulses, float(crossbar.time_series_resolution))
    used = crossbar.used
    turns: Any = (used,)
    if pulses.simulate_neighbours and _disturbs(crossbar.cells(), pulses):
        places = used.flatten().nonzero().flatten()
        turns = (torch.zeros_like(used).view(-1).index_fill(0, i, 1).view_as(used) for i in places)
    else:
        pulses.simulate_neighbours = False
        pulses.timeout *= int(used.sum())
    _program_cells(crossbar, target.double(), turns, pulses)


def _check(pulses: Any, resolution: float) -> None:
    pulses.simulate_neighbours = truth("simulate_neighbours", pulses.simulate_neighbours)
    positive, negative = pulses.pos_voltage_level, pulses.neg_voltage_level
    require(pulses.rel_tol > 0, f"rel_tol must be > 0, got {pulses.rel_tol!r}")
    require(positive > 0, f"pos_voltage_level must be > 0, got {positive!r}")
    require(negative < 0, f"neg_voltage_level must be < 0, got {negative!r}")
    _samples(pulses.pulse_duration, pulses.refactory_period, resolution)
    pulses.frees = (
        positive >= pulses.force_adjustment_pos_voltage_threshold
        or negative <= pulses.force_adjustment_neg_voltage_threshold
    )


def _disturbs(cells: SwitchingCells, pulses: Any) -> bool:
    """Whether half of a pulse moves some cell in some state."""
    p, part = cells._values(), half_select.parts("V/2").row
    states = torch.stack([torch.full_like(cells.x, state) for state in (0.1, 0.5, 0.9)])
    halves = part * pulses.pos_voltage_level, part * pulses.neg_voltage_level
    drives = (cells.spec.drive(torch.full_like(cells.x, half), p) for half in halves)
    return any(bool((cells.spec.rate(states, drive, p) != 0.0).any()) for drive in drives)


def _program_cells(crossbar: Any, goal: Tensor, turns: Iterable[Tensor], pulses: Any) -> None:
    """Program the cells of one mask after the other; warn of those that do not hold their goals."""
    cells = crossbar.cells()
    start, asked = cells.x.clone(), torch.zeros_like(goal, dtype=torch.bool)
    for chosen in turns:
        _program(crossbar, cells, goal, chosen, pulses)
        asked |= chosen
    wrong = (cells.conductance() - goal).abs() > pulses.rel_tol * goal
    _warn(int((asked & wrong).sum()), pulses)
    crossbar.take(cells, cells.x != start)


@torch.no_grad()
def _program(crossbar: Any, cells: Any, goal: Tensor, chosen: Tensor, pulses: Any) -> None:
    """Pulse the chosen cells until each is at its goal or given up.

    Pulses come in bursts: a burst that stays on its side of the goal is followed by one twice as
    long, one that does not is undone and halved, down to a single pulse, which stands. So every
    cell has had the very pulses that verifying after each one would have given.
    """
    if crossbar.stuck is not None:
        chosen = chosen & ~crossbar.stuck
    levels = pulses.pos_voltage_level, pulses.neg_voltage_level
    up_level, down_level = levels[:: cells.spec.set_polarity]
    tolerance = pulses.rel_tol * goal
    burst, part = torch.ones_like(goal), torch.ones_like(goal)
    upward = cells.conductance() < goal
    stop = time.monotonic() + pulses.timeout
    hopeless = torch.zeros_like(chosen)
    rounds = int(pulses.failure_iteration_threshold)
    for turn in range(rounds):
        g = cells.conductance()
        open_ = chosen & ~hopeless & ((g - goal).abs() > tolerance)
        late = turn % _CHECK_TIME == _CHECK_TIME - 1 and time.monotonic() > stop
        if late or not bool(open_.any()):
            break
        up = g < goal
        turned = open_ & (up != upward)  # a single pulse has carried these past their goals
        part, burst = torch.where(turned, 0.5 * part, part), torch.where(turned, 1.0, burst)
        upward = up
        before = cells.x.clone()
        seconds = torch.where(open_, pulses.pulse_duration * part * burst, 0.0)
        volts = torch.where(up, up_level, down_level).to(seconds)
        _pulse(cells, volts, seconds)
        after = cells.conductance()
        passed = torch.where(up, after > goal + tolerance, after < goal - tolerance) & open_
        undone = passed & (burst > 1.0)
        cells.x = torch.where(undone, before, cells.x)
        pace = (after - g).abs() / burst
        slow = open_ & ~passed & (pace * rounds < (goal - g).abs())
        _free(cells, slow, goal, crossbar._window(), pulses)
        if pulses.simulate_neighbours:
            _half_select(cells, open_ & ~undone, volts, seconds)
        still = (cells.conductance() - g).abs() < _STILL * tolerance
        hopeless |= open_ & ~passed & still & (burst >= _ENOUGH)
        burst = torch.where(undone, 0.5 * burst, torch.where(passed, 1.0, 2.0 * burst))
        burst = burst.clamp(1.0, _LONGEST)


def _warn(count: int, pulses: Any) -> None:
    if count:
        message = f"not programmed to rel_tol={pulses.rel_tol:g}: given up, or disturbed"
        warnings.warn(f"{count} device(s) {message}", RuntimeWarning, stacklevel=5)


def _free(cells: SwitchingCells, slow: Tensor, goal: Tensor, window: Any, pulses: Any) -> None:
    """Move cells that are stuck near a bound of their window away from it."""
    if not pulses.frees or not bool(slow.any()):
        return
    g = cells.conductance()
    share = pulses.force_adjustment_rel_tol
    low, high = ((g - bound).abs() <= share * torch.maximum(g, bound) for bound in window)
    step = (0.5 * (goal - g)).clamp(-pulses.force_adjustment, pulses.force_adjustment)
    moved = cells.spec.state_at(g + step, cells._values())
    cells.x = torch.where(slow & (low | high), moved.clamp(0.0, 1.0), cells.x)


def _half_select(cells: SwitchingCells, pulsed: Tensor, volts: Tensor, seconds: Tensor) -> None:
    """Put half of a pulse on the cells in the row and in the column of the one that had it."""
    if bool(pulsed.any()):
        over = half_select.seen(torch.where(pulsed, volts, 0.0), "V/2")
        neighbours = (over != 0.0) & ~pulsed
        _pulse(cells, over, torch.where(neighbours, seconds[pulsed].max(), 0.0))


def _pulse(cells: SwitchingCells, volts: Tensor, seconds: Tensor) -> None:
    """Pulse the cells; noise is one kick a pulse, as it is one a sample of single devices."""
    if not cells.spec.stochastic:
        cells.apply_pulse(volts, seconds)
        return
    spec, p = cells.spec, cells._values()
    x = simulation.hold(spec.replace(delta_gap=0.0), p, cells.x, volts, seconds, None)
    kick = spec.diffusion(x, spec.drive(volts, p), p) * seconds.sqrt()
    cells.x = torch.where(seconds > 0.0, fold(x + kick * torch.randn_like(x)), cells.x)


def _program_object(crossbar: CellTensors, point: Any, target: float, pulses: Any) -> None:
    """Program a user's own device by its ``simulate``, trying which polarity raises it."""
    device, parts = crossbar.devices[point], _parts(crossbar, point, pulses)
    samples = max(round(pulses.pulse_duration / float(device.time_series_resolution)), 1)
    raising, known = True, False  # whether positive pulses raise it, and whether that was seen
    stop = time.monotonic() + pulses.timeout
    for _ in range(int(pulses.failure_iteration_threshold)):
        before = conductance_of(device)
        if abs(before - target) <= pulses.rel_tol * target or time.monotonic() > stop:
            break
        up = before < target
        level = pulses.pos_voltage_level if up == raising else pulses.neg_voltage_level
        for place, part in parts:
            crossbar.devices[place].simulate(np.full(samples, part * level))
        after = conductance_of(device)
        if not known and (after < before if up else after > before):  # the wrong way
            raising, known = not raising, True
        elif (after < target) != up:
            samples, known = max(samples // 2, 1), True
        elif after == before and pulses.frees:
            near = min(abs(before * r - 1) for r in (float(device.r_on), float(device.r_off)))
            if near <= pulses.force_adjustment_rel_tol:
                most = pulses.force_adjustment
                device.set_conductance(before + min(max(0.5 * (target - before), -most), most))
            raising = raising if known else not raising
    _warn(int(abs(conductance_of(device) - target) > pulses.rel_tol * target), pulses)


def _parts(crossbar: CellTensors, point: tuple[int, ...], pulses: Any) -> Any:
    """Return which devices see which part of a pulse: the one at a point, then its neighbours."""
    if not pulses.simulate_neighbours:
        return [(point, 1.0)]
    pulsed = torch.zeros(crossbar.devices.shape, dtype=torch.float64)
    pulsed[point] = 1.0
    parts = half_select.seen(pulsed, "V/2")
    others = [tuple(place) for place in parts.nonzero().tolist() if tuple(place) != point]
    return [(point, 1.0), *((place, float(parts[place])) for place in others)]


def gen_programming_signal(
    number_of_pulses: int,
    pulse_duration: float,
    refactory_period: float,
    voltage_level: float,
    time_series_resolution: float,
) -> tuple[Signal, Signal]:
    """Make a signal of equal pulses, each followed by a pause.

    Args:
        number_of_pulses: how many.
        pulse_duration: of a pulse (s), a multiple of the resolution.
        refactory_period: pause after each pulse (s), likewise.
        voltage_level: of the pulses (V).
        time_series_resolution: time between two samples (s).

    Returns:
        Times (s) and voltages (V), of one length.

    Raises:
        Refused: if the durations are no multiples of the resolution.
    """
    on, off = _samples(pulse_duration, refactory_period, time_series_resolution)
    count = whole("number_of_pulses", number_of_pulses)
    voltage = np.tile(np.concatenate((np.full(on, float(voltage_level)), np.zeros(off))), count)
    return float(time_series_resolution) * np.arange(len(voltage), dtype=np.float64), voltage


def _samples(duration: Any, pause: Any, resolution: Any) -> tuple[int, int]:
    """Return how many samples a pulse and a pause are."""
    step, counts = real("time_series_resolution", resolution), []
    require(step > 0, f"time_series_resolution must be > 0, got {resolution!r}")
    for name, seconds in (("pulse_duration", duration), ("refactory_period", pause)):
        count = real(name, seconds, least=0.0) / step
        fits = abs(count - round(count)) <= _WHOLE * max(1.0, count)
        require(
            fits, f"{name} must be a multiple of time_series_resolution={step:g}, got {seconds}"
        )
        counts.append(round(count))
    return counts[0], counts[1]
