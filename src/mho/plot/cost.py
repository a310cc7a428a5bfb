"""Where the energy of an inference goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mho.plot.styles import BLUE, GREEN, GREY, ORANGE, axes, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mho.analysis.layer_cost import Cost


def cost_breakdown(cost: Cost, ax: Axes | None = None) -> Axes:
    """Draw the energy of one inference, crossbar by crossbar, as stacked bars.

    Each bar is the low estimate, split into cells, lines, drivers and ADCs; the whisker reaches to
    the high one.

    Args:
        cost: of `mho.analysis.cost`.
        ax: where to draw.
    """
    ax = axes(ax)
    layers = cost.layers
    size, prefix = unit(max((layer.energy[1] for layer in layers), default=1.0))
    parts = (
        ("cells", BLUE, [layer.array for layer in layers]),
        ("lines", GREY, [layer.lines for layer in layers]),
        ("DAC", GREEN, [layer.dac[0] for layer in layers]),
        ("ADC", ORANGE, [layer.adc[0] for layer in layers]),
    )
    names = [layer.name for layer in layers]
    bottom = [0.0] * len(layers)
    for label, colour, values in parts:
        if not any(values):
            continue
        heights = [value / size for value in values]
        ax.bar(names, heights, bottom=bottom, color=colour, label=label, width=0.6)
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    reach = [layer.energy[1] / size - b for layer, b in zip(layers, bottom, strict=True)]
    ax.errorbar(
        names, bottom, yerr=[[0.0] * len(layers), reach], fmt="none", ecolor="black", capsize=4,
        label="to the high estimate",
    )  # fmt: skip
    ax.set(ylabel=f"energy of one inference ({prefix}J)", xlabel="crossbar")
    ax.legend()
    return ax
