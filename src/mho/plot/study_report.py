"""The page of a study: what it recommends, the front, every setting, shares of the variance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mho
from mho.plot.canvas import models
from mho.plot.interactive import Axis, Series, bars, lines, scatter
from mho.plot.page import Cards, Part, Section, Table, write
from mho.plot.study import parallel_coordinates
from mho.plot.study_axes import Steps, named, quantiles, steps, through
from mho.plot.styles import BLUE, GREY, ORANGE, PREFIXED, unit
from mho.study.sensitivity import TOO_WIDE
from mho.study.statistics import (
    Means,
    chances,
    gains,
    is_share,
    means,
    said,
    short,
    undominated,
    varied,
)

if TYPE_CHECKING:
    from mho.study.choice import Choice
    from mho.study.records import Outcome
    from mho.study.sensitivity import Sensitivity

_LISTED = 60  # rows of a table of the page
_DRAWS = 500
_ROOM = 26  # characters below a chart, side by side


def report(outcome: Outcome, path: str | Path, choice: Choice | None = None) -> Path:
    """Write the page of a study; see `mho.study.Outcome.report`."""
    found = means(outcome)
    sections = [_answer(outcome, found, choice)]
    wanted = {n: way for n, way in outcome.objectives.items() if np.isfinite(found.of(n)[0]).any()}
    names = varied(found)
    if wanted:
        sections.append(_front(outcome, found, wanted, choice))
    if wanted and names:
        main = next(iter(wanted))
        sections.append(_settings(outcome, found, names, main, choice))
        sections.append(_coordinates(outcome, main, choice))
        sections += _shares(outcome, wanted)
    if any(found.failed):
        sections.append(_failures(found, names))
    subtitle = (
        f"{len(found.trials)} configurations, {sum(found.chips)} chips"
        f"{f', {sum(found.failed)} failed' if any(found.failed) else ''}; mho {mho.__version__}"
    )
    return write(path, outcome.name, sections, subtitle=subtitle)


def _answer(outcome: Outcome, found: Means, choice: Choice | None) -> Section:
    if choice is None:
        best = [
            (f"{way} {name}", *_extreme(outcome, found, name, way))
            for name, way in outcome.objectives.items()
        ]
        return Section("The best of each objective", [Cards(best)])
    asked = f"{_sentence(choice.objective)}, {' and '.join(choice.limits) or 'without a limit'}."
    where = choice.trial if choice else choice.nearest
    if where is None:
        return Section("The answer", [f"{asked} No configuration gave numbers."])
    cards = [(name, short(choice.settings.get(name)), "") for name in choice.shown]
    cards += [
        (name, said(name, value, choice.errors[name], outcome.units.get(name, "")), "")
        for name, value in choice.results.items()
    ]
    parts: list[Part] = [asked]
    if choice:
        parts.append(f"Configuration {where} of {choice.configurations}:")
    else:
        parts.append(
            f"None of {choice.configurations} configurations does it. The nearest is "
            f"configuration {where}:"
        )
    parts.append(Cards(cards))
    if choice.rivals:
        parts.append(f"As good within the error bars: configurations {_few(choice.rivals)}.")
    if choice.unsure:
        parts.append(
            "Better, if more chips show that they satisfy the limits: configurations "
            f"{_few(choice.unsure)}."
        )
    if choice.edges:
        parts.append(
            f"It is at the end of what was varied in {', '.join(choice.edges)}: beyond it there "
            "may be something better."
        )
    caption = (
        "Means over chips ± standard error. Of many configurations the luckiest tends to be "
        "chosen: on new chips it is a little worse."
    )
    return Section("The answer", parts, caption)


def _extreme(outcome: Outcome, found: Means, name: str, way: str) -> tuple[str, str]:
    mean, _, sem = found.of(name)
    if np.isnan(mean).all():
        return "–", "no chip finished"
    i = int(np.nanargmax(mean) if way == "maximize" else np.nanargmin(mean))
    value = said(name, float(mean[i]), float(sem[i]), outcome.units.get(name, ""))
    return value, f"configuration {found.trials[i]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _few(trials: tuple[int, ...], most: int = 12) -> str:
    more = f" and {len(trials) - most} more" if len(trials) > most else ""
    return f"{', '.join(map(str, trials[:most]))}{more}"


# ── the front ────────────────────────────────────────────────────────────────────────────────────


def _front(
    outcome: Outcome, found: Means, wanted: Mapping[str, str], choice: Choice | None
) -> Section:
    gain, error = gains(found, wanted)
    count = np.stack([found.count[:, found.names.index(n)] for n in wanted], axis=1)
    chance = chances(gain, error, count, _DRAWS, seed=0)
    front = np.flatnonzero(undominated(gain))
    order = front[np.argsort(-gain[front, 0], kind="stable")]
    names = varied(found)
    rows = [
        (
            found.trials[i],
            *(short(found.settings[i].get(name)) for name in names),
            *(_result(outcome, found, name, i) for name in wanted),
            "–" if math.isnan(chance[i]) else f"{chance[i]:.0%}",
        )
        for i in order[:_LISTED]
    ]
    table = Table(("configuration", *names, *wanted, "chance"), rows)
    parts: list[Part] = []
    if len(wanted) > 1:
        up, *others = wanted
        parts += [_scatter(outcome, found, (up, right), choice) for right in others]
    more = f" The first {_LISTED} of {len(order)} are listed." if len(order) > _LISTED else ""
    caption = (
        "Configurations that no other one beats in every objective, by their means over chips; "
        "bars are standard errors. Chance: how likely each is on the front when the means are "
        f"drawn anew within their errors.{more}"
    )
    return Section("The front", [*parts, table], caption)


def _result(outcome: Outcome, found: Means, name: str, i: int) -> str:
    mean, _, sem = found.of(name)
    return said(name, float(mean[i]), float(sem[i]), outcome.units.get(name, ""))


def _scatter(outcome: Outcome, found: Means, pair: tuple[str, str], choice: Choice | None) -> Any:
    up, right = pair
    gain, _ = gains(found, {name: outcome.objectives[name] for name in pair})
    front = undominated(gain)
    usable = np.flatnonzero(~np.isnan(gain).any(axis=1))
    of_front = np.flatnonzero(front)
    of_front = of_front[np.argsort(found.of(right)[0][of_front], kind="stable")]
    series = [
        _points(
            outcome, found, pair, usable[~front[usable]], "configurations", colour=GREY, size=5
        ),
        _points(outcome, found, pair, of_front, "the front", colour=BLUE, joined=True, errors=True),
    ]
    if choice and choice.trial in found.trials:
        at = np.array([found.trials.index(choice.trial)])
        series.append(_points(outcome, found, pair, at, "chosen", colour=ORANGE, size=14))
    x = found.of(right)[0][usable]
    return scatter(
        series,
        x=_decades(right, x * _size(outcome, right), _unit(outcome, right)),
        y=Axis(up, _unit(outcome, up)),
        title=f"{up} against {right}",
    )


def _decades(name: str, values: Any, unit_of: str) -> Axis:
    """Return an axis that is logarithmic where values span more than a decade."""
    values = values[np.isfinite(values)]
    if not (len(values) and (values > 0).all() and values.max() > 20 * values.min()):
        return Axis(name, unit_of)
    # One, two, five of every decade: what fits on a telephone.
    size = unit(float(values.max()))[0] if unit_of in PREFIXED else 1.0
    low, high = (math.floor(math.log10(end)) for end in (values.min(), values.max()))
    steps_ = [m * 10.0**e for e in range(low, high + 1) for m in (1.0, 2.0, 5.0)]
    if high - low > 2:
        steps_ = steps_[::3]
    ticks = {value: f"{value / size:g}" for value in steps_}
    return Axis(name, unit_of, log=True, ticks=ticks)


def _points(
    outcome: Outcome,
    found: Means,
    pair: tuple[str, str],
    at: Any,
    name: str,
    *,
    errors: bool = False,
    **look: Any,
) -> Series:
    up, right = pair
    (y, _, dy), (x, _, dx) = found.of(up), found.of(right)
    y, x = y[at] * _size(outcome, up), x[at] * _size(outcome, right)
    dy = np.nan_to_num(dy[at]) * _size(outcome, up)
    dx = np.nan_to_num(dx[at]) * _size(outcome, right)
    told: dict[str, list[Any]] = {"configuration": [found.trials[i] for i in at]}
    for setting in varied(found):
        told[setting] = [short(found.settings[i].get(setting)) for i in at]
    bars_: dict[str, Any] = {}
    if errors:
        bars_ = {"low": y - dy, "high": y + dy, "x_low": x - dx, "x_high": x + dx}
    return Series(name, x, y, said=told, **bars_, **look)


def _size(outcome: Outcome, name: str) -> float:
    of = outcome.units.get(name, "")
    return 100.0 if is_share(name, of) else 1e6 if of == "m²" else 1.0


def _unit(outcome: Outcome, name: str) -> str:
    of = outcome.units.get(name, "")
    return "%" if is_share(name, of) else "mm²" if of == "m²" else of


# ── one setting after the other ──────────────────────────────────────────────────────────────────


def _settings(
    outcome: Outcome, found: Means, names: list[str], main: str, choice: Choice | None
) -> Section:
    charts = [_against(outcome, found, name, main, choice) for name in names]
    caption = (
        "The line is the median over all configurations of a value, the band holds 10 to 90 % of "
        "them: what the other settings do."
    )
    if choice:
        caption += (
            " The second line goes through the choice, the other settings as chosen; its band is "
            "the standard error over chips."
        )
    return Section(f"{_sentence(main)} against each setting", charts, caption)


def _against(outcome: Outcome, found: Means, name: str, main: str, choice: Choice | None) -> Any:
    along = steps(found, name)
    mean = found.of(main)[0]
    size = _size(outcome, main)
    ends = np.array([quantiles(mean[along.group == i]) for i in range(len(along.ticks))]) * size
    low, middle, high = ends.T
    series = [Series("median of all", along.ticks, middle, low, high, colour=BLUE)]
    if choice is not None and along.texts is not None:
        at, y, dy = through(found, choice, name, main)
        y, dy = y * size, dy * size
        if len(at) > 1:
            series.append(Series("the others as chosen", at, y, y - dy, y + dy, colour=ORANGE))
    chart: Any = lines(
        series,
        x=Axis(named(outcome, name), ticks=_ticks(along)),
        y=Axis(main, _unit(outcome, main)),
        title=name,
        height=300,
    )
    if along.texts is not None and sum(map(len, along.texts)) > _ROOM:
        chart.xaxis[0].major_label_orientation = 0.8
        chart.xaxis[0].major_label_policy = models.AllLabels()
        chart.height += 40
    return chart


def _ticks(along: Steps) -> dict[float, str] | None:
    if along.texts is None:
        return None
    return dict(zip(along.ticks, along.texts, strict=True))


def _coordinates(outcome: Outcome, main: str, choice: Choice | None) -> Section:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 4.4), layout="constrained")
    parallel_coordinates(outcome, figure.subplots(), result=main, choice=choice)
    return Section(
        "All configurations", [figure], f"A line is a configuration, its colour is {main}."
    )


# ── shares ───────────────────────────────────────────────────────────────────────────────────────


def _shares(outcome: Outcome, wanted: Mapping[str, str]) -> list[Section]:
    charts, notes = [], []
    for name in wanted:
        try:
            shares = outcome.sensitivity(name)
        except (ImportError, ValueError) as error:
            notes.append(f"{error}.")
            continue
        if np.fmax(shares.first_error, shares.total_error).max() >= TOO_WIDE:
            notes.append(
                f"{name}: too few chips, their scatter is as large as the differences between "
                "configurations."
            )
            continue
        charts.append(_share_bars(shares))
        notes.append(
            f"{name}: {shares.method}, {shares.configurations} configurations{_scattered(shares)}."
        )
    caption = (
        "First-order: the share of the variance that a setting explains by itself. Total: the "
        "share that it has a part in. Bars are 95 % intervals. " + " ".join(notes)
    )
    if not charts:
        return [Section("Which setting matters", notes)] if notes else []
    return [Section("Which setting matters", charts, caption)]


def _scattered(shares: Sensitivity) -> str:
    if math.isnan(shares.scatter):
        return ", one chip each: part of it may be their scatter"
    return f", {shares.scatter:.1%} of the variance is the scatter of chips"


def _share_bars(shares: Sensitivity) -> Any:
    values = {"first-order": shares.first}
    errors = {"first-order": np.nan_to_num(shares.first_error)}
    if not np.isnan(shares.total).all():
        values["total"], errors["total"] = shares.total, np.nan_to_num(shares.total_error)
    return bars(
        list(shares.names),
        values,
        errors=errors,
        y=f"share of the variance of {shares.result}",
        title=shares.result,
        height=300,
    )


def _failures(found: Means, names: list[str]) -> Section:
    failed = [i for i, count in enumerate(found.failed) if count]
    rows = [
        (
            found.trials[i],
            *(short(found.settings[i].get(name)) for name in names),
            f"{found.failed[i]} of {found.failed[i] + found.chips[i]}",
            found.errors[i],
        )
        for i in failed[:_LISTED]
    ]
    more = f"The first {_LISTED} of {len(failed)} configurations." if len(failed) > _LISTED else ""
    table = Table(("configuration", *names, "chips failed", "error"), rows, left=len(names) + 3)
    return Section("What failed", [table], more)
