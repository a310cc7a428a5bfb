"""Pictures of a chip's twin: how well it predicts what it has not seen, and which cells are odd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

from mho.fit import TwinFit
from mho.fit.judged import Judged
from mho.plot.styles import BLUE, GREEN, GREY, ORANGE, axes, cell_map, panels, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 5000
_BINS = 20


@styled
def measured_against_predicted(fit: Judged, *, ax: Axes | None = None) -> Axes:
    """Draw held-out outputs against what was predicted of them.

    Args:
        fit: of `mho.fit.hardware` or `mho.fit.products`.
        ax: where to draw.
    """
    ax = axes(ax)
    size, prefix = unit(float(np.abs(fit.measured).max()))
    few = slice(None, None, max(fit.measured.size // _MOST_POINTS, 1))
    x, y = (values.ravel()[few] / size for values in (fit.predicted, fit.measured))
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    ax.plot(ends, ends, color=GREY, linewidth=1.0, zorder=1)
    _dots(ax, x, y)
    ax.set(xlabel=f"predicted ({prefix}A)", ylabel=f"measured ({prefix}A)")
    ax.set_title(f"held out: {100 * fit.error:.2g} % error")
    return ax


@styled
def residuals_by_line(fit: Judged, *, ax: Axes | None = None) -> Axes:
    """Draw the held-out errors of every line, over the band in which 95 % of them are predicted.

    Args:
        fit: of `mho.fit.hardware` or `mho.fit.products`.
        ax: where to draw.
    """
    ax = axes(ax)
    size = _in_units(ax, fit.residuals)
    reads, lines = fit.residuals.shape
    every = slice(None, None, max(reads * lines // _MOST_POINTS, 1))
    line = np.arange(lines)
    place = np.broadcast_to(line + 0.6 * (np.arange(reads)[:, None] / reads - 0.5), (reads, lines))
    band = 1.96 * np.sqrt((fit.deviations**2).mean(0)) / size
    edges = np.concatenate((line - 0.5, line[-1:] + 0.5))
    ax.stairs(band, edges, baseline=-band, fill=True, color=ORANGE, alpha=0.25, linewidth=0)
    _dots(ax, place[every], fit.residuals[every] / size)
    ax.plot(line, fit.residuals.mean(0) / size, ".", color="black", markersize=5)
    _lines(ax).set_xlim(-0.7, lines - 0.3)
    ax.set_title("errors by line, mean and 95 % band")
    return ax


@styled
def residuals_by_current(fit: Judged, *, ax: Axes | None = None) -> Axes:
    """Draw the held-out errors against the current predicted, over their predicted 95 % band.

    Args:
        fit: of `mho.fit.hardware` or `mho.fit.products`.
        ax: where to draw.
    """
    ax = axes(ax)
    order = fit.predicted.ravel().argsort()
    few = order[:: max(len(order) // _MOST_POINTS, 1)]
    size = _in_units(ax, fit.residuals)
    wide, of_x = unit(float(np.abs(fit.predicted).max()))
    x = fit.predicted.ravel()[few] / wide
    band = 1.96 * fit.deviations.ravel()[few] / size
    ax.fill_between(x, -band, band, color=ORANGE, alpha=0.25, linewidth=0)
    _dots(ax, x, fit.residuals.ravel()[few] / size)
    ax.set_xlabel(f"predicted ({of_x}A)")
    ax.set_title("errors by current, and 95 % band")
    return ax


@styled
def residuals_in_order(fit: Judged, *, ax: Axes | None = None) -> Axes:
    """Draw the mean held-out error of every read in the order of the measurement.

    Args:
        fit: of `mho.fit.hardware` or `mho.fit.products`.
        ax: where to draw.
    """
    ax = axes(ax)
    means = fit.residuals.mean(1)
    size = _in_units(ax, means)
    ax.axhline(0.0, color=GREY, linewidth=1.0)
    ax.plot(means / size, color=BLUE, linewidth=0.8, marker=".", markersize=3)
    ax.set_xlabel("held-out read, in order")
    ax.set_title(f"from one read to the next: correlation {fit.agreement.lasting:.2f}")
    return ax


@styled
def probability_transforms(fit: Judged, *, ax: Axes | None = None) -> Axes:
    """Draw the histogram of held-out probability transforms: flat where errors are as predicted.

    The band is where 99 % of the bins of independent data would be.

    Args:
        fit: of `mho.fit.hardware` or `mho.fit.products`.
        ax: where to draw.
    """
    ax = axes(ax)
    values = fit.agreement.transforms.ravel()
    spread = 2.576 * np.sqrt((_BINS - 1) / len(values))
    ax.axhspan(max(1 - spread, 0), 1 + spread, color=ORANGE, alpha=0.25, linewidth=0)
    ax.axhline(1.0, color=GREY, linewidth=1.0)
    counts, edges = np.histogram(values, _BINS, (0.0, 1.0), density=True)
    ax.stairs(counts, edges, baseline=None, color=BLUE, linewidth=1.8)
    ax.set(xlabel="predicted probability of less", ylabel="density", xlim=(0, 1))
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.4))
    ax.set_title(f"KS distance {fit.agreement.distance:.3f}, p = {fit.agreement.p_value:.2g}")
    return ax


@styled
def suspicious_map(fit: TwinFit, *, slice_: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the conductances of one slice as the twin has them, suspicious cells circled.

    Args:
        fit: of `mho.fit.hardware`.
        slice_: which slice of the cells.
        ax: where to draw.
    """
    ax = axes(ax)
    g = fit.conductances[slice_]
    size, prefix = unit(float(g.max()))
    cell_map(ax, g / size, f"conductance ({prefix}S)", cmap="Greys")
    row, col = fit.suspicious[slice_].nonzero()
    ax.scatter(col, row, s=60, facecolor="none", edgecolor=ORANGE, linewidth=1.8)
    ax.set_title(f"{len(row)} suspicious cells" if len(row) != 1 else "1 suspicious cell")
    return ax


