"""Pictures of maps of cells: how a state's conductance spreads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from mho.fit.wafer import CellMapFit
from mho.plot.pulsed import say_calibration
from mho.plot.styles import BLUE, GREY, ORANGE, panels, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def spread_report(found: CellMapFit, *, axes: tuple[Axes, Axes] | None = None) -> tuple[Axes, Axes]:
    """Draw the cells of a map against the distributions fitted, and their residuals below.

    Every cell stands at the normal score of its rank; a distribution that fits is a line through
    them. Below, how far the cells are from it.

    Args:
        found: a fit of `mho.fit.cell_map`.
        axes: where to draw cells and residuals; a new figure's if not given.
    """
    top, bottom = panels(axes, 2, 1, sharex=True, height_ratios=(3, 1))
    names = (("LRS", "g_max", ORANGE), ("HRS", "g_min", BLUE))
    values = [
        _conductances(found, k, name[1]) for k, name in enumerate(names[: len(found.residuals)])
    ]
    size, prefix = unit(max(float(v.max()) for v in values))
    for (label, name, colour), scores, g, kind in zip(
        names, found.residuals, values, found.distributions, strict=False
    ):
        order = np.argsort(scores)
        rank = scipy.stats.norm.ppf((np.arange(len(scores)) + 0.5) / len(scores))
        loc, scale = found.estimates[f"{name}_loc"], found.estimates[f"{name}_scale"]
        line = loc.value + scale.value * rank
        top.plot(rank, g[order] / size, ".", color=colour, markersize=3, label=label)
        fitted = (np.exp(line) if kind == "LogNormal" else line) / size
        words = "lognormal" if kind == "LogNormal" else "normal"
        top.plot(rank, fitted, color=colour, linewidth=1.0, label=f"{label}: {words}")
        bottom.plot(rank, scores[order] - rank, ".", color=colour, markersize=3)
    if "LogNormal" in found.distributions:
        top.set_yscale("log")
        top.yaxis.set_major_formatter("{x:g}")
    top.set(ylabel=f"conductance ({prefix}S)")
    top.legend(ncols=2)
    bottom.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    bottom.set(xlabel="normal score of the rank", ylabel="residual (σ)")
    say_calibration(found.calibration, top)
    return top, bottom


def _conductances(
    found: CellMapFit, k: int, name: str
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    loc, scale = found.estimates[f"{name}_loc"].value, found.estimates[f"{name}_scale"].value
    values = loc + scale * found.residuals[k]
    return np.exp(values) if found.distributions[k] == "LogNormal" else values
