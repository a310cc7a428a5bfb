"""Pictures of one crossbar: what its cells hold, and how far that is from what was asked for.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mho.core import checks
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.report import ProgramReport
from mho.crossbar.tiling import Tiling
from mho.plot.styles import BLUE, GREY, ORANGE, axes, cell_map, numbers, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 80
_MOST_POINTS = 20_000  # of a scatter: more only make it slow and black


@styled
def conductance_map(crossbar: Crossbar, ax: Axes | None = None, slice: int = 0) -> Axes:
    """Draw the stored conductances of one slice as a map, with tile borders and stuck cells.

    Rows run downwards, as word lines lie over bit lines. Stuck cells carry a cross. Colours span
    the device's window, so maps of one device can be compared.

    Args:
        crossbar: what to show.
        ax: where to draw.
        slice: which one; of a differential pair 0 is the positive array and 1 the negative.

    Raises:
        ValueError: if there is no such slice.
    """
    checks.instance("crossbar", crossbar, Crossbar)
    slice = checks.integer("slice", slice, least=0, most=crossbar.G.shape[0] - 1)
    ax = axes(ax)
    g = numbers(crossbar.G[slice])
    low, high = crossbar.hardware.device.window
    size, prefix = unit(high)
    window: dict[str, Any] = {"vmin": low / size, "vmax": high / size}
    cell_map(ax, g / size, f"conductance ({prefix}S)", cmap="cividis", **window)
    _tile_borders(crossbar, ax)
    if crossbar.stuck is not None and bool(crossbar.stuck[slice].any()):
        rows, cols = np.nonzero(crossbar.stuck[slice].cpu().numpy())
        ax.scatter(cols, rows, marker="x", s=14, linewidths=1.3, c="#FF3B30", label="stuck cell")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, handletextpad=0)
    return ax


def _tile_borders(crossbar: Crossbar, ax: Axes) -> None:
    rows, cols = crossbar.G.shape[1:]
    tiling = Tiling.of(crossbar.G, crossbar.groups, crossbar.hardware.array)
    # Every group of a layer starts on tiles of its own.
    starts = range(0, rows, tiling.rows)
    across = {s + at for s in starts for at in range(0, tiling.rows, tiling.height)} - {0}
    for at in across:
        ax.axhline(at - 0.5, color="white", linewidth=1.2)
    for at in range(tiling.outputs, cols, tiling.outputs):
        ax.axvline(at - 0.5, color="white", linewidth=1.2)
    ax.set(xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5))


@styled
def target_histogram(report: ProgramReport, ax: Axes | None = None) -> Axes:
    """Draw how many cells were asked to hold each conductance, and how many do.

    Counts are logarithmic: most encodings rest half of the cells at one conductance.

    Args:
        report: of one crossbar, as `Crossbar.program` (or, in its dict, `mho.program`) returns it.
        ax: where to draw.
    """
    checks.instance("report", report, ProgramReport)
    ax = axes(ax)
    target, achieved = numbers(report.target).ravel(), numbers(report.achieved).ravel()
    size, prefix = unit(max(target.max(), achieved.max()))
    low, high = min(target.min(), achieved.min()), max(target.max(), achieved.max())
    edges = np.linspace(low, high if high > low else low + size, _BINS + 1) / size
    bins = edges.tolist()
    ax.hist(target / size, bins, color=GREY, alpha=0.45, label="target")
    ax.hist(achieved / size, bins, histtype="step", color=ORANGE, linewidth=1.5, label="achieved")
    ax.set_yscale("log")
    ax.set(xlabel=f"conductance ({prefix}S)", ylabel="cells")
    ax.legend()
    return ax


@styled
def weight_error(crossbar: Crossbar, weight: Tensor, ax: Axes | None = None) -> Axes:
    """Draw the weights a crossbar holds against those it was asked to hold, one point a weight.

    Weights with a stuck cell are drawn apart. The root mean square of the error is given, as a
    fraction of the largest weight, for all weights and for the healthy ones.

    Args:
        crossbar: what holds them.
        weight: what was asked for ``[groups · rows, cols]``; of a layer, ``layer.matrices()``.
        ax: where to draw.

    Raises:
        TypeError, ValueError: if the weight is of another kind or shape.
    """
    found = held_weights(crossbar, weight)
    ax = axes(ax)
    limit = 1.08 * max(float(np.abs(v).max()) for one in found for v in (one.wanted, one.held))
    limit = limit or 1.0
    ax.plot([-limit, limit], [-limit, limit], color=GREY, linewidth=1.0, zorder=1)
    step = max(1, math.ceil(weight.numel() / _MOST_POINTS))
    for one in found:
        x, y = one.wanted[::step], one.held[::step]
        label = f"{one.name}: {one.error:.2g} %"
        colour = ORANGE if one.broken else BLUE
        ax.scatter(x, y, s=8, c=colour, alpha=0.5, linewidths=0, label=label, rasterized=True)
    ax.set(xlabel="weight asked for", ylabel="weight held", aspect="equal")
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, symmetric=True))
    # Below the axes: stuck cells spread points over all of them.
    ax.legend(
        title="RMS error, relative to the largest weight",
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=2,
        fontsize="small",
        title_fontsize="small",
        markerscale=2,
        handletextpad=0.1,
        columnspacing=1.2,
    )
    return ax


class Held(NamedTuple):
    """Weights of one kind that a crossbar holds.

    Attributes:
        name: of the kind.
        broken: whether each has a broken cell of its own.
        wanted: what was asked for ``[weights]``.
        held: what is held ``[weights]``.
        error: root mean square of the difference, in percent of the largest weight asked for.
    """

    name: str
    broken: bool
    wanted: npt.NDArray[np.float64]
    held: npt.NDArray[np.float64]
    error: float


def held_weights(crossbar: Crossbar, weight: Tensor) -> list[Held]:
    """Return the weights a crossbar holds: the healthy ones and those with a stuck cell.

    A kind without a weight is left out.

    Args:
        crossbar: what holds them.
        weight: what was asked for ``[groups · rows, cols]``.

    Raises:
        TypeError, ValueError: if the weight is of another kind or shape.
    """
    checks.instance("crossbar", crossbar, Crossbar)
    checks.shape("weight", weight, tuple(crossbar.weight.shape))
    wanted, held = numbers(weight).ravel(), numbers(crossbar.weight).ravel()
    odd = _with_a_stuck_cell(crossbar)
    largest = float(np.abs(wanted).max()) or 1.0
    found = []
    for mask, name, broken in ((~odd, "healthy", False), (odd, "a cell stuck", True)):
        if mask.any():
            error = 100 * math.sqrt(float(np.mean((held[mask] - wanted[mask]) ** 2))) / largest
            found.append(Held(name, broken, wanted[mask], held[mask], error))
    return found


def _with_a_stuck_cell(crossbar: Crossbar) -> np.ndarray:
    """Which weights have a broken cell of their own ``[groups · rows · cols]``."""
    shape = crossbar.weight.shape
    if crossbar.stuck is None:
        return np.zeros(shape.numel(), dtype=bool)
    # Columns beyond the outputs (an offset column) belong to no weight of their own.
    broken: np.ndarray = crossbar.stuck.any(0)[:, : shape[1]].cpu().numpy().ravel()
    return broken
