"""Pictures of accuracy against whatever harms it, over many chips.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mho.core.text import duration
from mho.plot.styles import BLUE, axes, name_lines, numbers, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def accuracy_against(
    values: Sequence[float],
    accuracies: Tensor,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    colour: str = BLUE,
    line: str = "-",
    marker: str = "o",
    baseline: float | None = None,
) -> Axes:
    """Draw accuracy against the size of an effect: mean over chips, and a band around it.

    The band is one standard deviation of the chips to each side. Call it once per model to
    compare several in the same Axes; name the x axis with ``ax.set_xlabel``.

    Args:
        values: of the effect.
        accuracies: ``[chips, values]``, in [0, 1].
        ax: where to draw.
        label: for the legend.
        colour: of the line and its band.
        line: matplotlib's line style; markers on other than solid lines are hollow.
        marker: matplotlib's marker.
        baseline: accuracy of the digital model, drawn as a dotted line.

    Raises:
        ValueError: if there is not one column of accuracies per value.
    """
    accuracies = torch.as_tensor(accuracies, dtype=torch.float64)
    if accuracies.dim() != 2 or accuracies.shape[1] != len(values):
        raise ValueError(
            f"accuracies must have shape [chips, {len(values)}], got {list(accuracies.shape)}"
        )
    ax = axes(ax)
    mean = 100 * numbers(accuracies.mean(0))
    spread = 100 * numbers(accuracies.std(0, unbiased=len(accuracies) > 1))
    if baseline is not None:
        ax.axhline(100 * baseline, color=colour, linestyle=":", linewidth=1.2)
    ax.fill_between(values, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    filling = colour if line == "-" else "white"
    ax.plot(values, mean, color=colour, ls=line, marker=marker, mfc=filling, label=label)
    ax.set(ylabel="accuracy (%)", ylim=(0, 102))
    name_lines(ax, label)
    return ax


@styled
def time_axis(ax: Axes, seconds: Sequence[float]) -> Axes:
    """Make the x axis logarithmic in time, with ticks at these times in natural units.

    Args:
        ax: whose axis.
        seconds: where the ticks are (s), > 0.
    """
    ax.set_xscale("log")
    ax.set_xticks(list(seconds), [duration(s) for s in seconds])
    ax.minorticks_off()
    return ax


@styled
def accuracy_of_chips(
    groups: Mapping[str, float | Tensor],
    ax: Axes | None = None,
    *,
    label: str | None = None,
    colour: str = BLUE,
    shift: float = 0.0,
) -> Axes:
    """Draw the accuracies of several groups of chips: every chip, mean and standard deviation.

    Call it once per model to compare several in the same Axes, each with a ``shift`` of its own.

    Args:
        groups: accuracies in [0, 1] by name: of chips, ``[chips]``, or one number.
        ax: where to draw.
        label: for the legend.
        colour: of everything drawn.
        shift: of the marks to the right, in groups.
    """
    ax = axes(ax)
    for k, (name, found) in enumerate(groups.items()):
        chips = 100 * numbers(torch.as_tensor(found, dtype=torch.float64).reshape(-1))
        mean, spread = chips.mean(), chips.std(ddof=1) if len(chips) > 1 else 0.0
        # Side by side in the order of the chips: the same chip has the same place everywhere.
        beside = k + shift + np.linspace(-0.08, 0.08, len(chips)) if len(chips) > 1 else k + shift
        ax.plot(beside, chips, ".", color=colour, alpha=0.35, markersize=5, linewidth=0)
        said = f"{mean:.1f} ± {spread:.1f}" if len(chips) > 1 else f"{mean:.1f}"
        ax.errorbar(k + shift, mean, spread, fmt="o", color=colour, capsize=3,
                    label=label if name == next(iter(groups)) else None)  # fmt: skip
        ax.annotate(said, (k + shift, mean + spread), xytext=(0, 6), textcoords="offset points",
                    ha="center", color=colour, fontsize=8)  # fmt: skip
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set(xlim=(-0.5, len(groups) - 0.5), ylabel="accuracy (%)")
    name_lines(ax, label)
    return ax
