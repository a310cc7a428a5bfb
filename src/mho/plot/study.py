"""Pictures of a study: results against what was varied, the front, sensitivities.

Every function draws into the Axes given (a new figure's if none) and returns them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mho.plot.study_axes import Numbers, Steps, named, quantiles, shown, steps, through
from mho.plot.styles import BLUE, GREY, ORANGE, axes, plain, styled
from mho.study.sensitivity import TOO_WIDE
from mho.study.statistics import gains, means, undominated, varied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mho.study.choice import Choice
    from mho.study.records import Outcome
    from mho.study.sensitivity import Sensitivity

_DECADES = 300.0  # the largest by the smallest value, of an axis with ticks within decades
_BOX = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0}


@styled
def result_against(
    outcome: Outcome,
    setting: str,
    ax: Axes | None = None,
    *,
    result: str = "accuracy",
    choice: Choice | None = None,
) -> Axes:
    """Draw a result against one setting, over all that was run.

    The line is the median over all configurations of a value, the band reaches from the 10th to the
    90th percentile: what the other settings do. With a choice a second line goes through it, the
    other settings as chosen, where that was run; its bars are standard errors over chips.

    Args:
        outcome: of a study.
        setting: its path.
        ax: where to draw.
        result: its name.
        choice: what `Outcome.best` gave.

    Raises:
        ValueError: if there is no such setting or result.
    """
    found = means(outcome)
    mean = found.of(result)[0]
    along, up = steps(found, setting), shown(result, mean, outcome.units.get(result, ""))
    ax = axes(ax)
    ends = [quantiles(mean[along.group == i]) for i in range(len(along.ticks))]
    low, middle, high = (np.array(column) / up.size for column in zip(*ends, strict=True))
    ax.fill_between(along.ticks, low, high, color=BLUE, alpha=0.18, linewidth=0,
                    label="10 – 90 % of all")  # fmt: skip
    ax.plot(along.ticks, middle, color=BLUE, marker="o", label="median of all")
    if choice is not None and along.texts is not None:
        at, y, dy = through(found, choice, setting, result)
        if len(at) > 1:
            ax.errorbar(at, y / up.size, dy / up.size, color=ORANGE, marker="s", capsize=2,
                        label="the others as chosen")  # fmt: skip
    _set_ticks(ax, along)
    if up.log:
        _log(ax, "y")
    ax.set(xlabel=plain(named(outcome, setting)), ylabel=plain(up.text))
    return ax


@styled
def pareto_front(
    outcome: Outcome,
    ax: Axes | None = None,
    *,
    objectives: Sequence[str] | None = None,
    choice: Choice | None = None,
) -> Axes:
    """Draw two objectives of all configurations, those on the front with error bars.

    Bars are standard errors of the means over chips. The first objective runs upwards, the second
    to the right.

    Args:
        outcome: of a study.
        ax: where to draw.
        objectives: two of the study's; its first two if not given.
        choice: what `Outcome.best` gave; drawn as a star.

    Raises:
        ValueError: if there are not two objectives.
    """
    up, right = two_objectives(outcome, objectives)
    found = means(outcome)
    ax = axes(ax)
    (y, _, dy), (x, _, dx) = found.of(up), found.of(right)
    of_y = shown(up, y, outcome.units.get(up, ""))
    of_x = shown(right, x, outcome.units.get(right, ""))
    gain, _ = gains(found, {name: outcome.objectives[name] for name in (up, right)})
    front = undominated(gain)
    order = np.flatnonzero(front)[np.argsort(x[front])]
    ax.plot(x[~front] / of_x.size, y[~front] / of_y.size, ".", color=GREY, alpha=0.45,
            markersize=6, linewidth=0, label="configurations")  # fmt: skip
    ax.errorbar(
        x[order] / of_x.size, y[order] / of_y.size, np.nan_to_num(dy[order]) / of_y.size,
        np.nan_to_num(dx[order]) / of_x.size, color=BLUE, marker="o", linewidth=1.2, capsize=2,
        label="the front ± standard error",
    )  # fmt: skip
    if choice:
        ax.plot(choice.results[right] / of_x.size, choice.results[up] / of_y.size, "*",
                color=ORANGE, markersize=15, markeredgecolor="white", linewidth=0, zorder=5,
                label="chosen")  # fmt: skip
    if of_x.log:
        _log(ax, "x")
    ax.set(xlabel=plain(of_x.text), ylabel=plain(of_y.text))
    ax.legend(loc="best")
    return ax


def two_objectives(outcome: Outcome, objectives: Sequence[str] | None) -> tuple[str, str]:
    """Return the two objectives of a front (ValueError if there are not two)."""
    names = list(outcome.objectives if objectives is None else objectives)
    wrong = [name for name in names if name not in outcome.objectives]
    if len(names) < 2 or wrong or (objectives is not None and len(names) != 2):
        raise ValueError(
            f"a front is drawn over two objectives of the study, which has "
            f"{', '.join(outcome.objectives)}; got {', '.join(names)}"
        )
    return names[0], names[1]


@styled
def parallel_coordinates(
    outcome: Outcome,
    ax: Axes | None = None,
    *,
    result: str = "accuracy",
    choice: Choice | None = None,
) -> Axes:
    """Draw every configuration as a line over all settings that vary, coloured by a result.

    Args:
        outcome: of a study.
        ax: where to draw.
        result: what colours the lines.
        choice: what `Outcome.best` gave; its line is drawn over the others.

    Raises:
        ValueError: if nothing was varied, or there is no such result.
    """
    found = means(outcome)
    names = varied(found)
    if not names:
        raise ValueError("nothing was varied: there are no coordinates")
    mean, _, _ = found.of(result)
    ax = axes(ax)
    scales = [steps(found, name) for name in names]
    height = np.stack([_unit_height(scale.place) for scale in scales], axis=1)
    colour = shown(result, mean, outcome.units.get(result, ""))
    usable = np.isfinite(mean)
    ends = np.quantile(mean[usable] / colour.size, [0.02, 1.0]) if usable.any() else (0.0, 1.0)
    norm = Normalize(*ends)
    order = np.flatnonzero(usable)[np.argsort(mean[usable])]
    # Lines of one value would hide each other: each takes its own place, a little beside it.
    beside = height + 0.035 * (_ranks(mean)[:, None] - 0.5)
    across = np.broadcast_to(np.arange(len(names), dtype=np.float64), beside.shape)
    lines = LineCollection(
        list(np.stack((across, beside), axis=-1)[order]), cmap="viridis", norm=norm, alpha=0.55,
        linewidths=0.9, array=mean[order] / colour.size,
    )  # fmt: skip
    ax.add_collection(lines)
    if choice and choice.trial in found.trials:
        i = found.trials.index(choice.trial)
        ax.plot(range(len(names)), height[i], color=ORANGE, marker="o", linewidth=2.6,
                markeredgecolor="white", label="chosen", zorder=5)  # fmt: skip
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    for at, (scale, name) in enumerate(zip(scales, names, strict=True)):
        _coordinate(ax, at, scale, [s.get(name) for s in found.settings])
    ax.set_xticks(range(len(names)), [plain(named(outcome, name)) for name in names])
    ax.set(xlim=(-0.25, len(names) - 0.4), ylim=(-0.06, 1.06), yticks=[])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(axis="x", length=0, labelsize=10)
    bar: Any = ax.figure.colorbar(
        ScalarMappable(norm, "viridis"), ax=ax, label=plain(colour.text), pad=0.02
    )
    bar.outline.set_visible(False)
    return ax


@styled
def sensitivity_bars(found: Sensitivity, ax: Axes | None = None) -> Axes:
    """Draw first-order and total indices of every setting, with 95 % intervals.

    Where the chips are too few to tell an index, words stand in the place of its bar.

    Args:
        found: what `Outcome.sensitivity` gave.
        ax: where to draw.
    """
    ax = axes(ax)
    at = np.arange(len(found.names))[::-1].astype(float)
    known = not np.isnan(found.total).all()
    kinds = [("first-order", found.first, found.first_error, BLUE)]
    if known:
        kinds.append(("total", found.total, found.total_error, ORANGE))
    height = 0.36 if known else 0.55
    for i, (name, values, errors, colour) in enumerate(kinds):
        shift = (0.5 - i) * height if known else 0.0
        wide = errors >= TOO_WIDE
        values, errors = np.where(wide, 0.0, values), np.where(wide, math.nan, errors)
        bars = None if np.isnan(errors).all() else np.nan_to_num(errors)
        ax.barh(at + shift, values, height * 0.92, color=colour, label=name, xerr=bars,
                error_kw={"elinewidth": 1.0, "capsize": 2})  # fmt: skip
        for place in at[wide] + shift:
            ax.annotate("too few chips", (0.0, place), xytext=(4, 0), color=colour, va="center",
                        textcoords="offset points", size="small")  # fmt: skip
    ax.set_yticks(at, list(map(plain, found.names)))
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(f"share of the variance of {plain(found.result)}")
    ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))
    if known:
        ax.legend(loc="best")
    return ax


@styled
def study_sheet(outcome: Outcome, choice: Choice | None = None) -> Figure:
    """Draw a study on one sheet: the front, results against each setting, coordinates, shares.

    What needs more than was run (a front of one objective, sensitivities of a few configurations)
    is left out.

    Args:
        outcome: of a study.
        choice: what `Outcome.best` gave.

    Raises:
        ValueError: if nothing was varied, or nothing was found.
    """
    found = means(outcome)
    names = varied(found)
    seen = [name for name in outcome.objectives if np.isfinite(found.of(name)[0]).any()]
    main = next(iter(seen), None)
    if not names or main is None:
        raise ValueError("nothing was varied, or nothing was found: there is nothing to draw")
    columns = max(2, min(3, len(names)))
    rows = math.ceil(len(names) / columns)
    try:
        shares = outcome.sensitivity(main)
    except (ImportError, ValueError):
        shares = None
    figure: Any = plt.figure(figsize=(4.2 * columns, 4.0 + 3.3 * rows + 3.8), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(4.0, 3.3 * rows, 3.8))
    many = len(seen) > 1
    upper = top.subplots(1, 2 if many and shares is not None else 1, squeeze=False)[0]
    if many:
        pareto_front(outcome, upper[0], objectives=seen[:2], choice=choice)
    if shares is not None:
        sensitivity_bars(shares, upper[-1])
    panels = middle.subplots(rows, columns, squeeze=False, sharey=True).flat
    for name, ax in zip(names, panels, strict=False):
        result_against(outcome, name, ax, result=main, choice=choice)
    for ax in list(panels):
        ax.remove()
    middle.axes[0].legend(loc="best", fontsize=8)
    for ax in middle.axes[1:]:
        ax.set_ylabel("" if ax.get_subplotspec().colspan.start else ax.get_ylabel())
    parallel_coordinates(outcome, bottom.subplots(), result=main, choice=choice)
    return figure


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────


def _set_ticks(ax: Axes, along: Steps) -> None:
    if along.texts is None:
        return
    long = sum(map(len, along.texts)) > 26
    ax.set_xticks(along.ticks, list(map(plain, along.texts)), rotation=40 if long else 0,
                  ha="right" if long else "center", rotation_mode="anchor")  # fmt: skip


def _log(ax: Axes, which: str) -> None:
    # One, two, five of every decade, in plain numbers; of many decades the ones alone.
    ax.set(**{f"{which}scale": "log"})
    axis: Any = getattr(ax, f"{which}axis")
    low, high = axis.get_data_interval()
    subs = (1.0, 2.0, 5.0) if high < _DECADES * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _unit_height(places: Numbers) -> Numbers:
    span = float(np.ptp(places))
    return (places - places.min()) / span if span else np.full_like(places, 0.5)


def _ranks(values: Numbers) -> Numbers:
    order = np.argsort(np.argsort(np.nan_to_num(values, nan=-math.inf)))
    return order / max(len(values) - 1, 1)


def _coordinate(ax: Axes, at: int, scale: Steps, values: Sequence[Any]) -> None:
    ax.axvline(at, color=GREY, linewidth=0.8)
    if scale.texts is not None:
        texts, heights = scale.texts, _unit_height(np.array(scale.ticks))
    else:
        numbers = np.array(values, dtype=np.float64)
        texts = [f"{x:.3g}" for x in (numbers.min(), numbers.max())]
        heights = np.array([0.0, 1.0])
    for text, height in zip(texts, heights, strict=True):
        ax.text(
            at + 0.03, float(height), plain(text), fontsize=8.5, va="center", zorder=6, bbox=_BOX
        )
