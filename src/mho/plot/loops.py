"""Fitted switching loops: measured and modelled cycles, and where they switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

from mho.core import checks
from mho.fit.loops import LoopFit
from mho.plot.styles import BLUE, GREY, ORANGE, panels, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]
_SIZE = (10.5, 4.8)


@styled
def loop_fit(
    fit: LoopFit, *, logarithmic: bool = False, axes: tuple[Axes, Axes, Axes] | None = None
) -> tuple[Axes, Axes, Axes]:
    """Draw measured cycles, the model's loops, and the distributions of set and reset voltages.

    Measured cycles are thin. The thick line is the model with the parameters that all cycles
    share, through the sweep of the median cycle; the thin coloured ones have each cycle's own. The
    distributions are steps for measured cycles and a band for cells drawn from the fitted device.

    Args:
        fit: what `mho.fit.loop` returned.
        logarithmic: whether currents are drawn as ``|I|`` on a logarithmic axis.
        axes: for the loops, the set and the reset voltages; those of a new figure if not given.
    """
    logarithmic = checks.truth("logarithmic", logarithmic)
    loops, on, off = _places() if axes is None else panels(axes, 3)
    _loops(fit, loops, logarithmic)
    for ax, name, measured, drawn in (
        (on, "set", fit.measured.set, fit.drawn.set),
        (off, "reset", fit.measured.reset, fit.drawn.reset),
    ):
        _distribution(ax, name, measured, drawn)
    on.legend(fontsize="small", loc="best")
    return loops, on, off


def _loops(fit: LoopFit, ax: Axes, logarithmic: bool) -> None:
    size, prefix = unit(float(np.abs(fit.data.current).max()))
    median = int(np.argsort(fit.shared_rmse)[len(fit.shared_rmse) // 2])
    for k, n in enumerate(fit.data.lengths):
        v, i = fit.data.cycle(k)
        first = k == 0
        ax.plot(
            v,
            _shown(i, size, logarithmic),
            color=GREY,
            linewidth=0.7,
            alpha=0.6,
            label="measured" if first else "_nolegend_",
        )
        ax.plot(
            v,
            _shown(fit.own_current[:n, k], size, logarithmic),
            color=BLUE,
            linewidth=0.6,
            alpha=0.6,
            label=f"each cycle's own ({fit.pooled_rmse:.1%})" if first else "_nolegend_",
        )
    v, _ = fit.data.cycle(median)
    shared = float(np.sqrt((fit.shared_rmse**2).mean()))
    current = fit.shared_current[: len(v), median]
    label = f"{fit.model}, one for all ({shared:.1%})"
    ax.plot(v, _shown(current, size, logarithmic), color=ORANGE, linewidth=2.4, label=label)
    ax.set_xlabel("voltage (V)")
    ax.set_ylabel(f"{'|current|' if logarithmic else 'current'} ({prefix}A)")
    if logarithmic:
        ax.set_yscale("log")
        ax.set_ylim(bottom=1e-3 * float(np.abs(fit.data.current).max()) / size)
    else:
        ax.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
        ax.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
    ax.legend(fontsize="small", loc="best")


def _shown(current: Array, size: float, logarithmic: bool) -> Array:
    if not logarithmic:
        return current / size
    return np.where(current != 0.0, np.abs(current), np.nan) / size


def _distribution(ax: Axes, name: str, measured: Array, drawn: Array) -> None:
    found = np.sort(measured[np.isfinite(measured)])
    model = np.sort(drawn[np.isfinite(drawn)])
    if len(found):
        ax.step(
            np.concatenate([found[:1], found]),
            np.linspace(0.0, 1.0, len(found) + 1),
            where="post",
            color=GREY,
            label="measured cycles",
        )
    if len(model):
        share = np.linspace(0.0, 1.0, len(model))
        ax.plot(model, share, color=ORANGE, linewidth=2.0, label="cells drawn")
    ax.set_xlabel(f"{name} voltage (V)")
    ax.set_ylabel("share below")
    ax.set_ylim(0.0, 1.0)
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _places() -> list[Axes]:
    figure = plt.figure(figsize=_SIZE)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.9, 1.0))
    return [figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1])]
