"""Where the energy of an inference goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mho.plot.styles import BLUE, GREEN, GREY, ORANGE, PURPLE, axes, plain, styled, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mho.analysis.records import Cost, LayerCost

_KINDS = (
    ("cells and lines", BLUE, ("cells", "lines")),
    ("drivers", GREEN, ("drivers",)),
    ("converters", ORANGE, ("converters",)),
    ("digital", PURPLE, ("digital sums", "activations", "control")),
    ("buffers and links", GREY, ("buffers", "interconnect")),
)
_LEAKAGE = "#56B4E9"  # of the same palette


@styled
def cost_breakdown(cost: Cost, ax: Axes | None = None) -> Axes:
    """Draw the energy of one inference, crossbar by crossbar, as stacked bars.

    Each bar is the typical energy of what is counted, by what its circuits do (a part that does
    several things stands with the first of these), and leakage; the whisker is the range. Parts
    that are not counted are named below.

    Args:
        cost: of `mho.analysis.cost`.
        ax: where to draw.
    """
    ax = axes(ax)
    layers = cost.layers
    names = [plain(layer.name or "crossbar") for layer in layers]
    ends = [_ends(layer) for layer in layers]
    size, prefix = unit(max((high for _, _, high in ends), default=1.0))
    bottom = [0.0] * len(layers)
    stacks = [
        (label, colour, [_dynamic(x, does) for x in layers]) for label, colour, does in _KINDS
    ]
    stacks.append(("leakage", _LEAKAGE, [_leakage(layer) for layer in layers]))
    for label, colour, values in stacks:
        if not any(values):
            continue
        heights = [value / size for value in values]
        ax.bar(names, heights, bottom=bottom, color=colour, label=label, width=0.6)
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    below = [max(typical - low, 0.0) / size for low, typical, _ in ends]
    above = [max(high - typical, 0.0) / size for _, typical, high in ends]
    if any(below) or any(above):
        ax.errorbar(
            names, bottom, yerr=[below, above], fmt="none", ecolor="black", capsize=4,
            label="range",
        )  # fmt: skip
    lacking = cost.uncounted("energy")
    note = f"\nnot counted: {', '.join(lacking)}" if lacking else ""
    ax.set(ylabel=f"energy of one inference ({prefix}J)", xlabel=f"crossbar{note}")
    ax.legend()
    return ax


def _dynamic(layer: LayerCost, roles: tuple[str, ...]) -> float:
    found = [part.dynamic for part in layer.parts if part.roles[0] in roles]
    return sum(energy.typical for energy in found if energy is not None)


def _leakage(layer: LayerCost) -> float:
    return sum(part.leakage.typical for part in layer.parts if part.leakage is not None)


def _ends(layer: LayerCost) -> tuple[float, float, float]:
    found = [e for part in layer.parts for e in (part.dynamic, part.leakage) if e is not None]
    return sum(e.low for e in found), sum(e.typical for e in found), sum(e.high for e in found)
