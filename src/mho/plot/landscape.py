"""Loss landscapes: lines with a band over chips, contours with the way training took, surfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt

from mho.plot.styles import BLUE, ORANGE, axes, name_lines, numbers, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mho.analysis.landscapes import Landscape


@styled
def landscape_line(
    found: Landscape, ax: Axes | None = None, *, label: str | None = None, colour: str = BLUE
) -> Axes:
    """Draw the loss along one direction: mean over chips, and one standard deviation around it.

    Args:
        found: a landscape of one direction.
        ax: where to draw.
        label: for the legend.
        colour: of the line and its band.

    Raises:
        ValueError: if it has two directions.
    """
    if len(found.steps) != 1:
        raise ValueError("a line is of one direction; draw two with landscape_contour")
    ax = axes(ax)
    x, mean, spread = (numbers(t) for t in (found.steps[0], found.mean, found.std))
    ax.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    ax.plot(x, mean, color=colour, label=label)
    ax.set(xlabel="step along the direction", ylabel="loss")
    name_lines(ax, label)
    return ax


@styled
def landscape_contour(
    found: Landscape, ax: Axes | None = None, *, levels: int = 14, what: str = "mean"
) -> Axes:
    """Draw the loss over two directions as contours, and the trajectory where there is one.

    Args:
        found: a landscape of two directions.
        ax: where to draw.
        levels: of the contours.
        what: ``"mean"`` over the chips or their ``"std"``.

    Raises:
        ValueError: if it has one direction.
    """
    x, y, loss = _plane(found, what)
    ax = axes(ax)
    filled = ax.contourf(x, y, loss, levels=levels, cmap="viridis")
    ax.contour(x, y, loss, levels=levels, colors="white", linewidths=0.4)
    ax.figure.colorbar(filled, ax=ax, label="loss" if what == "mean" else "σ of the loss")
    if found.trajectory is not None:
        way = numbers(found.trajectory)
        ax.plot(way[:, 0], way[:, 1], color="white", linewidth=2.6)
        ax.plot(way[:, 0], way[:, 1], color=ORANGE, marker="o", ms=3, label="training")
        ax.legend(labelcolor="white")
    ax.plot(0, 0, marker="*", color="white", ms=11, mec="black", mew=0.6)
    ax.grid(False)
    ax.set(xlabel="step along direction 1", ylabel="step along direction 2")
    ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))  # a way may begin far outside
    return ax


@styled
def landscape_surface(found: Landscape, ax: Any = None) -> Any:
    """Draw the mean loss over two directions as a surface.

    Args:
        found: a landscape of two directions.
        ax: 3-D Axes; those of a new figure if not given.

    Raises:
        ValueError: if it has one direction.
    """
    x, y, loss = _plane(found, "mean")
    if ax is None:
        ax = plt.figure().add_subplot(projection="3d")
    grid_x, grid_y = x[None, :].repeat(len(y), 0), y[:, None].repeat(len(x), 1)
    ax.plot_surface(grid_x, grid_y, loss, cmap="viridis", linewidth=0, antialiased=True)
    ax.set(xlabel="direction 1", ylabel="direction 2", zlabel="loss")
    ax.zaxis.labelpad = 8  # beside its numbers
    return ax


def _plane(found: Landscape, what: str) -> tuple[Any, Any, Any]:
    if len(found.steps) != 2:
        raise ValueError("a plane is of two directions; draw one with landscape_line")
    shown = found.mean if what == "mean" else found.std
    return numbers(found.steps[0]), numbers(found.steps[1]), numbers(shown)
