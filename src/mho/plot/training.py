"""Pictures of training on hardware: accuracy curves, ranks, writes per cell, weights.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mho.core import checks
from mho.plot.styles import BLUE, GREY, ORANGE, axes, cell_map, name_lines, numbers, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def accuracy_curve(
    accuracies: Tensor,
    ax: Axes | None = None,
    *,
    steps: Sequence[float] | None = None,
    label: str | None = None,
    colour: str = BLUE,
    line: str = "-",
) -> Axes:
    """Draw accuracy over training: the mean of several runs, and a band around it.

    The band is one standard deviation of the runs to each side. Call it once per way of training
    to compare several in the same Axes.

    Args:
        accuracies: ``[runs, points]`` (or ``[points]`` of one run), in [0, 1].
        ax: where to draw.
        steps: of the points; epochs from 1 if not given.
        label: for the legend.
        colour: of the line and its band.
        line: matplotlib's line style.

    Raises:
        ValueError: if the shapes do not fit.
    """
    runs = _runs(accuracies)
    if steps is None:
        steps = list(range(1, runs.shape[1] + 1))
        name = "epoch"
    else:
        name = "step"
    if len(steps) != runs.shape[1]:
        raise ValueError(f"steps must be {runs.shape[1]} numbers, got {len(steps)}")
    ax = axes(ax)
    mean, spread = _band(runs)
    ax.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    ax.plot(steps, mean, color=colour, ls=line, label=label)
    ax.set(xlabel=name, ylabel="accuracy (%)")
    name_lines(ax, label)
    return ax


@styled
def rank_accuracy(
    ranks: Sequence[int],
    accuracies: Tensor,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    colour: str = BLUE,
    marker: str = "o",
    baseline: float | None = None,
) -> Axes:
    """Draw accuracy against the rank of the gradients: mean over runs, bars of one deviation.

    Args:
        ranks: of the gradients, >= 1.
        accuracies: ``[runs, ranks]``, in [0, 1].
        ax: where to draw; its x axis becomes logarithmic with ticks at the ranks.
        label: for the legend.
        colour: of line and bars.
        marker: matplotlib's marker.
        baseline: accuracy at full rank, drawn as a dotted line.

    Raises:
        TypeError, ValueError: if a rank is refused or the shapes do not fit.
    """
    for rank in ranks:
        checks.integer("rank", rank)
    runs = _runs(accuracies)
    if runs.shape[1] != len(ranks):
        raise ValueError(
            f"accuracies must have shape [runs, {len(ranks)}], got {list(accuracies.shape)}"
        )
    ax = axes(ax)
    if baseline is not None:
        ax.axhline(100 * baseline, color=colour, linestyle=":", linewidth=1.2)
    mean, spread = _band(runs)
    ax.errorbar(list(ranks), mean, spread, color=colour, marker=marker, capsize=3, label=label)
    # Ticks at the ranks of this call and of those before it.
    before = ax.get_xticks() if ax.get_xscale() == "log" else ()
    seen = sorted({*ranks, *map(round, before)})
    ax.set_xscale("log")
    ax.set_xticks(seen, [str(rank) for rank in seen])
    ax.minorticks_off()
    ax.set(xlabel="rank of the gradient", ylabel="accuracy (%)")
    name_lines(ax, label)
    return ax


@styled
def writes_map(
    writes: Tensor, ax: Axes | None = None, *, endurance: int | None = None, cell: int | None = None
) -> Axes:
    """Draw how often each cell of a matrix was written.

    Args:
        writes: ``[out, in]`` or ``[cells, out, in]``, as ``InSitu.writes`` gives them.
        ax: where to draw.
        endurance: pulses after which a cell answers no more: the end of the colour scale, and
            the title says how many cells have got there.
        cell: which cell of each weight; by default the most written one.

    Raises:
        ValueError: if the shape does not fit, or there is no such cell.
    """
    if writes.dim() not in (2, 3):
        raise ValueError(f"writes must have shape [cells, out, in], got {list(writes.shape)}")
    shown = writes if writes.dim() == 2 else _of(writes, cell)
    ax = axes(ax)
    most = int(shown.max()) if shown.numel() else 0
    scale: dict[str, Any] = {"vmin": 0, "vmax": max(endurance or most, 1), "cmap": "viridis"}
    cell_map(ax, numbers(shown), "pulses per cell", places=("input", "output"), **scale)
    mean = float(shown.double().mean()) if shown.numel() else 0.0
    title = f"{mean:.1f} on average, {most} at most"
    if endurance is not None:
        title += f", {100 * float((shown >= endurance).double().mean()):.2g} % worn out"
    ax.set_title(title)
    return ax


@styled
def weight_histogram(
    before: Tensor,
    after: Tensor,
    ax: Axes | None = None,
    *,
    weight_range: tuple[float, float] | None = None,
    bins: int = 80,
) -> Axes:
    """Draw the distribution of weights before and after training.

    Args:
        before: weights, any shape.
        after: weights, any shape.
        ax: where to draw.
        weight_range: of the cells, drawn as dotted lines.
        bins: of the histogram.

    Raises:
        ValueError: if weights are not finite.
    """
    bins = checks.integer("bins", bins)
    both = {"before": numbers(before).ravel(), "after": numbers(after).ravel()}
    for name, values in both.items():
        checks.finite(name, torch.from_numpy(values))
    ax = axes(ax)
    ends = [*both["before"], *both["after"], *(weight_range or ())] or [0.0, 1.0]
    edges = np.linspace(min(ends), max(ends), bins + 1)
    styles: Mapping[str, dict[str, object]] = {
        "before": {"color": GREY, "alpha": 0.45},
        "after": {"color": BLUE, "histtype": "step", "linewidth": 1.8},
    }
    for name, values in both.items():
        weights = np.full(len(values), 100.0 / max(len(values), 1))
        ax.hist(values, bins=edges, weights=weights, label=name, **styles[name])  # type: ignore[arg-type]
    for end in weight_range or ():
        ax.axvline(end, color=ORANGE, linestyle=":", linewidth=1.2)
    ax.set(xlabel="weight", ylabel="weights (%)")
    ax.legend()
    return ax


def _runs(accuracies: Tensor) -> Tensor:
    values = torch.as_tensor(accuracies, dtype=torch.float64)
    values = values.unsqueeze(0) if values.dim() == 1 else values
    if values.dim() != 2 or not len(values):
        raise ValueError(f"accuracies must have shape [runs, points], got {list(values.shape)}")
    return values


def _band(runs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = runs.mean(0), runs.std(0, unbiased=len(runs) > 1)
    return 100 * numbers(mean), 100 * numbers(spread)


def _of(writes: Tensor, cell: int | None) -> Tensor:
    if cell is None:
        return writes.amax(0)
    cell = checks.integer("cell", cell, least=0, most=len(writes) - 1)
    return writes[cell]
