"""Which setting matters: the shares of a result's variance, first-order and total."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mho.core.extras import need
from mho.core.text import table
from mho.study.statistics import (
    Means,
    Numbers,
    key,
    levels,
    means,
    number,
    numeric,
    setting_names,
    varied,
)

if TYPE_CHECKING:
    from mho.study.records import Outcome

_RESAMPLES = 200
_LEAST = 40  # configurations for an estimate from given data
_BLOCKS = 8  # of a Saltelli design


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What `Outcome.sensitivity` found; print it.

    The variance of a result (its mean over chips) over the configurations is parted among the
    settings: the first-order index of a setting is the share that it explains by itself, the total
    index the share that it has a part in, by itself and together with others (I. M. Sobol',
    Mathematics and Computers in Simulation 55, 271 (2001), doi 10.1016/S0378-4754(00)00270-6).

    How they are found follows from what was run:

    * the design of Saltelli (``sampler="sobol"``): SALib's estimates of both;
    * a full grid: both are sums over the grid. What the chips' scatter adds to them is left out,
      where every configuration has the same chips: products are taken of different chips alone,
      which have nothing in common but the settings (intervals: jackknife over chips);
    * anything else, from 40 configurations on: SALib's RBD-FAST, first-order indices alone. Total
      indices cannot be told from such data, and are NaN.

    Attributes:
        result: whose variance it is.
        names: of the settings.
        first: first-order indices, ``[settings]``; estimates may be a little below 0.
        total: total indices, likewise; NaN where they are not known.
        first_error: half widths of their 95 % intervals; from 1 on (infinite, where the differences
            between configurations are no larger than the chips' scatter) the index says nothing.
        total_error: likewise.
        method: how they were found, in words.
        configurations: that went in.
        scatter: share of the variance that is the chips' scatter and no setting's, left out of a
            grid and within the others; NaN where every configuration has one chip.
    """

    result: str
    names: tuple[str, ...]
    first: Numbers
    total: Numbers
    first_error: Numbers
    total_error: Numbers
    method: str
    configurations: int
    scatter: float

    def __str__(self) -> str:
        rows = [
            (name, _said(a, da), _said(b, db))
            for name, a, da, b, db in zip(
                self.names, self.first, self.first_error, self.total, self.total_error, strict=True
            )
        ]
        noise = "unknown, with one chip each" if math.isnan(self.scatter) else f"{self.scatter:.1%}"
        return (
            f"What explains the variance of {self.result} over {self.configurations} "
            f"configurations ({self.method}):\n\n"
            f"{table(('setting', 'first-order', 'total'), rows)}\n\n"
            f"Scatter of the chips in it: {noise}."
        )


TOO_WIDE = 1.0  # half of an interval that says nothing of a share


def _said(value: float, error: float) -> str:
    if error >= TOO_WIDE:
        return "too few chips"
    if math.isnan(value):
        return "not known"
    return f"{value:.3f}" if math.isnan(error) else f"{value:.3f} ± {error:.3f}"


def sensitivity(outcome: Outcome, result: str, seed: int = 0) -> Sensitivity:
    """Return the sensitivities of a result; see `Outcome.sensitivity`."""
    found = means(outcome)
    values, _, sem = found.of(result)
    values = np.where(np.isfinite(values), values, np.nan)  # an infinite one is no number either
    finished = ~np.isnan(values)
    names = varied(found)
    if not names or finished.sum() < 2:
        raise ValueError(
            f"no sensitivity of {result}: nothing was varied, or fewer than two configurations "
            "gave numbers"
        )
    if np.ptp(values[finished]) == 0.0:
        raise ValueError(f"no sensitivity of {result}: it is the same in all configurations")
    noise = float(np.mean(np.square(sem[finished])))
    variance = float(np.var(values[finished]))
    scatter = noise / variance
    for way in (_of_design, _of_grid, _of_data):
        shares = way(outcome, found, names, result, values, seed)
        if shares is not None:
            return Sensitivity(**{"result": result, "scatter": scatter, **shares})
    raise ValueError(
        f"no sensitivity of {result}: {int(finished.sum())} configurations, neither a full grid "
        f'nor the design of sampler="sobol"; from other data it takes at least {_LEAST}'
    )


def _of_design(
    outcome: Outcome, found: Means, names: list[str], result: str, values: Numbers, seed: int
) -> dict[str, Any] | None:
    # The design is known by its shape: blocks of A, then A with one column of B each, then B.
    names = setting_names(outcome)
    block = len(names) + 2
    at = {trial: i for i, trial in enumerate(found.trials)}
    kept: list[int] = []
    keys = [[key(settings.get(name)) for name in names] for settings in found.settings]
    for start in range(0, max(found.trials) + 1, block):
        trials = range(start, start + block)
        if not all(trial in at for trial in trials):
            continue
        rows = [at[trial] for trial in trials]
        if not _is_block([keys[i] for i in rows]):
            return None
        if not np.isnan(values[rows]).any():
            kept += rows
    if len(kept) < _BLOCKS * block:
        return None
    sobol = need("SALib.analyze.sobol", "study")
    shares = sobol.analyze(
        {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)},
        values[kept],
        calc_second_order=False,
        num_resamples=_RESAMPLES,
        seed=seed,
    )
    return {
        "names": tuple(names),
        "first": np.asarray(shares["S1"], dtype=np.float64),
        "total": np.asarray(shares["ST"], dtype=np.float64),
        "first_error": np.asarray(shares["S1_conf"], dtype=np.float64),
        "total_error": np.asarray(shares["ST_conf"], dtype=np.float64),
        "method": f"Saltelli's design, {len(kept) // block} samples",
        "configurations": len(kept),
    }


