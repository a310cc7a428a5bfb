"""Degrees of polynomials, and calibration, by data held out of a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy

from mho.fit.calibration import LEVELS, OUR_STREAM, Array, Calibration
from mho.fit.moments import Data, Index, Moments, fit
from mho.fit.moments_search import Steep

FOLDS = 5
MOST_DATA = 10_000  # more are not needed to tell degrees apart, or whether intervals are kept
MOST_FITTED = 200_000  # more would not be seen in any estimate: their errors are of 0.2 %


def choose(
    data: Data,
    means: range,
    sds: range,
    *,
    seed: int,
    refine: Callable[[Data, Moments], Data] | None = None,
) -> Moments:
    """Return the moments of the simplest polynomials that predict held-out data as well as any.

    As well is: not worse than the best by more than the standard error of the difference.

    Of more than 200 000 data, so many chosen by chance are fitted.

    Args:
        data: what is fitted.
        means: degrees of the mean to choose from, rising.
        sds: degrees of the spread.
        seed: of the choice of what is held out.
        refine: what the data are (where their spread is) once moments are known.
    """
    data, few = some(data, MOST_FITTED, seed), some(data, MOST_DATA, seed)
    part = _fold(few, seed)
    known = {}

    def held(mean: int, sd: int) -> Array:
        if (mean, sd) not in known:
            known[mean, sd] = _held_out(few, part, mean, sd)
        return known[mean, sd]

    sd = _simplest([held(means[-1], k) for k in sds], few.group, sds)
    mean = _simplest([held(k, sd) for k in means], few.group, means)
    found = fit(data, mean, sd)
    for _ in range(2 if refine is not None else 0):
        found = fit(refine(data, found), mean, sd, shares=(max(found.outliers, 0.02),))  # type: ignore[misc]
    return found


def some(data: Data, count: int, seed: int) -> Data:
    """Return so many data at most, chosen by chance."""
    if len(data.x) <= count:
        return data
    return data.part(np.random.default_rng([seed, OUR_STREAM, 1]).permutation(len(data.x))[:count])


def _fold(data: Data, seed: int) -> Index:
    # Whole groups are held out; those of like x are dealt over all parts.
    first = np.full(int(data.group.max()) + 1, np.inf)
    np.minimum.at(first, data.group, data.x)
    chance = np.random.default_rng([seed, OUR_STREAM]).random(len(first))
    order = np.lexsort((chance, first))
    part = np.empty(len(first), int)
    part[order] = np.arange(len(first)) % FOLDS
    return part[data.group]


def _held_out(data: Data, part: Index, mean: int, sd: int) -> Array:
    found = np.empty(len(data.y))
    for k in range(FOLDS):
        out = part == k
        trial = fit(data.part(~out), mean, sd, shares=(0.05,))
        # A spread of 0 has no density; nor may the share of outliers be 0 where one is met.
        least = max(trial.outliers, 1.0 / len(data.y))
        found[out] = replace(trial, outliers=least).log_density(data.part(out))
    return found


def _simplest(scores: list[Array], group: Index, degrees: range) -> int:
    best = max(range(len(scores)), key=lambda k: scores[k].sum())
    for degree, score in zip(degrees, scores, strict=True):
        sums = np.bincount(group, scores[best] - score)
        sums = sums[np.unique(group)]
        if sums.sum() <= sums.std() * np.sqrt(len(sums)):
            return degree
    return degrees[best]


def coverage(
    data: Data,
    found: Moments,
    *,
    seed: int,
    steep: Steep | None = None,
    outliers: bool = True,
) -> Calibration:
    """Return how often held-out data fell inside the intervals predicted for them.

    Data that more likely follow another law are not counted.

    Args:
        data: what was fitted.
        found: the fit.
        seed: as for `choose`.
        steep: how it was fitted, see `fit`.
        outliers: the same.
    """
    data = some(data, MOST_DATA, seed)
    part, z = _fold(data, seed), np.empty(len(data.y))
    for k in range(FOLDS):
        out = part == k
        degrees = len(found.mean) - 1, len(found.sd) - 1
        trial = fit(data.part(~out), *degrees, steep=steep, outliers=outliers, shares=(0.05,))
        z[out] = trial.standardised(data.part(out))
    counted = ~found.suspicious(data)
    z, floored = z[counted], data.floored[counted]
    # What stopped at the floor would lie anywhere below it.
    chance = np.random.default_rng([seed, OUR_STREAM, 2]).uniform(1e-12, 1.0, len(z))
    z = np.where(floored, scipy.special.ndtri(chance * scipy.special.ndtr(z)), z)
    widths = [float(scipy.special.ndtri((1 + level) / 2)) for level in LEVELS]
    inside = tuple(float((np.abs(z) <= width).mean()) for width in widths)
    return Calibration(LEVELS, inside, len(z))


def distinct(values: Array) -> int:
    """Return how many places values gather at: intervals of 1/12 of their range that hold all."""
    left, count, edge = np.sort(values), 0, -np.inf
    width = float(np.ptp(left)) / 12.0
    for at in left if len(left) < MOST_DATA else np.unique(left):
        if at > edge:
            count, edge = count + 1, at + width
    return count