@styled
def gains_and_offsets(fit: Judged, *, ax: Axes | None = None) -> Axes:
    """Draw the gain of every line with its standard error, and the offset on an axis of its own.

    Args:
        fit: of `mho.fit.hardware` or `mho.fit.products`.
        ax: where to draw.
    """
    ax = axes(ax)
    found = {
        name: [fit.estimates[n] for n in fit.estimates if n.startswith(f"{name}[")]
        for name in ("gain", "offset")
    }
    beside = ax.twinx()
    size, prefix = unit(max((abs(e.value) for e in found["offset"]), default=1.0))
    for name, where, colour, scale, aside in (
        ("gain", ax, BLUE, 1.0, -0.15),
        ("offset", beside, GREEN, size, 0.15),
    ):
        values = np.array([[e.value, e.error] for e in found[name]]).reshape(-1, 2) / scale
        place = np.arange(len(values)) + aside
        value, error = values.T
        where.errorbar(place, value, error, fmt=".", color=colour, elinewidth=1.0)
        where.tick_params(axis="y", colors=colour)
    _lines(ax).set_ylabel("gain", color=BLUE)
    beside.set_ylabel(f"offset ({prefix}A)", color=GREEN)
    beside.grid(visible=False)
    ax.set_title("gain and offset by line")
    return ax


@styled
def twin_sheet(fit: Judged, *, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Draw all that there is to be seen of a twin on one sheet.

    Args:
        fit: of `mho.fit.hardware` or `mho.fit.products`.
        axes: where to draw, four; those of a new figure if not given.
    """
    alone = fit.measured.shape[1] == 1
    odd = isinstance(fit, TwinFit) and bool(fit.suspicious.any())
    pictures: list[Any] = [
        measured_against_predicted,
        residuals_by_current if alone else residuals_by_line,
        probability_transforms,
        suspicious_map if odd else residuals_in_order if alone else gains_and_offsets,
    ]
    places = panels(axes, 2, 2, figsize=(10, 7.5))
    return [draw(fit, ax=ax) for draw, ax in zip(pictures, places, strict=True)]


def _dots(ax: Axes, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
    ax.scatter(x, y, s=5, color=BLUE, alpha=0.4, linewidth=0, zorder=2, rasterized=True)


def _in_units(ax: Axes, residuals: npt.NDArray[np.float64]) -> float:
    # Names the axis of what was measured and not predicted, and returns the size of its unit.
    size, prefix = unit(float(np.abs(residuals).max()))
    ax.set_ylabel(f"measured − predicted ({prefix}A)")
    return size


def _lines(ax: Axes) -> Axes:
    ax.set_xlabel("line")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax
