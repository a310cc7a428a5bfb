"""Pictures of statistical devices: drift over time, programming error over the window; and of fits.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mho.cells.population import Cells
from mho.core import checks, durations
from mho.devices.statistical import StatisticalDevice
from mho.fit import ProgrammingFit, RetentionFit
from mho.plot.styles import BLUE, MORE_COLOURS, ORANGE, axes, panels, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_YEAR = 3.1536e7
_CONTINUOUS = 8  # levels of targets, from which on they are none
_A_LEVEL = 8  # pairs of one target make a level of it
_MICRO = 1e6
_MARKS = ((1.0, "1 s"), (3600.0, "1 h"), (86400.0, "1 d"), (2.592e6, "1 mo"), (_YEAR, "1 y"))


@styled
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
    until = checks.number("until", until, above=1.0)
    cells = checks.integer("cells", cells)
    points = checks.integer("points", points, least=2)
    ax = axes(ax)
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
        colour = MORE_COLOURS[k % len(MORE_COLOURS)]
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
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
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
    programming (where no cell stops at 0 S and there is no bias, the two agree at time 0).

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
    cells = checks.integer("cells", cells)
    points = checks.integer("points", points, least=2)
    for before, time in zip((0.0, *times), times, strict=False):
        durations.seconds("times", time, least=before)
    ax = axes(ax)
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
    ax.legend()
    return ax


@styled
def programming_fit(
    fit: ProgrammingFit, *, axes: tuple[Axes, Axes] | None = None
) -> tuple[Axes, Axes]:
    """Draw a fit of programming: every pair about bias and σ, and the deviations met about σ(g).

    Left, achieved minus target over the target, with the bias and the bands of ±σ and ±2σ;
    suspicious pairs are crosses, those beyond the frame triangles at its edge. Right, the root
    mean square about the bias of the pairs not suspicious, at each level or in pieces of equally
    many, with its standard error, and σ.

    Args:
        fit: as `mho.fit.programming` returns it.
        axes: where to draw, left and right.
    """
    checks.instance("fit", fit, ProgrammingFit)
    left, right = panels(axes, 1, 2, figsize=(9.6, 4.2))
    goals = np.linspace(*fit.device.window, 200)
    bias, sigma = fit.bias(goals) * _MICRO, fit.sigma(goals) * _MICRO
    error, odd = (fit.achieved - fit.target) * _MICRO, fit.suspicious
    # Levels are drawn a little apart, so that their pairs can be seen.
    apart = 0.012 * float(np.ptp(goals)) if fit.levels < _CONTINUOUS else 0.0
    at = fit.target + apart * np.random.default_rng(0).uniform(-1.0, 1.0, len(fit.target))
    left.plot(at[~odd] * _MICRO, error[~odd], ".", color="0.55", markersize=3, zorder=1)
    frame = 5.0 * max(float(sigma.max()), 1e-12) + float(np.abs(bias).max())
    inside = odd & (np.abs(error) < frame)
    name = f"suspicious ({int(odd.sum())})"
    for mask, marker, y in (
        (inside, "x", error),
        (odd & (error >= frame), "^", np.full_like(error, 0.96 * frame)),
        (odd & (error <= -frame), "v", np.full_like(error, -0.96 * frame)),
    ):
        if mask.any():
            left.plot(at[mask] * _MICRO, y[mask], marker, color=ORANGE, markersize=4, label=name)
            name = "_"
    for width, alpha in ((1.0, 0.3), (2.0, 0.15)):
        band = (bias - width * sigma, bias + width * sigma)
        label = f"±{width:g} σ"
        left.fill_between(
            goals * _MICRO, *band, color=BLUE, alpha=alpha, linewidth=0, label=label, zorder=2
        )
    left.plot(goals * _MICRO, bias, color=BLUE, label="bias", zorder=3)
    left.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    left.set(xlabel="target (µS)", ylabel="achieved − target (µS)", ylim=(-frame, frame))
    left.legend(fontsize="small", ncols=2, loc="upper left")
    x, rms, errors = _deviations(fit)
    right.errorbar(x, rms, errors, fmt="o", color="0.3", markersize=4, capsize=2, label="measured")
    right.plot(goals * _MICRO, sigma, color=BLUE, label="σ")
    right.set(xlabel="target (µS)", ylabel="deviation about the bias (µS)")
    right.set_ylim(bottom=0.0)
    right.legend()
    return left, right


def _deviations(fit: ProgrammingFit) -> tuple[Any, Any, Any]:
    kept = ~fit.suspicious
    target, residual = fit.target[kept], fit.residuals[kept]
    order = np.argsort(target, kind="stable")
    steps = np.diff(target[order])
    if len(np.unique(target)) * _A_LEVEL <= len(target):  # as many pieces as levels
        pieces = np.split(order, np.flatnonzero(steps) + 1)
    elif fit.levels < _CONTINUOUS:
        width = float(np.ptp(target)) / 12.0
        pieces = np.split(order, np.flatnonzero(steps > width) + 1)
    else:
        pieces = np.array_split(order, min(12, max(len(order) // 25, 2)))
    pieces = [piece for piece in pieces if len(piece) > 1]
    x = np.array([target[piece].mean() for piece in pieces]) * _MICRO
    rms = np.array([np.sqrt((residual[piece] ** 2).mean()) for piece in pieces]) * _MICRO
    fourth = np.array([(residual[piece] ** 4).mean() for piece in pieces]) * _MICRO**4
    count = np.array([len(piece) for piece in pieces])
    errors = np.sqrt(np.maximum(fourth - rms**4, 0.0) / count) / np.maximum(2.0 * rms, 1e-30)
    return x, rms, errors


@styled
def retention_fit(
    fit: RetentionFit, *, axes: tuple[Axes, Axes] | None = None, cells: int = 12
) -> tuple[Axes, Axes]:
    """Draw a fit of retention: the records with their laws, and all cells' exponents.

    Left, readings over time of some cells, evenly chosen by their conductance, with the law of
    each; what was read before t0 is drawn at t0. Right, every cell's ν with its error over its
    conductance at t0, with the device's mean and the band of ± its standard deviation; cells that
    are suspicious are crosses.

    Args:
        fit: as `mho.fit.retention` returns it.
        axes: where to draw, left and right.
        cells: drawn on the left, at most.
    """
    checks.instance("fit", fit, RetentionFit)
    cells = checks.integer("cells", cells)
    left, right = panels(axes, 1, 2, figsize=(9.6, 4.2))
    retention_records(fit, cells=cells, ax=left)
    g0, nu, error = fit.cells.g0 * _MICRO, fit.cells.nu, fit.cells.nu_error
    odd = fit.cells.suspicious
    few: Any = {"fmt": "o", "color": "0.4", "markersize": 3, "elinewidth": 0.7, "zorder": 1}
    right.errorbar(g0[~odd], nu[~odd], error[~odd], **few)
    if odd.any():
        right.plot(g0[odd], nu[odd], "x", color=ORANGE, label=f"suspicious ({int(odd.sum())})")
    g = np.linspace(*fit.device.window, 200)
    mean, sd = (m.numpy() for m in fit.device.drift_moments(torch.as_tensor(g)))
    right.plot(g * _MICRO, mean, color=BLUE, label="mean ν")
    if sd.any():
        band = (mean - sd, mean + sd)
        right.fill_between(g * _MICRO, *band, color=BLUE, alpha=0.25, linewidth=0, label="± sd")
    right.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    right.set(xlabel="conductance at t0 (µS)", ylabel="drift exponent ν")
    right.legend()
    return left, right


@styled
def retention_records(fit: RetentionFit, *, cells: int = 12, ax: Axes | None = None) -> Axes:
    """Draw the readings of some cells over time, with the law of each; see `retention_fit`.

    Args:
        fit: as `mho.fit.retention` returns it.
        cells: drawn, at most.
        ax: where to draw.
    """
    checks.instance("fit", fit, RetentionFit)
    cells = checks.integer("cells", cells)
    ax = axes(ax)
    order = np.argsort(fit.cells.g0)
    chosen = order[np.unique(np.linspace(0, len(order) - 1, cells).round().astype(int))]
    time = np.maximum(fit.time, fit.t0)
    shown = np.geomspace(fit.t0, time.max(), 100)
    for k, cell in enumerate(chosen.tolist()):
        colour = MORE_COLOURS[k % len(MORE_COLOURS)]
        for mask, marker, size in ((fit.used, ".", 3), (~fit.used, "x", 4)):
            of = mask & (fit.cell == cell)
            ax.plot(time[of], fit.g[of] * _MICRO, marker, color=colour, alpha=0.6, markersize=size)
        law = fit.cells.g0[cell] * (shown / fit.t0) ** -fit.cells.nu[cell]
        ax.plot(shown, law * _MICRO, color=colour, linewidth=1.2)
    some = f"{len(chosen)} of {len(order)} cells" if len(chosen) < len(order) else ""
    ax.set(xscale="log", xlabel="time since programming (s)", ylabel="conductance (µS)")
    ax.set_title(some, loc="left", fontsize="small")
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
