"""Pictures of what wires do: IR drop, node voltages, current error per column.

Every function draws into the Axes given (a new figure's if none) and returns them. Rows run
downwards, as word lines lie over bit lines: drivers left, sinks at the bottom by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mho.checks import one_of
from mho.circuit import Solution, Wires, effective_conductance

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ir_drop(solution: Solution, *, ax: Axes | None = None) -> Axes:
    """Draw the voltage that reaches each cell, as a map of the array.

    Args:
        solution: of one array under one vector of voltages.
        ax: where to draw.
    """
    return _map(solution.cell_voltages, "cell voltage", "viridis", ax)


def node_voltages(solution: Solution, lines: str = "word", *, ax: Axes | None = None) -> Axes:
    """Draw the voltages along the word or the bit lines, as a map of the array.

    Args:
        solution: of one array under one vector of voltages.
        lines: ``"word"`` or ``"bit"``.
        ax: where to draw.
    """
    one_of("lines", lines, ("word", "bit"))
    values = solution.word_voltages if lines == "word" else solution.bit_voltages
    return _map(values, f"{lines}-line voltage", "magma", ax)


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
    voltages = voltages.detach().to(torch.float64).reshape(-1, G.shape[0])
    G = G.detach().to(torch.float64)
    ideal = voltages @ G.to(voltages)
    error = (voltages @ effective_conductance(G, wires).to(voltages) - ideal).cpu().numpy()
    scale = np.abs(ideal.cpu().numpy()).max(-1, keepdims=True)
    if not (scale > 0).all():
        raise ValueError("voltages must not be all zero: there is no current to compare")
    percent = 100 * error / scale
    ax = _axes(ax)
    columns = np.arange(percent.shape[1])
    low, middle, high = np.quantile(percent, [0.05, 0.5, 0.95], axis=0)
    if len(percent) > 1:
        ax.fill_between(columns, low, high, alpha=0.25, linewidth=0, label="90 % of vectors")
    ax.plot(columns, middle, marker=".", label="median" if len(percent) > 1 else None)
    ax.axhline(0, color="grey", linewidth=0.8)
    ax.set(xlabel="bit line", ylabel="current error (% of largest ideal current)")
    if len(percent) > 1:
        ax.legend(frameon=False, loc="lower left")
    return ax


def _map(values: Tensor, label: str, colours: str, ax: Axes | None) -> Axes:
    if values.ndim != 2:
        raise ValueError(
            f"solution must be of one array under one vector, cells [m, n]; "
            f"got cells {list(values.shape)}"
        )
    volts: npt.NDArray[np.float64] = values.detach().cpu().double().numpy()
    ax = _axes(ax)
    peak = float(np.abs(volts).max())
    unit, name = (1e-3, "mV") if 0 < peak < 0.1 else (1.0, "V")
    image = ax.imshow(volts / unit, cmap=colours, aspect="auto", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=f"{label} ({name})")
    ax.set(xlabel="bit line", ylabel="word line")
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # only drawing needs it, and it is optional

    return plt.subplots(layout="constrained")[1]
