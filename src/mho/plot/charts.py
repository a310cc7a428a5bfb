"""Charts that reports of several kinds show: accuracies of chips, and what crossbars hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mho.crossbar.crossbar import Crossbar
from mho.crossbar.report import ProgramReport
from mho.plot.crossbar import held_weights
from mho.plot.interactive import Axis, Series, lines, scatter
from mho.plot.styles import BLUE, GREY, ORANGE, numbers

if TYPE_CHECKING:
    from bokeh.plotting import figure

_MOST_POINTS = 1500  # of a scatter: a page is sent by mail
_QUANTILES = 400
ACCURACY = Axis("accuracy", "%")


def accuracy_series(name: str, values: Sequence[float], accuracies: Tensor, **look: Any) -> Series:
    """Return accuracy against the size of an effect: mean over chips, and a band around it.

    The band is one standard deviation of the chips to each side.

    Args:
        name: in the legend.
        values: of the effect.
        accuracies: ``[chips, values]``, in [0, 1].
        look: further fields of the `mho.plot.interactive.Series`.
    """
    accuracies = torch.as_tensor(accuracies, dtype=torch.float64)
    mean = 100 * numbers(accuracies.mean(0))
    spread = 100 * numbers(accuracies.std(0, unbiased=len(accuracies) > 1))
    return Series(name, values, mean, mean - spread, mean + spread, **look)


def accuracy_of_groups(
    groups: Mapping[str, Mapping[str, float | Tensor]], *, title: str = ""
) -> figure:
    """Draw accuracies of groups of chips: mean and standard deviation, a colour a model.

    Args:
        groups: accuracies in [0, 1] by model and by the name of the group: of chips, ``[chips]``,
            or one number.
        title: above.
    """
    names = list(dict.fromkeys(name for found in groups.values() for name in found))
    series = []
    for k, (model, found) in enumerate(groups.items()):
        chips = [100 * torch.as_tensor(a, dtype=torch.float64).reshape(-1) for a in found.values()]
        mean = np.array([float(a.mean()) for a in chips])
        spread = np.array([float(a.std()) if len(a) > 1 else 0.0 for a in chips])
        shift = 0.16 * (k - (len(groups) - 1) / 2)
        x = [names.index(name) + shift for name in found]
        said: dict[str, list[Any]] = {"of": list(found), "chips": [len(a) for a in chips]}
        series.append(Series(model, x, mean, mean - spread, mean + spread, said=said, size=9))
    ticks = {float(k): name for k, name in enumerate(names)}
    across = Axis("", ends=(-0.5, len(names) - 0.5), ticks=ticks)
    return scatter(series, x=across, y=ACCURACY, title=title, height=340)


def weights_held(crossbar: Crossbar, weight: Tensor, *, title: str = "") -> figure:
    """Draw weights a crossbar holds against those asked for; those with a stuck cell apart.

    Args:
        crossbar: what holds them.
        weight: what was asked for ``[groups · rows, cols]``; of a layer, ``layer.matrices()``.
        title: above.

    Raises:
        TypeError, ValueError: if the weight is of another kind or shape.
    """
    held = held_weights(crossbar, weight)
    ends = [end for one in held for end in (one.wanted.min(), one.wanted.max())]
    ideal = Series("as asked for", [min(ends), max(ends)], [min(ends), max(ends)], colour=GREY,
                   joined=True, size=0)  # fmt: skip
    series = [ideal]
    for one in held:
        colour = ORANGE if one.broken else BLUE
        few = slice(None, None, -(-len(one.wanted) // _MOST_POINTS))
        name = f"{one.name}: {one.error:.2g} % RMS error"
        series.append(Series(name, one.wanted[few], one.held[few], colour=colour, size=3.5))
    return scatter(series, x="weight asked for", y="weight held", title=title, height=360)


def conductances_held(report: ProgramReport, *, title: str = "") -> figure:
    """Draw which share of the cells was asked to hold less than each conductance, and does.

    Args:
        report: of one crossbar, as `Crossbar.program` (or, in its dict, `mho.program`) returns it.
        title: above.
    """
    share = np.linspace(0.0, 100.0, _QUANTILES)
    series = []
    for name, g, look in (
        ("asked for", report.target, {"colour": GREY, "dashed": True}),
        ("stored", report.achieved, {"colour": ORANGE}),
    ):
        held = np.percentile(numbers(g).ravel(), share)
        series.append(Series(name, held, share, size=0, **look))
    return lines(
        series, x=Axis("conductance", "S"), y=Axis("cells below", "%"), title=title, height=360
    )
