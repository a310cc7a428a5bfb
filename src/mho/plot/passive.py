"""Pictures of passive arrays: what a write does to neighbours, what a read senses of them.

Every function draws into the Axes given (a new figure's if none) and returns them. Rows run
downwards, as word lines lie over bit lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from mho.circuit.passive import Disturb, SneakRead
from mho.core.checks import instance, truth
from mho.plot.styles import ORANGE, axes, cell_map, numbers, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def disturb_map(result: Disturb, *, log: bool = False, ax: Axes | None = None) -> Axes:
    """Draw by how much each cell's conductance was changed by a write, as a map of the array.

    The colours span the cells that were not selected; selected ones are framed, and have the end
    of the scale where they changed more.

    Args:
        result: of ``mho.circuit.passive.disturb``.
        log: draw the size of the change on a logarithmic scale; cells without change stay white.
        ax: where to draw.
    """
    log = truth("log", log)
    instance("result", result, Disturb)
    percent = 100 * numbers(result.change)
    selected = result.selected.cpu().numpy()
    others = np.abs(percent[~selected])
    most = float(others.max()) if others.size and others.max() > 0 else 1.0
    ax = axes(ax)
    look: dict[str, Any]
    if log:
        size = np.ma.masked_less_equal(np.abs(percent), most * 1e-6)
        least = float(size.min()) if size.count() else most / 10
        least = min(least, most / 10)
        label, look = "size of change (%)", {"cmap": "cividis", "norm": LogNorm(least, most)}
    else:
        label, look = "change of conductance (%)", _about_zero(most)
    drawn = np.abs(percent) if log else percent
    past = (bool((drawn < -most).any()), bool((drawn > most).any()))
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(past, "neither")
    cell_map(ax, size if log else percent, label, aspect="equal", extend=beyond, **look)
    for i, j in np.argwhere(selected):
        ax.add_patch(_frame(i, j))
    return ax


@styled
def sneak_map(read: SneakRead, *, ax: Axes | None = None) -> Axes:
    """Draw the sneak current in the read of each cell, relative to the cell's own current.

    Args:
        read: of ``mho.circuit.passive.sneak_read`` for all cells in row-major order, or of one
            selection, for which the map is of all cells' voltages instead.
        ax: where to draw.

    Raises:
        ValueError: if the selections are not all cells.
    """
    instance("read", read, SneakRead)
    m, n = read.solution.cell_currents.shape[-2:]
    ax = axes(ax)
    ratio = read.ratio
    if ratio.ndim == 0:
        volts = numbers(read.solution.cell_voltages)
        cell_map(ax, volts, "cell voltage (V)", aspect="equal", cmap="viridis")
    elif ratio.numel() == m * n:
        percent = 100 * numbers(torch.reshape(ratio, (m, n)))
        one_way: dict[str, Any] = {"cmap": "viridis", "vmin": 0}
        look = one_way if percent.min() >= 0 else _about_zero(float(np.abs(percent).max()) or 1.0)
        cell_map(ax, percent, "sneak current (% of the cell's own)", aspect="equal", **look)
    else:
        raise ValueError(f"read must be of one selection or of all {m * n}, got {ratio.numel()}")
    return ax


def _frame(i: int, j: int) -> Rectangle:
    return Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=1.5)


def _about_zero(most: float) -> dict[str, Any]:
    return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
