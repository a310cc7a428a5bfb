"""Pictures of write–verify: how it converged, and what it took.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mho.core import checks
from mho.plot.styles import BLUE, GREY, axes, cell_map, numbers, styled
from mho.programming.report import REASONS, WriteReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = {"out of window": "^", "stuck": "x", "out of pulses": "s", "misread": "+"}


@styled
def convergence(report: WriteReport, ax: Axes | None = None, label: str | None = None) -> Axes:
    """Draw the fraction of cells within tolerance against the rounds of verify and pulse.

    Args:
        report: of one write–verify.
        ax: where to draw; several reports may share one.
        label: of the line, for a legend.
    """
    checks.instance("report", report, WriteReport)
    ax = axes(ax)
    percent = 100.0 * np.array(report.history)
    (line,) = ax.plot(percent, label=label, color=None if ax.lines or label else BLUE)
    end = f"{percent[-1]:.4g} %"
    if label:  # ends of several lines may lie on one another: the legend says where they are
        line.set_label(f"{label}: {end}")
        ax.legend()
    else:
        ax.annotate(
            end,
            (len(percent) - 1, percent[-1]),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            fontsize="small",
            annotation_clip=False,
        )
    ax.axhline(100.0, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    ax.set(xlabel="round", ylabel="cells within tolerance (%)")
    ax.set_ylim(-2.0, 105.0)
    ax.set_xlim(0.0, 1.03 * max(float(np.max(one.get_xdata())) for one in ax.lines) or 1.0)
    return ax


@styled
def pulses_map(report: WriteReport, ax: Axes | None = None, index: int = 0) -> Axes:
    """Draw how many pulses each cell took, and which cells failed for which reason.

    Rows run downwards, as word lines lie over bit lines.

    Args:
        report: of one write–verify.
        ax: where to draw.
        index: which array, of a population of several (their leading dimensions flattened).

    Raises:
        ValueError: if there is no such array.
    """
    checks.instance("report", report, WriteReport)
    pulses, reason = (numbers(x.double()) for x in (report.pulses, report.reason))
    shape = (1, 1, -1) if pulses.ndim < 2 else (-1, *pulses.shape[-2:])
    pulses, reason = pulses.reshape(shape), reason.reshape(shape)
    index = checks.integer("index", index, least=0, most=len(pulses) - 1)
    ax = axes(ax)
    cell_map(ax, pulses[index], "pulses", cmap="cividis")
    for code, name in enumerate(REASONS):
        rows, cols = np.nonzero(reason[index] == code)
        if name in _MARKERS and len(rows):
            text = f"{name}: {len(rows)}"
            marker = _MARKERS[name]
            ax.scatter(cols, rows, c="#FF3B30", marker=marker, s=16, linewidths=1.2, label=text)
    if (reason[index] != 0).any():
        ax.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=2,
            borderaxespad=0.2,
            handletextpad=0,
        )
    rows_, cols_ = pulses.shape[1:]
    ax.set(xlim=(-0.5, cols_ - 0.5), ylim=(rows_ - 0.5, -0.5))
    return ax
