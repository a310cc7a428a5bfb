"""The configuration that a study recommends: the best of those that satisfy what is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mho.core import checks
from mho.core.text import meant
from mho.study.statistics import (
    Flags,
    Means,
    Numbers,
    is_share,
    levels,
    means,
    numeric,
    said,
    short,
    varied,
)

if TYPE_CHECKING:
    from mho.study.records import Outcome

KINDS = ("within", "least", "most")


@dataclass(frozen=True)
class Limit:
    """One thing that is asked of a result.

    Attributes:
        name: of the result.
        least: whether it must be at least the value, instead of at most.
        value: the limit, ``[configurations]`` where another result sets it, else one for all.
        text: in words.
    """

    name: str
    least: bool
    value: Numbers
    text: str

    def met(self, found: Means, sigmas: float) -> Flags:
        """Return which configurations satisfy it; the last digits of sums do not count."""
        least: Flags = self.margin(found, sigmas) >= -1e-12 * np.abs(self.value)
        return least

    def margin(self, found: Means, sigmas: float) -> Numbers:
        """Return by how much each configuration satisfies it, error bar taken off; < 0: not."""
        mean, _, sem = found.of(self.name)
        spare = mean - self.value if self.least else self.value - mean
        return spare - sigmas * np.nan_to_num(sem)


@dataclass(frozen=True)
class Choice:
    """What `Outcome.best` found; print it. It is true where a configuration satisfies all limits.

    Attributes:
        objective: what was asked, in words.
        limits: what it had to satisfy, in words.
        trial: number of the configuration; None if none satisfies all limits.
        settings: of it, by path; of the nearest one if none satisfies all limits.
        results: its means over chips, by name.
        errors: standard errors of these; NaN where there was one chip.
        rivals: other configurations that satisfy all limits, and whose objective is no worse within
            the error bars: chips that were made cannot tell them from the chosen one.
        unsure: configurations better by their objective that satisfy the limits by their means,
            but not with the margin of their error bars: more chips may bring them in.
        edges: settings that the choice has at the end of what was varied: beyond it there may be
            something better.
        nearest: number of the configuration that misses the limits by least, if none satisfies all.
        configurations: how many there were to choose from.
    """

    objective: str
    limits: tuple[str, ...]
    trial: int | None
    settings: Mapping[str, Any]
    results: Mapping[str, float]
    errors: Mapping[str, float]
    rivals: tuple[int, ...] = ()
    unsure: tuple[int, ...] = ()
    edges: tuple[str, ...] = ()
    nearest: int | None = None
    configurations: int = 0
    units: Mapping[str, str] = field(default_factory=dict, repr=False)
    shown: tuple[str, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return self.trial is not None

    def __str__(self) -> str:
        asked = f"{self.objective}, {' and '.join(self.limits) or 'without a limit'}"
        if self.trial is None and self.nearest is None:
            return f"{asked}: no configuration gave numbers"
        if self.trial is None:
            head = (
                f"{asked}: none of {self.configurations} configurations does it. The nearest, "
                f"configuration {self.nearest}:"
            )
        else:
            head = (
                f"{asked}: configuration {self.trial} (of {self.configurations}, on the "
                "chips that were made)"
            )
        names = self.shown or tuple(self.settings)
        width = max(len(name) for name in (*names, *self.results))
        lines = [head]
        lines += [f"  {name:<{width}}  {short(self.settings.get(name))}" for name in names]
        lines += [
            f"  {name:<{width}}  {said(name, value, self.errors[name], self.units.get(name, ''))}"
            for name, value in self.results.items()
        ]
        if self.rivals:
            lines.append(f"  as good within the error bars: {_listed(self.rivals)}")
        if self.unsure:
            lines.append(
                f"  better, if more chips show that they satisfy the limits: {_listed(self.unsure)}"
            )
        if self.edges:
            lines.append(f"  at the end of what was varied: {', '.join(self.edges)}")
        if self and all(math.isnan(error) for error in self.errors.values()):
            lines.append("  one chip each: error bars are not known")
        return "\n".join(lines)


def _listed(trials: tuple[int, ...], most: int = 8) -> str:
    more = f" and {len(trials) - most} more" if len(trials) > most else ""
    return f"{', '.join(map(str, trials[:most]))}{more}"


def choose(
    outcome: Outcome,
    minimize: str | None,
    maximize: str | None,
    reference: Mapping[str, float | str],
    sigmas: float,
    asked: Mapping[str, float],
) -> Choice:
    """Return the best configuration; see `Outcome.best`."""
    found = means(outcome)
    if (minimize is None) == (maximize is None):
        raise ValueError("say either minimize= or maximize=, the name of a result")
    sigmas = checks.number("sigmas", sigmas, least=0.0)
    target = minimize if maximize is None else maximize
    assert target is not None
    mean, _, sem = found.of(target)
    gain = -mean if maximize is None else mean
    limits = _limits(outcome, found, reference, asked)
    usable = ~np.isnan(gain)
    for limit in limits:
        usable &= ~np.isnan(limit.margin(found, 0.0))
    sure, perhaps = usable.copy(), usable.copy()
    for limit in limits:
        sure &= limit.met(found, sigmas)
        perhaps &= limit.met(found, 0.0)
    objective = f"{'least' if maximize is None else 'most'} {target}"
    common: dict[str, Any] = {
        "objective": objective,
        "limits": tuple(limit.text for limit in limits),
        "configurations": len(found.trials),
        "units": outcome.units,
        "shown": tuple(varied(found)),
    }
    if not sure.any():
        at = _nearest(found, limits, usable, sigmas)
        described = {"settings": {}, "results": {}, "errors": {}} if at is None else _at(found, at)
        nearest = None if at is None else found.trials[at]
        return Choice(trial=None, nearest=nearest, **described, **common)
    best = max(np.flatnonzero(sure).tolist(), key=lambda i: (gain[i], _spare(limits, found, i)))
    error = np.hypot(np.nan_to_num(sem), np.nan_to_num(sem[best]))
    ties = sure & (gain >= gain[best] - sigmas * error)
    better = perhaps & ~sure & (gain > gain[best])
    return Choice(
        trial=found.trials[best],
        rivals=tuple(found.trials[i] for i in np.flatnonzero(ties) if i != best),
        unsure=tuple(found.trials[i] for i in np.flatnonzero(better)),
        edges=_edges(found, best),
        **_at(found, best),
        **common,
    )


def _at(found: Means, at: int) -> dict[str, Any]:
    return {
        "settings": dict(found.settings[at]),
        "results": dict(zip(found.names, found.mean[at].tolist(), strict=True)),
        "errors": dict(zip(found.names, found.sem[at].tolist(), strict=True)),
    }


def _edges(found: Means, at: int) -> tuple[str, ...]:
    # Of numbers alone, and of more than two: other values have no order.
    named = []
    for name in varied(found):
        values = levels([settings.get(name) for settings in found.settings])
        ordered = len(values) > 2 and all(numeric(value) for value in values)
        if ordered and found.settings[at][name] in (values[0], values[-1]):
            named.append(name)
    return tuple(named)


def _spare(limits: list[Limit], found: Means, at: int) -> float:
    # Between equals the one that satisfies the limits by more.
    return sum(float(limit.margin(found, 0.0)[at]) for limit in limits)


def _nearest(found: Means, limits: list[Limit], usable: Numbers, sigmas: float) -> int | None:
    if not usable.any():
        return None
    missed = np.zeros(len(usable))
    for limit in limits:
        size = np.maximum(np.abs(limit.value), np.finfo(float).tiny)
        missed += np.maximum(-limit.margin(found, sigmas), 0.0) / size
    return int(np.flatnonzero(usable)[np.argmin(missed[usable.astype(bool)])])


def _limits(
    outcome: Outcome,
    found: Means,
    reference: Mapping[str, float | str],
    asked: Mapping[str, float],
) -> list[Limit]:
    checks.instance("reference", reference, Mapping)
    limits = []
    for key, value in asked.items():
        name, _, kind = key.rpartition("_")
        if kind not in KINDS or name not in found.names:
            raise ValueError(_unknown(key, found))
        _refuse_percent(outcome, key, name, checks.number(key, value))
        if kind == "within":
            limits.append(_within(outcome, found, name, value, reference.get(name)))
            continue
        bound = np.full(len(found.trials), checks.number(key, value))
        shown = said(name, value, math.nan, outcome.units.get(name, ""))
        shown = "0" if value == 0 else shown
        limits.append(Limit(name, kind == "least", bound, f"{name} at {kind} {shown}"))
    unused = sorted(set(reference) - {key.rpartition("_")[0] for key in asked if "_within" in key})
    if unused:
        raise ValueError(f"reference of {unused[0]!r} changes nothing: say {unused[0]}_within, too")
    return limits


def _refuse_percent(outcome: Outcome, key: str, name: str, value: float) -> None:
    # One point of accuracy that is given as 1 would let everything pass.
    percent = value > 1.0 or (value == 1.0 and key.endswith("_within"))
    if percent and is_share(name, outcome.units.get(name, "")):
        raise ValueError(
            f"{key} must be < 1, as {name} is a share in [0, 1] (one point is 0.01), got {value!r}"
        )


def _within(
    outcome: Outcome, found: Means, name: str, value: float, reference: float | str | None
) -> Limit:
    value = checks.number(f"{name}_within", value, least=0.0)
    least = outcome.objectives.get(name, "maximize") == "maximize"
    mean = found.of(name)[0]
    if isinstance(reference, str):
        base, of = found.of(reference)[0], reference
    elif reference is not None:
        base = np.full(len(mean), checks.number(f"reference of {name}", reference))
        of = said(name, reference, math.nan, outcome.units.get(name, ""))
    else:
        known = mean[~np.isnan(mean)]
        top = math.nan if not len(known) else float(known.max() if least else known.min())
        base = np.full(len(mean), top)
        shown = said(name, top, math.nan, outcome.units.get(name, ""))
        of = f"the best found, {shown}"
    shown = said(name, value, math.nan, outcome.units.get(name, "")) if value else "0"
    if shown.endswith(" %"):
        points = f"{100 * value:.3g}"
        shown = f"{points} point{'s' * (points != '1')}"
    bound = base - value if least else base + value
    return Limit(name, least, bound, f"{name} within {shown} of {of}")


def _unknown(key: str, found: Means) -> str:
    known = [f"{name}_{kind}" for name in found.names for kind in KINDS]
    return (
        f"there is no limit {key!r}: limits are the name of a result and _within, _least or "
        f"_most, of {', '.join(found.names) or 'no results yet'}{meant(key, known)}"
    )