def _is_block(rows: list[list[str]]) -> bool:
    first, last = rows[0], rows[-1]
    return all(row == [*first[:i], last[i], *first[i + 1 :]] for i, row in enumerate(rows[1:-1]))


def _of_grid(
    outcome: Outcome, found: Means, names: list[str], result: str, values: Numbers, seed: int
) -> dict[str, Any] | None:
    places = _places(found, names)
    shape = tuple(int(n) for n in places.max(axis=0) + 1)
    if len(np.unique(places, axis=0)) != len(places) or math.prod(shape) != len(places):
        return None
    if np.isnan(values).any():
        return None
    chips = _of_chips(outcome, found, result, values)
    filled = np.empty((len(chips), *shape))
    filled[(slice(None), *places.T)] = chips
    first, total, kept = _indices(filled)
    errors = _jackknife(filled) if len(chips) > 2 else np.full((2, len(names)), math.nan)
    return {
        "names": tuple(names),
        "first": first,
        "total": total,
        "first_error": errors[0],
        "total_error": errors[1],
        "method": "a full grid",
        "configurations": len(values),
        **({"scatter": max(1.0 - kept / float(np.var(values)), 0.0)} if len(chips) > 1 else {}),
    }


def _of_chips(outcome: Outcome, found: Means, result: str, values: Numbers) -> Numbers:
    """Return a result of the chips that finished in all configurations; the means, if none did."""
    at = {trial: i for i, trial in enumerate(found.trials)}
    rows: dict[int, Numbers] = {}
    for record in outcome.records:
        row = rows.setdefault(record.seed, np.full(len(at), math.nan))
        row[at[record.trial]] = number(record.results.get(result))
    whole = [row for row in rows.values() if np.isfinite(row).all()]
    return np.stack(whole) if len(whole) > 1 else values[None]


def _indices(filled: Numbers) -> tuple[Numbers, Numbers, float]:
    """Return first-order and total indices over a grid, and the variance that they share.

    Args:
        filled: a result, ``[chips, settings …]``; all combinations count alike.
    """
    dims = range(1, filled.ndim)
    variance = _common(filled)
    if variance <= 0.0:  # all of it is scatter
        return np.full(len(dims), math.nan), np.full(len(dims), math.nan), variance
    alone = [_common(filled.mean(axis=tuple(k for k in dims if k != i))) for i in dims]
    others = [_common(filled.mean(axis=i)) for i in dims]
    return np.array(alone) / variance, 1.0 - np.array(others) / variance, variance


def _common(filled: Numbers) -> float:
    """Return the variance over settings that chips have in common: the mean over pairs of them.

    The covariance of two different chips holds no scatter, whatever chips have in common between
    configurations. Of one chip it is the variance.

    Args:
        filled: ``[chips, settings …]``.
    """
    rows = filled.reshape(len(filled), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    n = len(rows)
    if n == 1:
        return float(np.mean(rows**2))
    pairs = rows.sum(axis=0) ** 2 - (rows**2).sum(axis=0)
    return float(pairs.mean()) / (n * (n - 1))


def _jackknife(filled: Numbers) -> Numbers:
    """Return half widths of 95 % intervals of both indices, ``[2, settings]``.

    Infinite, where all of the chips, or all but one, leave no variance that they have in common:
    of nothing any share would do.
    """
    n = len(filled)
    drawn = np.array([_indices(np.delete(filled, k, axis=0))[:2] for k in range(n)])
    if np.isnan(drawn).any() or _common(filled) <= 0.0:
        return np.full(drawn.shape[1:], math.inf)
    error = np.sqrt((n - 1) / n * ((drawn - drawn.mean(axis=0)) ** 2).sum(axis=0))
    stats = need("scipy.stats", "study")
    return np.asarray(float(stats.t.ppf(0.975, n - 1)) * error)


def _of_data(
    outcome: Outcome, found: Means, names: list[str], result: str, values: Numbers, seed: int
) -> dict[str, Any] | None:
    # Rows in another order: those of a design would stand for what ties leave open.
    usable = np.random.default_rng(seed).permutation(np.flatnonzero(~np.isnan(values)))
    if len(usable) < _LEAST:
        return None
    x = np.stack([_numbers(found.settings, name) for name in names], axis=1)[usable]
    rbd_fast = need("SALib.analyze.rbd_fast", "study")
    shares = rbd_fast.analyze(
        {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)},
        x,
        values[usable],
        M=min(10, len(usable) // 10),
        num_resamples=_RESAMPLES,
        seed=seed,
    )
    unknown = np.full(len(names), math.nan)
    return {
        "names": tuple(names),
        "first": np.asarray(shares["S1"], dtype=np.float64),
        "total": unknown,
        "first_error": np.asarray(shares["S1_conf"], dtype=np.float64),
        "total_error": unknown,
        "method": "estimated from what was run, by RBD-FAST",
        "configurations": len(usable),
    }


def _places(found: Means, names: list[str]) -> Any:
    columns = []
    for name in names:
        steps = {key(v): i for i, v in enumerate(levels([s.get(name) for s in found.settings]))}
        columns.append([steps[key(settings.get(name))] for settings in found.settings])
    return np.array(columns).T


def _numbers(settings: list[Mapping[str, Any]], name: str) -> Numbers:
    values = [one.get(name) for one in settings]
    if all(numeric(value) for value in values):
        return np.array(values, dtype=np.float64)
    steps = {key(value): i for i, value in enumerate(levels(values))}
    return np.array([steps[key(value)] for value in values], dtype=np.float64)
