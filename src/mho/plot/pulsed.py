"""Pictures of pulse-count devices: pulse responses, jumps, jump tables and fits.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from mho.devices.pulsed import PulsedDevice
from mho.devices.tabular import JumpTable
from mho.fit import Calibration, IVFit, JumpTableFit, PulseFit, RetentionFit
from mho.plot.statistical import retention_records
from mho.plot.styles import BLUE, GREY, ORANGE, axes, panels, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SET, _RESET, _FIT = ORANGE, BLUE, "black"
_BINS = 80


@styled
def pulse_response(response: Any, *, ax: Axes | None = None) -> Axes:
    """Draw conductance against pulse number, set and then reset, of many cycles and cells.

    Every curve is drawn faintly, their median boldly, over the band of the central 90 %.

    Args:
        response: conductances (S), ``[2, …, pulses + 1]`` (or a pair) as `PulsedCells.respond`
            returns them.
        ax: where to draw.
    """
    ax = axes(ax)
    halves = [np.asarray(half, np.float64) for half in response]
    halves = [half.reshape(-1, half.shape[-1]) for half in halves]
    size, prefix = _unit(*halves)
    start = 0
    for half, colour, name in zip(halves, (_SET, _RESET), ("set", "reset"), strict=True):
        x = start + np.arange(half.shape[1])
        faint = half[np.linspace(0, len(half) - 1, min(len(half), 100)).astype(int)]
        ax.plot(x, faint.T / size, color=colour, alpha=0.15, linewidth=0.6)
        low, middle, high = np.quantile(half, [0.05, 0.5, 0.95], axis=0) / size
        ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        ax.plot(
            x,
            middle,
            color=colour,
            linewidth=1.8,
            label=f"{name} ({len(half)} curves)" if len(half) > 1 else name,
        )
        start += half.shape[1] - 1
    ax.set(xlabel="pulse number", ylabel=f"conductance ({prefix}S)")
    ax.legend()
    return ax


@styled
def delta_g(
    device: PulsedDevice,
    *,
    cells: int = 400,
    points: int = 40,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the jump ΔG of one pulse against the conductance it starts from, with its spread.

    A population is fabricated and pulsed at every conductance; drawn are the mean and the band of
    one standard deviation over cells and cycles (the device's bounds included).

    Args:
        device: the device.
        cells: population size.
        points: conductances over the window.
        seed: of the population.
        ax: where to draw.
    """
    ax = axes(ax)
    low, high = device.window
    grid = torch.linspace(low, high, points, dtype=torch.float64)
    population = device.fabricate((points, cells), seed=seed, dtype=torch.float64)
    means, deviations = [], []
    for sign in (1, -1):
        population.write(grid[:, None])
        before = population.conductance().clone()
        population.pulse(sign)  # type: ignore[operator]
        jump = population.conductance() - before
        means.append(jump.mean(dim=1).numpy())
        deviations.append(jump.std(dim=1).numpy())
    size, prefix = _unit(*(np.abs(m) + d for m, d in zip(means, deviations, strict=True)))
    g_size, g_prefix = _unit(grid.numpy())
    for mean, deviation, colour, name in zip(
        means, deviations, (_SET, _RESET), ("set", "reset"), strict=True
    ):
        x = grid.numpy() / g_size
        band = ((mean - deviation) / size, (mean + deviation) / size)
        ax.fill_between(x, *band, color=colour, alpha=0.2, linewidth=0)
        ax.plot(x, mean / size, color=colour, label=f"{name}: mean ± σ")
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    ax.set(xlabel=f"conductance ({g_prefix}S)", ylabel=f"ΔG of one pulse ({prefix}S)")
    ax.legend()
    return ax


