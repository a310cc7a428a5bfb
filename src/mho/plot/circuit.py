"""Pictures of what wires do: IR drop, node voltages, current error per column.

Every function draws into the Axes given (a new figure's if none) and returns them. Rows run
downwards, as word lines lie over bit lines: drivers left, sinks at the bottom by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mho.circuit import Solution, Wires, effective_conductance
from mho.core.checks import one_of
from mho.plot.styles import BLUE, GREY, axes, cell_map, numbers, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FULL_SCALE = 10.0  # a prefix is used once the values reach a tenth of the larger one's unit


@styled
def ir_drop(solution: Solution, *, ax: Axes | None = None) -> Axes:
    """Draw the voltage that reaches each cell, as a map of the array.

    Args:
        solution: of one array under one vector of voltages.
        ax: where to draw.
    """
    return _map(solution.cell_voltages, "cell voltage", "viridis", ax)


@styled
def node_voltages(solution: Solution, lines: str = "word", *, ax: Axes | None = None) -> Axes:
    """Draw the voltages along the word or the bit lines, as a map of the array.

    Args:
        solution: of one array under one vector of voltages.
        lines: ``"word"`` or ``"bit"``.
        ax: where to draw.
    """
    one_of("lines", lines, ("word", "bit"))
    values = solution.word_voltages if lines == "word" else solution.bit_voltages
    return _map(values, f"{lines}-line voltage", "cividis", ax)


@styled
def current_error(G: Tensor, wires: Wires, voltages: Tensor, *, ax: Axes | None = None) -> Axes:
    """Draw how far each column's current is from that of ideal wires, in percent.

    For many vectors the line is the median and the band the central 90 %.

    Args:
        G: conductances of one array ``[m, n]`` [S].
        wires: line resistances and which ends are used.
        voltages: ``[m]`` or ``[vectors, m]`` [V].
        ax: where to draw.

    Raises:
        ValueError: if all voltages are zero, as nothing flows; and as ``effective_conductance``.
    """
    G = G.detach().to(torch.float64)
    voltages = voltages.detach().to(G).reshape(-1, G.shape[0])
    ideal = voltages @ G
    error = voltages @ effective_conductance(G, wires) - ideal
    scale = ideal.abs().amax(-1, keepdim=True)
    if not bool((scale > 0).all()):
        raise ValueError("voltages must not be all zero: there is no current to compare")
    percent = numbers(100 * error / scale)
    ax = axes(ax)
    columns = np.arange(percent.shape[1])
    low, middle, high = np.quantile(percent, [0.05, 0.5, 0.95], axis=0)
    many = len(percent) > 1
    if many:
        label = "90 % of vectors"
        ax.fill_between(columns, low, high, color=BLUE, alpha=0.25, linewidth=0, label=label)
    ax.plot(columns, middle, marker=".", color=BLUE, label="median" if many else None)
    ax.axhline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    ax.set(xlabel="bit line", ylabel="current error (% of largest ideal current)")
    if many:
        ax.legend(loc="best")
    return ax


def _map(values: Tensor, label: str, colours: str, ax: Axes | None) -> Axes:
    if values.ndim != 2:
        raise ValueError(
            f"solution must be of one array under one vector, cells [m, n]; "
            f"got cells {list(values.shape)}"
        )
    volts = numbers(values)
    ax = axes(ax)
    size, prefix = unit(_FULL_SCALE * float(np.abs(volts).max()))
    cell_map(ax, volts / size, f"{label} ({prefix}V)", cmap=colours)
    return ax
