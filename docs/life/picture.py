"""Draw the life of a crossbar: ``python docs/life/picture.py`` writes both pictures to ``_static``.

One for light pages, one for dark ones; small enough to be read on a phone.
"""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

FOLDER = Path(__file__).parents[1] / "_static"
LIGHT = {"ink": "#1F2933", "soft": "#5B6770", "box": "#FFFFFF", "word": "#0072B2", "bit": "#D55E00"}
DARK = {"ink": "#E6E9EC", "soft": "#A9B4BD", "box": "#1B2229", "word": "#56B4E9", "bit": "#F0904D"}
CELLS = (
    (0.9, 0.2, 0.5, 0.7, 0.1),
    (0.3, 0.8, 0.1, 0.4, 0.6),
    (0.6, 0.1, 0.9, 0.2, 0.5),
    (0.2, 0.5, 0.3, 0.8, 0.9),
)
COLUMNS = [37.0 + 6.5 * k for k in range(5)]
ROWS = [38.0 - 6.5 * k for k in range(4)]


def box(
    ax: Axes,
    place: tuple[float, float],
    text: str,
    below: str,
    edge: str,
    look: dict[str, str],
    width: float = 16.6,
) -> None:
    """A stage, and in a few words what happens there."""
    (x, y), height = place, 7.6
    corner = (x - width / 2, y - height / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner, width, height, "round,pad=0,rounding_size=1.6", fc=look["box"], ec=edge, lw=1.6
        )
    )
    ax.text(x, y, text, color=look["ink"], ha="center", va="center", fontsize=11.5, weight="bold")
    if below:
        ax.text(x, y - 5.2, below, color=look["soft"], ha="center", va="top", fontsize=10.5)


def arrow(ax: Axes, path: tuple[tuple[float, float], tuple[float, float]], colour: str) -> None:
    """What is handed on."""
    ax.add_patch(
        FancyArrowPatch(*path, arrowstyle="-|>", mutation_scale=13, color=colour, lw=1.6, shrinkA=0)
    )


def writing(ax: Axes, look: dict[str, str]) -> None:
    """Weights become what cells hold: the upper row."""
    stages = (
        ("weights", "of a network"),
        ("encode", "target\nconductances"),
        ("fabricate", "no two cells\nare alike"),
        ("program", "pulses,\nwrite–verify"),
        ("age", "drift, loss,\nwear"),
    )
    places = [9.4 + 20.3 * k for k in range(5)]
    for x, (name, words) in zip(places, stages, strict=True):
        box(ax, (x, 64.0), name, words, look["soft"], look)
    for left, right in zip(places, places[1:], strict=False):
        arrow(ax, ((left + 8.6, 64.0), (right - 8.5, 64.0)), look["soft"])


def array(ax: Axes, look: dict[str, str]) -> None:
    """Cells where word lines and bit lines cross; darker cells conduct more."""
    for y in ROWS:
        ax.plot([28.0, 67.5], [y, y], color=look["word"], lw=1.8, solid_capstyle="round")
    for x in COLUMNS:
        ax.plot([x, x], [42.0, 12.4], color=look["bit"], lw=1.8, solid_capstyle="round")
    for y, row in zip(ROWS, CELLS, strict=True):
        for x, g in zip(COLUMNS, row, strict=True):
            ax.add_patch(Circle((x, y), 2.0, fc=look["box"], ec=look["ink"], lw=1.3, zorder=3))
            ax.add_patch(Circle((x, y), 2.0, fc=look["ink"], ec="none", alpha=g, zorder=4))


def reading(ax: Axes, look: dict[str, str]) -> None:
    """Inputs become voltages, currents add up, and become numbers: across the array."""
    array(ax, look)
    ax.text(9.4, 36.0, "inputs", color=look["ink"], ha="center", fontsize=11.5, weight="bold")
    arrow(ax, ((9.4, 34.6), (9.4, 32.4)), look["word"])
    box(ax, (9.4, 28.3), "DAC", "voltages\non word lines", look["word"], look)
    arrow(ax, ((18.0, 28.3), (27.6, 28.3)), look["word"])
    box(ax, (50.0, 8.0), "ADC", "", look["bit"], look, width=32.0)
    ax.text(17.0, 8.0, "currents add up\non bit lines", color=look["soft"], fontsize=10.5,
            ha="center", va="center")  # fmt: skip
    arrow(ax, ((66.3, 8.0), (72.7, 8.0)), look["bit"])
    box(ax, (81.3, 8.0), "digital sum", "", look["bit"], look)
    ax.text(97.4, 8.0, "outputs", color=look["ink"], ha="center", va="center", fontsize=11.5,
            weight="bold", rotation=90)  # fmt: skip
    arrow(ax, ((89.9, 8.0), (95.0, 8.0)), look["bit"])
    arrow(ax, ((90.6, 50.4), (69.0, 31.5)), look["soft"])
    ax.text(86.5, 34.6, "cells and wires", color=look["ink"], ha="center", fontsize=11.5,
            weight="bold")  # fmt: skip
    ax.text(86.5, 32.8, "conductances as\nthey are now", color=look["soft"], ha="center", va="top",
            fontsize=10.5)  # fmt: skip


def draw(look: dict[str, str]) -> Figure:
    """Return the whole picture."""
    figure = Figure(figsize=(6.6, 4.49))
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0.0, 100.0), ylim=(2.0, 70.0))
    ax.set_axis_off()
    writing(ax, look)
    reading(ax, look)
    return figure


def main() -> None:
    """Write both pictures; the same bits every time."""
    for name, look in (("light", LIGHT), ("dark", DARK)):
        with matplotlib.rc_context({"svg.hashsalt": "mho", "svg.fonttype": "path"}):
            draw(look).savefig(
                FOLDER / f"life-{name}.svg", transparent=True, metadata={"Date": None}
            )


if __name__ == "__main__":
    main()
