"""The four pictures of a device's card, by the family it is of.

Every picture is drawn by a function of the device, the Axes and the seed of the populations drawn.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import torch
from torch import Tensor

from mho.cells.device import Device
from mho.devices.mtj import MTJ
from mho.devices.pulsed import PulsedDevice
from mho.devices.statistical import StatisticalDevice
from mho.devices.switching import SwitchingDevice
from mho.devices.tabular import TabularDevice
from mho.plot.pulsed import delta_g, jump_table, pulse_response
from mho.plot.statistical import drift_over_time, programming_error
from mho.plot.styles import BLUE, COLOURS, GREY, ORANGE, quantity, unit
from mho.plot.switching import bipolar_switching, hysteresis_loop

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRIED = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)  # V
_SWEEPS = (1e-3, 1.0)  # s
_PULSES, _STEPS = 30, 160


def pictures(device: Device) -> tuple[Any, Any, Any, Any]:
    """Return what draws the four pictures of a device: functions of it, Axes and a seed."""
    if isinstance(device, SwitchingDevice):
        return _loop, _switching, _pulses, _currents
    if isinstance(device, TabularDevice):
        return _response, _delta, _set_table, _alternating
    if isinstance(device, PulsedDevice):
        return _response, _delta, _alternating, _currents
    if isinstance(device, StatisticalDevice):
        return _drift, _error, _read_noise, _currents
    if isinstance(device, MTJ):
        return _probability, _magnetic_loop, _tmr, _currents
    return _currents, _written, _windows if device.spreads() else _blank, _blank


# ---- voltage-driven ------------------------------------------------------------------------------


@functools.lru_cache(maxsize=2)  # a card asks for it thrice
def _drive(device: SwitchingDevice) -> tuple[float, float, float]:
    # Least voltages that set and reset a cell in one sweep's quarter, and the sweep's time.
    low, high = device.window
    best = (0.0, _TRIED[-1], _TRIED[-1], _SWEEPS[-1])
    for sweep in _SWEEPS:
        found = []
        for sign, start in ((1, low), (-1, high)):
            for v in _TRIED:
                moved = _moved(device, start, sign * v, sweep / 10)
                if moved > 0.6:
                    break
            found.append((moved, v))
        worst = min(found[0][0], found[1][0])
        if worst > best[0]:
            best = (worst, found[0][1], found[1][1], sweep)
        if worst > 0.6:
            break
    return best[1:]


def _quiet(device: SwitchingDevice) -> SwitchingDevice:
    # Sweeps are drawn without random terms: they show the law.
    return device.replace(delta_gap=0.0) if device.stochastic else device


@functools.lru_cache(maxsize=2)
def _sweep(device: SwitchingDevice) -> tuple[Tensor, Tensor, float]:
    device = _quiet(device)
    set_v, reset_v, time = _drive(device)
    quarter = torch.linspace(0.0, 1.0, _STEPS // 4 + 1, dtype=torch.float64)[:-1]
    up = torch.cat([quarter, 1.0 - quarter])
    volts = device.set_polarity * torch.cat([set_v * up, -reset_v * up, torch.zeros(1)])
    cells = device.fabricate((1,), dtype=torch.float64)
    cells.write(torch.tensor(device.window[0]))
    currents = []
    for v in volts.tolist():
        cells.apply_pulse(v, time / _STEPS)  # type: ignore[operator]
        currents.append(cells.current(v))
    return volts, torch.stack(currents), time


def _loop(device: SwitchingDevice, ax: Axes, seed: int) -> None:
    volts, currents, time = _sweep(device)
    hysteresis_loop(volts, currents, ax=ax)
    ax.set_title(f"hysteresis, one sweep in {quantity(time, 's')}")


def _switching(device: SwitchingDevice, ax: Axes, seed: int) -> None:
    volts, currents, _ = _sweep(device)
    bipolar_switching(volts, currents, ax=ax)
    ax.set_title("switching, log |I|")


def _moved(device: SwitchingDevice, start: float, v: float, seconds: float) -> float:
    # How far, of its whole range, a pulse moves a cell; the sign of v is towards set.
    cells = device.fabricate((1,), dtype=torch.float64)
    cells.write(torch.tensor(start))
    before = float(cells.x)  # type: ignore[arg-type]
    cells.apply_pulse(device.set_polarity * v, seconds)  # type: ignore[operator]
    return abs(float(cells.x) - before)  # type: ignore[arg-type]


def _pulses(device: SwitchingDevice, ax: Axes, seed: int) -> None:
    quiet = _quiet(device)
    set_v, reset_v, time = _drive(quiet)
    cells = quiet.fabricate((20 if device.spreads() else 1,), seed=seed, dtype=torch.float64)
    cells.write(torch.tensor(device.window[0]))
    halves, told = [], []
    for v, start in ((set_v, device.window[0]), (-reset_v, device.window[1])):
        # The longest pulses of which the first moves a cell only a little.
        widths = time / 10 * np.logspace(0, -9, 19)
        width = next((w for w in widths if _moved(quiet, start, v, w) < 0.12), widths[-1])
        trace = [cells.conductance().clone()]
        for _ in range(_PULSES):
            cells.apply_pulse(v * device.set_polarity, width)  # type: ignore[operator]
            trace.append(cells.conductance().clone())
        halves.append(torch.stack(trace, dim=-1).numpy())
        told.append(f"{v * device.set_polarity:g} V {quantity(float(f'{width:.2g}'), 's')}")
    pulse_response(halves, ax=ax)
    ax.set_title(f"pulses: {', '.join(told)}")


def _currents(device: Device, ax: Axes, seed: int) -> None:
    # Of five states; ohmic cells and curved ones alike.
    low, high = device.window
    reach = 0.3 if isinstance(device, (SwitchingDevice, MTJ)) else 0.2
    v = torch.linspace(-reach, reach, 61, dtype=torch.float64)
    states = torch.linspace(low, high, 2 if isinstance(device, MTJ) else 5, dtype=torch.float64)
    cells = device.fabricate((len(states),), seed=seed, dtype=torch.float64)
    cells.write(states)
    current = torch.stack([cells.current(float(x)) for x in v]).numpy()
    size, letter = unit(float(np.abs(current).max()))
    g_size, g_letter = unit(high)
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(states)))
    for k, g in enumerate(cells.conductance().tolist()):
        label = f"{g / g_size:.3g} {g_letter}S"
        ax.plot(v, current[:, k] / size, color=shades[k], label=label)
    ax.set(xlabel="voltage (V)", ylabel=f"current ({letter}A)", title="read current by state")
    ax.legend(fontsize="small")


# ---- pulse-count ---------------------------------------------------------------------------------


def _train(device: PulsedDevice) -> int:
    # Set pulses that take a cell through most of its window, 10…1000.
    low, high = device.window
    cells = device.fabricate((50,), dtype=torch.float64)
    cells.write(torch.tensor(low))
    for count in (10, 20, 50, 100, 200, 500, 1000):
        cells.pulse(count - int(cells.writes.max()))  # type: ignore[operator]
        if float(cells.conductance().mean()) > low + 0.8 * (high - low):
            break
    return count


def _response(device: PulsedDevice, ax: Axes, seed: int) -> None:
    pulses = int(getattr(device, "levels", 0)) or _train(device)
    cells = device.fabricate((12,), seed=seed, dtype=torch.float64)
    cycles = 4 if pulses <= 200 else 1
    pulse_response(cells.respond(pulses, cycles=cycles).numpy(), ax=ax)  # type: ignore[operator]
    ax.set_title(f"pulse response, 12 cells, {cycles} cycle{'s' if cycles > 1 else ''}")


def _delta(device: PulsedDevice, ax: Axes, seed: int) -> None:
    delta_g(device, seed=seed, ax=ax)
    ax.set_title("jump of one pulse")


def _set_table(device: TabularDevice, ax: Axes, seed: int) -> None:
    inside = ax.inset_axes((1.02, 0.0, 0.28, 1.0), sharey=ax)
    jump_table(device.set_table, axes=(ax, inside))
    inside.tick_params(labelleft=False)
    _without_legend(inside)


def _alternating(device: PulsedDevice, ax: Axes, seed: int) -> None:
    low, high = device.window
    cells = device.fabricate((100,), seed=seed, dtype=torch.float64)
    size, letter = unit(high)
    train = _train(device)
    pairs, pulses = min(2 * train, 60), max(train // 30, 1)
    for start, colour, label in ((high, ORANGE, "from the top"), (low, BLUE, "from the bottom")):
        cells.write(torch.tensor(start))
        trace = [cells.conductance().clone()]
        for _ in range(pairs):
            cells.pulse(pulses)  # type: ignore[operator]
            cells.pulse(-pulses)  # type: ignore[operator]
            trace.append(cells.conductance().clone())
        bands = np.quantile(torch.stack(trace).numpy(), [0.05, 0.5, 0.95], axis=1) / size
        x = np.arange(pairs + 1)
        ax.fill_between(x, bands[0], bands[2], color=colour, alpha=0.2, linewidth=0)
        ax.plot(x, bands[1], color=colour, label=label)
    ax.set(xlabel=f"times {pulses} set, {pulses} reset", ylabel=f"conductance ({letter}S)")
    ax.set_title("set and reset by turns")
    ax.legend(fontsize="small")


# ---- statistical ---------------------------------------------------------------------------------


def _drift(device: StatisticalDevice, ax: Axes, seed: int) -> None:
    drift_over_time(device, cells=200, points=40, seed=seed, ax=ax)
    _without_legend(ax)  # the targets are where the curves begin
    ax.set_title("drift, median and 90 %")


def _error(device: StatisticalDevice, ax: Axes, seed: int) -> None:
    programming_error(device, times=(0.0, 3600.0, 86400.0), cells=1000, seed=seed, ax=ax)
    ax.set_title("distance from the target")


def _read_noise(device: StatisticalDevice, ax: Axes, seed: int) -> None:
    low, high = device.window
    goals = torch.linspace(low, high, 25, dtype=torch.float64)
    cells = device.fabricate((800, 25), seed=seed, dtype=torch.float64)
    size, letter = unit(high * 1e-2)
    for seconds, name, colour in zip((1.0, 86400.0), ("1 s", "1 d"), COLOURS, strict=False):
        cells.write(goals)
        cells.age(seconds)
        noise = (cells.read() - cells.conductance()).std(0)
        ax.plot(goals / high, noise / size, color=colour, label=f"after {name}")
    ax.set(xlabel="target / highest conductance", ylabel=f"read noise σ ({letter}S)")
    ax.set_title("noise of one read")
    ax.set_ylim(bottom=0.0)
    ax.legend(fontsize="small")


# ---- magnetic ------------------------------------------------------------------------------------


def _probability(device: MTJ, ax: Axes, seed: int) -> None:
    critical = max(device.values().v_set, device.values().v_reset)
    v = torch.linspace(0.0, 2.5 * critical, 200, dtype=torch.float64)
    for seconds, colour in zip((1e-9, 10e-9, 100e-9, 10e-6), COLOURS, strict=True):
        chance = device.probability(v, seconds)
        ax.plot(v, chance, color=colour, label=quantity(seconds, "s"))
    ax.axvline(device.values().v_set, color=GREY, linewidth=0.8, linestyle=":")
    ax.set(xlabel="pulse voltage (V)", ylabel="switching probability", title="AP to P, by width")
    ax.legend(fontsize="small")


def _magnetic_loop(device: MTJ, ax: Axes, seed: int) -> None:
    quarter = torch.linspace(0.0, 2.0 * device.values().v_set, 60, dtype=torch.float64)
    volts = torch.cat([quarter, quarter.flip(0), -quarter, -quarter.flip(0)])
    cells = device.fabricate((300,), seed=seed, dtype=torch.float64)
    trace = []
    for v in volts.tolist():
        cells.apply_pulse(v, 10e-9)  # type: ignore[operator]
        trace.append(cells.conductance().clone())
    g = torch.stack(trace).numpy()
    size, letter = unit(device.window[1])
    ax.plot(volts, g[:, :8] / size, color=GREY, alpha=0.4, linewidth=0.6)
    ax.plot(volts, g.mean(axis=1) / size, color=BLUE, label="mean of 300 cells")
    ax.set(xlabel="pulse voltage (V), 10 ns each", ylabel=f"conductance ({letter}S)")
    ax.set_title("after each pulse of a sweep")
    ax.legend(fontsize="small")


def _tmr(device: MTJ, ax: Axes, seed: int) -> None:
    v = torch.linspace(-1.0, 1.0, 201, dtype=torch.float64)
    ax.plot(v, 100 * (device.tmr_at(v) + torch.zeros_like(v)), color=BLUE)
    ax.set(xlabel="voltage (V)", ylabel="TMR (%)", title="tunnel magnetoresistance")
    ax.set_ylim(bottom=0.0)


# ---- any other -----------------------------------------------------------------------------------


def _written(device: Device, ax: Axes, seed: int) -> None:
    high = device.window[1]
    asked = torch.linspace(0.0, 1.2 * high, 121, dtype=torch.float64)
    cells = device.fabricate((50, 121), seed=seed, dtype=torch.float64)
    cells.write(asked)
    size, letter = unit(high)
    ax.plot(asked / size, cells.conductance().T / size, color=BLUE, alpha=0.2, linewidth=0.8)
    ax.set(xlabel=f"written ({letter}S)", ylabel=f"held ({letter}S)", title="write and read back")


def _windows(device: Device, ax: Axes, seed: int) -> None:
    cells = device.fabricate((2000,), seed=seed, dtype=torch.float64)
    drawn = cells.parameters_drawn()
    size, letter = unit(device.window[1])
    for asked, name, colour in ((0.0, "lowest", BLUE), (1e3, "highest", ORANGE)):
        ends = device.reach(torch.full((2000,), asked, dtype=torch.float64), drawn).numpy()
        ax.hist(ends / size, bins=40, color=colour, alpha=0.7, label=name)
    ax.set(xlabel=f"conductance ({letter}S)", ylabel="cells of 2000", title="ends of the window")
    ax.legend(fontsize="small")


def _blank(device: Device, ax: Axes, seed: int) -> None:
    ax.set_axis_off()


def _without_legend(ax: Axes) -> None:
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()
