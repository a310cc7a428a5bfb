"""The demo's figures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

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
    (crossbar,) = layer.crossbars.values()
    names = ("Positive array, G⁺", "Negative array, G⁻")
    for slice_, (ax, name) in enumerate(zip(figure.subplots(1, 2), names, strict=True)):
        plot.conductance_map(crossbar, ax, slice=slice_)
        ax.set_title(name)
    return figure


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


def draw(results: Results, layer: AnalogLayer) -> dict[str, Figure]:
    """Return all figures by name.

    Args:
        results: what was measured.
        layer: what to look into; it is programmed and aged.
    """
    with plot.style():
        reports = layer.program()
        return {
            "accuracy": accuracy(results),
            "cells": cells(layer),
            "programming": programming(layer, reports),
        }
