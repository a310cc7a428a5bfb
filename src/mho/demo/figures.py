"""The demo's figures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

import mho
from mho import plot
from mho.demo.results import Results
from mho.demo.sweeps import DAY, Sweep
from mho.nn.base import AnalogLayer
from mho.plot.charts import ACCURACY, accuracy_series, conductances_held, weights_held
from mho.plot.interactive import Axis, lines
from mho.plot.styles import BLUE, GREY, ORANGE

_LOOKS = {"MLP": (BLUE, "o"), "CNN": (ORANGE, "s")}


def accuracy(results: Results) -> Figure:
    """Four panels: accuracy against each property of the chip, one line a model."""
    figure = Figure(figsize=(10.0, 7.2), layout="constrained")
    panels = figure.subplots(2, 2)
    by_panel = groupby(results.curves, lambda curve: curve.sweep.title)
    for ax, (title, curves) in zip(panels.flat, by_panel, strict=True):
        for sweep, accuracies in curves:
            _lines(ax, sweep, accuracies, results.digital)
        ax.set(title=title, xlabel=sweep.axis)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        if sweep.hardware is None:
            plot.time_axis(ax, sweep.values)
        ax.axhline(10, color=GREY, linewidth=0.9)
        at = 0.99 if sweep.falling else 0.01
        ax.text(at, 11, "chance", transform=ax.get_yaxis_transform(), color=GREY, fontsize=9,
                horizontalalignment="right" if sweep.falling else "left")  # fmt: skip
    _legend(figure, results)
    return figure


def _legend(figure: Figure, results: Results) -> None:
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker=marker, label=name)
        for name, (colour, marker) in _LOOKS.items()
    ]
    handles += [
        Patch(color=GREY, alpha=0.25, linewidth=0, label=f"± σ of {results.chips} chips"),
        Line2D([], [], color=GREY, ls="--", marker="o", mfc="white", label="recalibrated then"),
        Line2D([], [], color=GREY, linestyle=":", linewidth=1.2, label="plain PyTorch"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _lines(
    ax: Axes, sweep: Sweep, accuracies: Mapping[str, Tensor], digital: Mapping[str, float]
) -> None:
    for name, found in accuracies.items():
        colour, marker = _LOOKS[name]
        plot.accuracy_against(
            [value * sweep.per_axis for value in sweep.values],
            found,
            ax,
            colour=colour,
            marker=marker,
            line="--" if sweep.recalibrated else "-",
            baseline=None if sweep.recalibrated else digital[name],
        )


def cells(layer: AnalogLayer) -> Figure:
    """Both arrays of a layer's differential pairs, cell by cell."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    for slice_, ax in enumerate(figure.subplots(1, 2)):
        _array(layer, slice_, ax)
    return figure


def _array(layer: AnalogLayer, slice_: int, ax: Axes) -> None:
    (crossbar,) = layer.crossbars.values()
    plot.conductance_map(crossbar, ax, slice=slice_)
    ax.set_title(("Positive array, G⁺", "Negative array, G⁻")[slice_])


def programming(layer: AnalogLayer, reports: Mapping[str, mho.ProgramReport]) -> Figure:
    """What a layer was asked to hold, what it holds, and what it holds a day later."""
    figure = Figure(figsize=(12.0, 4.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    ((part, crossbar),) = layer.crossbars.items()
    plot.target_histogram(reports[part], left)
    left.set(title="Conductances", box_aspect=1)  # square, as the others are
    plot.weight_error(crossbar, layer.matrices()[part], middle)
    middle.set_title("Weights, just programmed")
    crossbar.age(DAY)
    plot.weight_error(crossbar, layer.matrices()[part], right)
    right.set_title("Weights, one day later")
    return figure


class Charts(NamedTuple):
    """The charts of the report.

    Attributes:
        accuracy: one a property of the chip.
        cells: one an array of a layer's differential pairs.
        programming: what one layer's cells were asked to hold, and hold.
    """

    accuracy: list[Any]
    cells: list[Figure]
    programming: list[Any]


def accuracy_charts(results: Results) -> list[Any]:
    """One chart a property of the chip, a colour a model."""
    charts = []
    for title, curves in groupby(results.curves, lambda curve: curve.sweep.title):
        series = []
        for sweep, accuracies in curves:
            at = [value * sweep.per_axis for value in sweep.values]
            for name, found in accuracies.items():
                series.append(
                    accuracy_series(
                        f"{name}, recalibrated" if sweep.recalibrated else name, at, found,
                        colour=_LOOKS[name][0], dashed=sweep.recalibrated,
                        said={"at": [sweep.text(value) for value in sweep.values]},
                    )
                )  # fmt: skip
        digital = {
            f"{name}, digital": (100 * value, _LOOKS[name][0])
            for name, value in results.digital.items()
        }
        across = Axis(sweep.axis)
        if sweep.hardware is None:
            ticks = {value: sweep.text(value) for value in sweep.values}
            across = Axis(sweep.axis, log=True, ticks=ticks)
        references = {**digital, "chance": (10.0, GREY)}
        up = ACCURACY._replace(ends=(0.0, 102.0))
        charts.append(lines(series, x=across, y=up, title=title, references=references))
    return charts


def draw(results: Results, layer: AnalogLayer) -> tuple[dict[str, Figure], Charts]:
    """Return all figures by name, and the charts of the report.

    Args:
        results: what was measured.
        layer: what to look into; it is programmed and aged.
    """
    with plot.style():
        reports = layer.program()
        ((part, crossbar),) = layer.crossbars.items()
        held = [
            conductances_held(reports[part], title="Conductances"),
            weights_held(crossbar, layer.matrices()[part], title="Weights, just programmed"),
        ]
        arrays = [Figure(figsize=(5.6, 4.2), layout="constrained") for _ in range(2)]
        for slice_, figure in enumerate(arrays):
            _array(layer, slice_, figure.subplots())
        figures = {
            "accuracy": accuracy(results),
            "cells": cells(layer),
            "programming": programming(layer, reports),
        }
        later = weights_held(crossbar, layer.matrices()[part], title="Weights, one day later")
    return figures, Charts(accuracy_charts(results), arrays, [*held, later])
