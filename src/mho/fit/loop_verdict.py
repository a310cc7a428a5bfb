"""What a loop fit is worth, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mho.fit.loop_search import Problem
from mho.fit.loop_simulation import Course
from mho.fit.loop_uncertainty import at_bound
from mho.fit.sweeps import excursions

if TYPE_CHECKING:
    from mho.fit.loops import LoopFit


def told(
    fit: LoopFit, problem: Problem, rate: float | None, errors: Mapping[str, float], course: Course
) -> LoopFit:
    """Return the fit with its verdict.

    Args:
        fit: without it.
        problem: that was searched.
        rate: as it was given.
        errors: of every model on the cycles held out, or on all where none was.
        course: of the cycles with their own parameters.
    """
    parts = [
        _how_good(fit),
        _compared(fit, errors),
        _where(fit),
        _spread(fit),
        _window(fit, course),
    ]
    parts += [_times(fit, rate), _bounds(fit, problem)]
    if course.hurried:
        parts.append(
            f"{course.hurried} steps of the simulation were cut short: the model is too fast there."
        )
    return replace(fit, verdict=" ".join(part for part in parts if part))


def _how_good(fit: LoopFit) -> str:
    cycles = fit.data.cycles
    shared = float(np.sqrt((fit.shared_rmse**2).mean()))
    return (
        f"{fit.model} reproduces {cycles} loop{'s' if cycles > 1 else ''} within a relative RMSE "
        f"√(ΣΔI²/ΣI²) of {fit.pooled_rmse:.1%} with parameters of each cycle "
        f"({fit.relative_rmse.min():.1%} … {fit.relative_rmse.max():.1%}; over the mean current "
        f"{fit.rmse_to_mean.mean():.1%}), {shared:.1%} with one set for all."
    )


def _compared(fit: LoopFit, errors: Mapping[str, float]) -> str:
    if len(errors) < 2:
        return ""
    order = sorted(errors.items(), key=lambda item: item[1])
    names = ", ".join(f"{name} {error:.1%}" for name, error in order)
    if np.isnan(fit.held_out_rmse[fit.model]):
        return f"No cycle was held out; errors of the fits to all of them: {names}."
    return f"Cycles held out: {names}."


def _where(fit: LoopFit) -> str:
    # The branch with most of the squared residuals.
    shares: dict[str, float] = {}
    for k, residual in enumerate(fit.residuals):
        v, _ = fit.data.cycle(k)
        for part in excursions(v):
            side = "positive" if part.sign > 0 else "negative"
            for way, at in (("out", part.out), ("back", part.back)):
                key = f"the way {way} under {side} voltages"
                shares[key] = shares.get(key, 0.0) + float((residual[at] ** 2).sum())
    total = sum(shares.values())
    if not total:
        return ""
    most = max(shares, key=lambda key: shares[key])
    return f"It misses most on {most} ({shares[most] / total:.0%} of the squared error)."


def _spread(fit: LoopFit) -> str:
    told = f"Switching measured: {fit.measured}; modelled: {fit.fitted}; drawn cells: {fit.drawn}."
    spreads = ", ".join(fit.device.spreads())
    if not spreads:
        return f"{told} Too few cycles to show a spread."
    told += (
        f" The spread from cycle to cycle ({spreads}) is given to the device as one from cell to "
        "cell: the model has no other."
    )
    if fit.calibration is None:
        return f"{told} Too few cycles to hold some out."
    inside = ", ".join(
        f"{level:.0%}: {found:.0%}"
        for level, found in zip(fit.calibration.levels, fit.calibration.coverage, strict=True)
    )
    return f"{told} Held-out switching voltages inside their intervals – {inside}."


def _window(fit: LoopFit, course: Course) -> str:
    # What of the device's window the loops show.
    p = fit.nominal.parameters()
    seen = [float(fit.nominal.conductance_at(float(x), p)) for x in _ends(course)]
    low, high = fit.nominal.window
    return (
        f"The loops pass conductances of {min(seen):.3g} … {max(seen):.3g} S of the cell; the rest "
        f"of its window, {low:.3g} … {high:.3g} S, is the model's."
    )


def _ends(course: Course) -> tuple[float, float]:
    return float(course.state.min()), float(course.state.max())


def _times(fit: LoopFit, rate: float | None) -> str:
    if fit.data.timed:
        return ""
    at = f"{rate:g} V/s" if rate is not None else "1 V/s, an assumption"
    return f"Speeds are relative to a sweep rate of {at}."


def _bounds(fit: LoopFit, problem: Problem) -> str:
    point = fit.estimates.point
    parts = np.array([float(free.part(np.array(point[k]))) for k, free in enumerate(problem.free)])
    at, blind = at_bound(parts), np.isnan(fit.estimates.errors)
    names = np.array(problem.names)
    told = []
    if at.any():
        told.append(f"At a bound of the search, so without an error: {', '.join(names[at])}.")
    if (blind & ~at).any():
        told.append(
            f"The loops do not tell {', '.join(names[blind & ~at])}: other values, with what "
            "belongs to them, give the same loops."
        )
    return " ".join(told)