@styled
def jump_table(
    table: JumpTable,
    *,
    at: tuple[float, ...] | None = None,
    axes: tuple[Axes, Axes] | None = None,
) -> tuple[Axes, Axes]:
    """Draw a jump table: density as a heat map, and beside it the CDF at some conductances.

    Over the heat map run the median and the band of the central 90 %.

    Args:
        table: the table.
        at: conductances (S) whose CDFs are drawn (of the nearest rows); five over the table's
            range if not given.
        axes: where to draw heat map and CDFs, sharing their vertical axis; a new figure's if not
            given.
    """
    ax, side = panels(axes, 1, 2, sharey=True, width_ratios=(5, 2), figsize=(8, 4.8))
    g, dg, cdf = np.array(table.g), np.array(table.dg), np.array(table.cdf)
    g_size, g_prefix = _unit(g)
    quantiles = table.quantiles([0.001, 0.05, 0.5, 0.95, 0.999])
    size, prefix = _unit(quantiles)
    # Counted in even bins, for a table's columns may be uneven.
    bins = np.linspace(quantiles[:, 0].min(), quantiles[:, 4].max(), _BINS + 1)
    mass = np.array([np.interp(bins, dg, row, left=0.0, right=1.0) for row in cdf])
    # Each row scaled to its own peak: narrow rows would outshine all others.
    density = np.diff(mass, axis=1)
    density /= density.max(axis=1, keepdims=True)
    even = (_edges(g) / g_size, bins / size)
    image = ax.pcolormesh(*even, density.T, cmap="Oranges", rasterized=True)
    ax.plot(g / g_size, quantiles[:, 2] / size, color=BLUE, linewidth=1.5, label="median")
    ax.plot(g / g_size, quantiles[:, 1] / size, ":", color=BLUE, label="central 90 %")
    ax.plot(g / g_size, quantiles[:, 3] / size, ":", color=BLUE)
    ax.set_ylim(quantiles[:, 0].min() / size, quantiles[:, 4].max() / size)
    ax.set(xlabel=f"conductance ({g_prefix}S)", ylabel=f"ΔG of one pulse ({prefix}S)")
    bar = ax.figure.colorbar(image, ax=ax, location="top", pad=0.02, aspect=40)
    bar.set_label("density / row's peak", fontsize="small")
    ax.legend(loc="lower left", fontsize="small")
    probability = np.linspace(0.001, 0.999, 400)
    rows = table.quantiles(probability)
    chosen = tuple(np.linspace(g[0], g[-1], 5)) if at is None else at
    for k, where in enumerate(chosen):
        row = int(np.abs(g - where).argmin())
        colour = (0.9 * k / max(len(chosen) - 1, 1), 0.25, 0.55)
        label = f"{g[row] / g_size:.3g} {g_prefix}S"
        side.plot(probability, rows[row] / size, color=colour, label=label)
    side.set(xlabel="CDF")
    side.legend(fontsize="small")
    return ax, side


@styled
def fit_report(
    fit: JumpTableFit | PulseFit | IVFit | RetentionFit,
    *,
    data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    axes: tuple[Axes, Axes] | None = None,
) -> tuple[Axes, Axes]:
    """Draw a fit's data with what was fitted (and its σ band), and the residuals below.

    Args:
        fit: the result of one of `mho.fit`.
        data: of fits that do not keep them: voltages (V) and currents (A) of an `IVFit`.
        axes: where to draw data and residuals; a new figure's if not given.

    Raises:
        ValueError: if a fit that does not keep its data comes without them.
    """
    top, bottom = panels(axes, 2, 1, sharex=True, height_ratios=(3, 1))
    if isinstance(fit, JumpTableFit):
        _report_jumps(fit, top, bottom)
    elif isinstance(fit, PulseFit):
        _report_response(fit, top, bottom)
    elif isinstance(fit, RetentionFit):
        _report_retention(fit, top, bottom)
    elif data is None:
        raise ValueError(f"fit_report of a {type(fit).__name__} needs its data")
    else:
        _report_iv(fit, data, top, bottom)
    say_calibration(fit.calibration, top)
    return top, bottom


def say_calibration(calibration: Calibration | None, ax: Axes) -> None:
    """Say above a picture how much of what was held out lies inside its intervals."""
    if calibration is None:
        return
    pairs = zip(calibration.levels, calibration.coverage, strict=True)
    text = ", ".join(f"{level:.0%}: {inside:.1%}" for level, inside in pairs)
    said = f"{calibration.count} held-out data, inside their intervals\n{text}"
    ax.set_title(said, fontsize="small", fontweight="normal")


def _report_jumps(fit: JumpTableFit, top: Axes, bottom: Axes) -> None:
    g_size, g_prefix = _unit(fit.g)
    size, prefix = _unit(fit.dg)
    x = np.array(fit.table.g) / g_size
    top.plot(fit.g / g_size, fit.dg / size, ".", color=GREY, markersize=2, zorder=0)
    for width, alpha in ((1, 0.35), (2, 0.2)):
        band = ((fit.mean - width * fit.sigma) / size, (fit.mean + width * fit.sigma) / size)
        top.fill_between(x, *band, color=_SET, alpha=alpha, linewidth=0, label=f"±{width}σ")
    top.plot(x, fit.mean / size, color=_FIT, label="mean")
    top.set(ylabel=f"ΔG ({prefix}S)")
    top.legend(ncols=3)
    bottom.plot(fit.g / g_size, fit.residuals, ".", color="0.4", markersize=2)
    bottom.set(xlabel=f"conductance ({g_prefix}S)", ylabel="residual (σ)")
    _zero(bottom)


