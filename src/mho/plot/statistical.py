"""Pictures of statistical devices: drift over time, programming error over the window.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mho.cells.population import Cells
from mho.core import checks
from mho.devices.statistical import StatisticalDevice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_YEAR = 3.1536e7
_MICRO = 1e6
_MARKS = ((1.0, "1 s"), (3600.0, "1 h"), (86400.0, "1 d"), (2.592e6, "1 mo"), (_YEAR, "1 y"))


def drift_over_time(
    device: StatisticalDevice,
    *,
    targets: Sequence[float] | None = None,
    until: float = _YEAR,
    cells: int = 400,
    points: int = 60,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw conductance against time since programming, on a logarithmic axis.

    For every target a population is programmed once and followed: the median boldly, over the
    band of the central 90 % of the cells, with a few single cells, as one read each shows them.

    Args:
        device: the device.
        targets: conductances (S); five over the window if not given.
        until: last time (s), > 1.
        cells: population size, per target.
        points: times from 1 s on.
        seed: of the population.
        ax: where to draw.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    checks.instance("device", device, StatisticalDevice)
    checks.number("until", until, above=1.0)
    checks.integer("cells", cells)
    checks.integer("points", points, least=2)
    ax = _axes(ax)
    goals = _goals(device, targets, 6)
    goals = goals[1:] if targets is None else goals
    population = _population(device, goals, cells, seed)
    times = np.logspace(0.0, np.log10(until), points)
    held, shown = [], []
    for time in times:
        population.age(float(time) - population.seconds)
        held.append(population.conductance().double().numpy() * _MICRO)
        shown.append(population.read()[:3].double().numpy() * _MICRO)
    bands = np.quantile(np.stack(held), [0.05, 0.5, 0.95], axis=1)
    for k, goal in enumerate(goals.tolist()):
        colour = f"C{k % 10}"
        ax.fill_between(times, bands[0, :, k], bands[2, :, k], color=colour, alpha=0.2, linewidth=0)
        ax.plot(times, np.stack(shown)[:, :, k], color=colour, alpha=0.4, linewidth=0.6)
        label = f"target {goal * _MICRO:.3g} µS"
        ax.plot(times, bands[1, :, k], color=colour, linewidth=1.8, label=label)
    ax.set(xscale="log", xlabel="time since programming (s)", ylabel="conductance (µS)")
    ax.set_xlim(1.0, until)
    for mark, name in _MARKS[1:]:
        if mark < until * 0.99:
            ax.axvline(mark, color="0.85", linewidth=0.8, zorder=0)
            place = ("data", "axes fraction")
            ax.annotate(name, (mark, 0.99), xycoords=place, fontsize="small", color="0.5", va="top")
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def programming_error(
    device: StatisticalDevice,
    *,
    times: Sequence[float] = (0.0,),
    cells: int = 2000,
    points: int = 30,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw how far cells are from their targets, over the programmable window.

    Of a population programmed to every target the root mean square of ``G - target`` is drawn, at
    one or several times after programming, and dashed the σ that the device states for
    programming (where no cell stops at 0 S, the two agree at time 0).

    Args:
        device: the device.
        times: when (s after programming), rising, >= 0.
        cells: population size, per target.
        points: targets over the window.
        seed: of the population.
        ax: where to draw.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    checks.instance("device", device, StatisticalDevice)
    checks.integer("cells", cells)
    checks.integer("points", points, least=2)
    for before, time in zip((0.0, *times), times, strict=False):
        checks.number("times", time, least=before)
    ax = _axes(ax)
    goals = _goals(device, None, points)
    population = _population(device, goals, cells, seed)
    x = goals.numpy() * _MICRO
    stated = torch.as_tensor(device.write_std(goals, population.context()), dtype=goals.dtype)
    for time in times:
        population.age(time - population.seconds)
        error = (population.conductance() - goals).double().square().mean(0).sqrt()
        ax.plot(x, error.numpy() * _MICRO, marker=".", label=_name(time))
    stated = stated.expand_as(goals) * _MICRO
    ax.plot(x, stated.numpy(), "--", color="black", linewidth=1.0, label="σ of programming")
    ax.set(xlabel="target conductance (µS)", ylabel="rms deviation from target (µS)")
    ax.set_ylim(bottom=0.0)
    ax.legend(frameon=False)
    return ax


def _population(device: StatisticalDevice, goals: torch.Tensor, cells: int, seed: int) -> Cells:
    population = device.fabricate((cells, len(goals)), seed=seed, dtype=goals.dtype)
    assert isinstance(population, Cells)
    population.program(goals)
    return population


def _goals(device: StatisticalDevice, targets: Sequence[float] | None, count: int) -> torch.Tensor:
    low, high = device.window
    if targets is None:
        return torch.linspace(low, high, count, dtype=torch.float64)
    for target in targets:
        checks.number("targets", target, least=low, most=high)
    return torch.tensor(list(targets), dtype=torch.float64)


def _name(time: float) -> str:
    if time == 0.0:
        return "just programmed"
    unit, name = max((mark for mark in _MARKS if mark[0] <= time), default=_MARKS[0])
    return f"after {time / unit:.3g} {name[2:]}"


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    return _pyplot().subplots(layout="constrained")[1]


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'mho[viz]'") from error
    return pyplot
