"""What is said and drawn of the accuracies of networks on chips: rows, sentences, charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mho
from mho import plot, study
from mho.core.text import duration
from mho.plot.charts import ACCURACY, accuracy_of_groups, accuracy_series, weights_held
from mho.plot.interactive import Axis, lines
from mho.plot.styles import COLOURS, GREY, MORE_COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAID = "In percent: mean ± standard deviation over the chips, each with cells of its own."
CAPTION = (
    "Marks are means over the chips ± one standard deviation; ideal cells have the same window and "
    "converters. Recalibrated: gain and offset of every output are fitted anew before the test. "
    "Weights are those that the first layer of the first chip holds, against those asked for."
)


def rows(found: dict[str, study.Accuracy]) -> list[tuple[str, ...]]:
    """Return a table's rows: accuracies of every network, in percent, by what it lies on."""
    first = next(iter(found.values()))
    table = [
        ("plain PyTorch", *(f"{100 * one.digital:.1f}" for one in found.values())),
        ("ideal cells", *(_said(one.ideal) for one in found.values())),
        ("this device", *(_said(one.chips[:, 0]) for one in found.values())),
    ]
    for k, time in enumerate(first.times[1:], 1):
        later = duration(time)
        table.append((f"  after {later}", *(_said(one.chips[:, k]) for one in found.values())))
        table.append(
            ("    recalibrated then", *(_said(one.recalibrated[:, k]) for one in found.values()))
        )
    return table


def _said(accuracies: Any) -> str:
    if len(accuracies) == 1:
        return f"{100 * float(accuracies[0]):.1f}"
    return f"{100 * float(accuracies.mean()):.1f} ± {100 * float(accuracies.std()):.1f}"


def loss(label: str, one: study.Accuracy) -> str:
    """Say how many points of accuracy the cells cost a network."""
    now, error = one.loss
    # Chips are compared on the same inputs; other inputs would give other numbers.
    others = (one.digital * (1 - one.digital) / one.samples) ** 0.5
    sure = "" if error != error else f" ± {100 * error:.1f}"
    later = ""
    if len(one.times) > 1:
        lost = [100 * float((one.ideal - a[:, -1]).mean()) for a in (one.chips, one.recalibrated)]
        last = duration(one.times[-1])
        later = f"; after {last} {lost[0]:.1f}, recalibrated then {lost[1]:.1f}"
    return (
        f"{label}: just programmed, the cells cost {100 * now:.1f}{sure} points against ideal ones"
        f"{later} (± of the mean over chips; {one.samples} test inputs, by themselves good to "
        f"± {100 * others:.1f})"
    )


def _groups(one: study.Accuracy) -> dict[str, Any]:
    return {"plain PyTorch": one.digital, "ideal cells": one.ideal, "this device": one.chips[:, 0]}


def _first_crossbar(analog: Any) -> tuple[Any, Any]:
    layer = next(iter(mho.layers(analog).values()))
    part, crossbar = next(iter(layer.crossbars.items()))
    return crossbar, layer.matrices()[part]


def charts(found: dict[str, study.Accuracy], analog: Any) -> list[Any]:
    """Return charts for a page.

    Args:
        found: by network.
        analog: the first chip of the first network.
    """
    groups = {label: _groups(one) for label, one in found.items()}
    made: list[Any] = [accuracy_of_groups(groups, title="Just programmed")]
    times = [1.0, *next(iter(found.values())).times[1:]]
    if len(times) > 1:
        series, digital = [], {}
        for (label, one), colour in zip(found.items(), MORE_COLOURS, strict=False):
            series.append(accuracy_series(label, times, one.chips, colour=colour))
            again = f"{label}, recalibrated"
            series.append(
                accuracy_series(again, times, one.recalibrated, colour=colour, dashed=True)
            )
            digital[f"{label}, digital"] = (100 * one.digital, colour)
        ticks = dict(zip(times, ["new", *map(duration, times[1:])], strict=True))
        across = Axis("after programming", log=True, ticks=ticks)
        made.append(lines(series, x=across, y=ACCURACY, title="As time passes", references=digital))
    return [*made, weights_held(*_first_crossbar(analog), title="Weights held")]


def draw(found: dict[str, study.Accuracy], analog: Any) -> Figure:
    """Draw the same for print; see `charts`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    ages = len(next(iter(found.values())).times) > 1
    figure = Figure(figsize=(13.2 if ages else 9.6, 4.4), layout="constrained")
    panels = list(figure.subplots(1, 3 if ages else 2))
    for k, (label, one) in enumerate(found.items()):
        look = {"colour": COLOURS[k % len(COLOURS)], "label": label}
        shift = 0.3 * (k - (len(found) - 1) / 2)
        plot.accuracy_of_chips(_groups(one), panels[0], shift=shift, **look)
        if ages:
            times = [1.0, *one.times[1:]]
            plot.accuracy_against(times, one.chips, panels[1], baseline=one.digital, **look)
            again: Any = {"colour": look["colour"], "line": "--"}
            plot.accuracy_against(times, one.recalibrated, panels[1], **again)
            plot.time_axis(panels[1], times)
            panels[1].set_xticks(times, ["new", *map(duration, times[1:])])
    panels[0].set_title("just programmed")
    panels[0].yaxis.set_major_locator(MaxNLocator(nbins=8))
    panels[0].margins(y=0.15)
    panels[0].legend(loc="best")
    if ages:
        panels[1].set(title="as time passes", xlabel="after programming")
        panels[1].plot([], [], color=GREY, ls="--", marker="o", mfc="white", label="recalibrated")
        panels[1].legend(loc="lower left")
    first = next(iter(found))
    plot.weight_error(*_first_crossbar(analog), panels[-1])
    panels[-1].set_title("weights held")
    panels[-1].set_ylabel(f"weight held, first layer of {first}")
    return figure