def _report_response(fit: PulseFit, top: Axes, bottom: Axes) -> None:
    pulse_response(fit.response, ax=top)
    size, prefix = _unit(*fit.response)
    start = 0
    for way, colour in enumerate((_SET, _RESET)):
        half, band, residual = fit.response[way], fit.bands[way], fit.residuals[way]
        x = start + np.arange(half.shape[2])
        labels = ("fit: median", "central 90 %") if start == 0 else (None, None)
        top.plot(x, band[1] / size, "--", color=_FIT, label=labels[0], zorder=3)
        top.plot(x, band[0] / size, ":", color=_FIT, linewidth=1.0, label=labels[1], zorder=3)
        top.plot(x, band[2] / size, ":", color=_FIT, linewidth=1.0, zorder=3)
        # Two standard errors of the mean of so many curves.
        doubt = 2.0 * fit.deviations[way] / (half.shape[0] * half.shape[1]) ** 0.5 / size
        said = "±2 standard errors" if start == 0 else None
        bottom.fill_between(x, -doubt, doubt, color="0.85", linewidth=0, zorder=0, label=said)
        bottom.plot(x, residual / size, color=colour)
        start += half.shape[2] - 1
    top.set(xlabel="")
    top.legend(fontsize="small")
    if len(fit.choice) > 1:
        _note_choice(fit, top)
    bottom.set(xlabel="pulse number", ylabel=f"mean − fit ({prefix}S)")
    bottom.legend(fontsize="x-small", loc="lower left")
    _zero(bottom)


def _note_choice(fit: PulseFit, ax: Axes) -> None:
    # The laws compared, best first, in the corner that pulse responses leave free.
    rows = sorted(fit.choice, key=lambda row: row.behind)
    lines = ["log likelihood a pulse, held out"]
    for row in rows:
        mark = "▸ " if row.law == fit.law else "   "
        behind = "best" if row is rows[0] else f"−{row.behind:.2g} ± {row.behind_error:.1g}"
        lines.append(f"{mark}{row.law.replace('_', ' ')}: {behind}")
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none"}
    ax.text(
        0.5,
        0.03,
        "\n".join(lines),
        transform=ax.transAxes,
        fontsize="x-small",
        ha="center",
        va="bottom",
        bbox=box,
        zorder=4,
    )


def _report_iv(
    fit: IVFit, data: tuple[npt.ArrayLike, npt.ArrayLike], top: Axes, bottom: Axes
) -> None:
    v, i = (np.asarray(values, np.float64).ravel() for values in data)
    size, prefix = _unit(i)
    grid = np.linspace(v.min(), v.max(), 200)
    sigma = fit.residuals.std()
    top.plot(v, i / size, ".", color="0.5", markersize=4, label="measured")
    said = ("±σ", f"{fit.law} ({fit.relative_error:.1%} rms)")
    for name, state in fit.estimates.items():
        if name == "g" or name.startswith("g["):  # one curve a state
            fitted = fit.current(grid, g=state.value)
            band = ((fitted - sigma) / size, (fitted + sigma) / size)
            top.fill_between(grid, *band, color=_SET, alpha=0.3, linewidth=0, label=said[0])
            top.plot(grid, fitted / size, color=_FIT, label=said[1])
            said = ("_", "_")
    top.set(ylabel=f"current ({prefix}A)")
    top.legend()
    bottom.plot(v, fit.residuals / size, ".", color="0.4", markersize=4)
    bottom.set(xlabel="voltage (V)", ylabel=f"residual ({prefix}A)")
    _zero(bottom)


def _report_retention(fit: RetentionFit, top: Axes, bottom: Axes) -> None:
    retention_records(fit, ax=top)
    count = int((~fit.cells.suspicious).sum())
    what = "ν" if count == 1 else f"mean ν of {count} cells, ± with others,"
    top.plot([], [], color="0.3", label=f"{what} = {fit.nu:.2g} ± {fit.nu_error:.1g}")
    top.legend(loc="best")
    top.set(xlabel="")
    size, prefix = _unit(fit.residuals)
    time = np.maximum(fit.time, fit.t0)
    bottom.plot(time, fit.residuals / size, ".", color="0.4", markersize=3)
    bottom.set(xlabel="time (s)", ylabel=f"residual ({prefix}S)", xscale="log")
    _zero(bottom)


def _zero(ax: Axes) -> None:
    ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)


def _edges(centres: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Cell borders half-way between the rows, so that uneven axes are drawn where they are.
    inner = (centres[1:] + centres[:-1]) / 2
    first, last = (centres[0], centres[-1]) if len(centres) > 1 else (0.0, 2 * centres[0])
    return np.concatenate([[first], inner, [last]])


def _unit(*values: npt.NDArray[np.float64]) -> tuple[float, str]:
    # The SI prefix that makes the largest value one to three digits long.
    return unit(max(float(np.abs(value).max()) for value in values))
