"""Which configuration comes next: grids and random plans, or Optuna's samplers that learn."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mho.core import checks
from mho.core.extras import need
from mho.study.space import (
    MOST_VALUES,
    Choices,
    Range,
    Space,
    distribution,
    label_of,
    value_at,
)

PLANNED = ("grid", "random", "latin_hypercube", "sobol")
MOST = 10_000_000
"""Configurations of a study, and chips of a configuration: each is kept, and listed at the end."""
ADAPTIVE = ("tpe", "nsga2", "gp")


def count_of(space: Space, sampler: Any, trials: int | None) -> int:
    """Return how many configurations there are.

    Raises:
        ValueError: if the sampler is unknown, a grid has a range, or there is no end.
        TypeError: if the sampler is of another kind.
    """
    if isinstance(sampler, str):
        checks.one_of("sampler", sampler, PLANNED + ADAPTIVE)
    else:
        checks.instance("sampler", sampler, need("optuna.samplers", "study").BaseSampler)
    if trials is not None:
        trials = checks.integer("trials", trials, most=MOST)
    if sampler == "grid":
        size = math.prod(len(_listed(path, domain)) for path, domain in space.items())
        if size > MOST:
            raise ValueError(
                f"a grid must have <= {MOST:,} configurations, got {size:,}: sampler='random' or "
                "'sobol' takes fewer of them"
            )
        if trials not in (None, size):
            raise ValueError(
                f"trials must be left out of a grid, which has {size} configurations, or be that "
                f"many, got {trials!r}; sampler='random' takes any number"
            )
        return size
    if sampler == "sobol" and trials is not None:
        _refuse_odd(trials, len(space))
    if trials is None:
        raise ValueError(f"trials must be given for sampler={sampler!r}: it has no end of its own")
    return trials


def _refuse_odd(trials: int, dimensions: int) -> None:
    # Sobol' sequences are even after a power of two; each sample takes so many configurations.
    block = dimensions + 2
    samples = trials / block
    if trials % block or int(samples) & (int(samples) - 1):
        near = 2 ** max(round(math.log2(max(samples, 1.0))), 0)
        raise ValueError(
            f"trials of sampler='sobol' must be a power of two times {block} (what is varied, and "
            f"two), such as {near * block}, got {trials}"
        )


def _listed(path: str, domain: Any) -> list[Any]:
    if isinstance(domain, Choices):
        return list(domain.values)
    if isinstance(domain, Range) or domain.log:
        raise ValueError(
            f"a grid takes lists and evenly spaced Integers, not {domain} of {path!r}: list its "
            "values, or choose another sampler"
        )
    found = range(domain.low, domain.high + 1, domain.step)
    if len(found) > MOST_VALUES:
        raise ValueError(f"a grid takes {MOST_VALUES} values of {path!r} at the most, not {domain}")
    return list(found)


def samplers(space: Space, sampler: Any, trials: int, seed: int) -> Callable[[int], Any]:
    """Return what makes Optuna's sampler for the trial of a number.

    Plans depend on seed and number alone. Samplers that learn are made anew for each trial, with
    a seed of its own: what they say depends on seed, number and what is known by then.
    """
    optuna = need("optuna", "study")
    if not isinstance(sampler, str):
        return _given(sampler)
    if sampler in PLANNED:
        at = _plan(space, sampler, trials, seed)
        return lambda number: _planned(optuna.samplers.BaseSampler, space, at)
    if sampler == "gp":
        need("scipy.optimize", "study")
    kind = {
        "tpe": optuna.samplers.TPESampler,
        "nsga2": optuna.samplers.NSGAIISampler,
        "gp": optuna.samplers.GPSampler,
    }[sampler]
    return lambda number: kind(seed=_mixed(seed, number))


def _given(sampler: Any) -> Callable[[int], Any]:
    begun = False

    def at(number: int) -> Any:
        nonlocal begun
        if number and not begun:  # the study goes on: its first random numbers were used already
            sampler.reseed_rng()
        begun = True
        return sampler

    return at


def _mixed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _plan(space: Space, sampler: str, trials: int, seed: int) -> Callable[[int], dict[str, Any]]:
    if sampler == "grid":
        axes = [_listed(path, domain) for path, domain in space.items()]
        sizes = [len(axis) for axis in axes]

        def on_grid(number: int) -> dict[str, Any]:
            places = np.unravel_index(number, sizes)
            return {p: a[int(i)] for p, a, i in zip(space, axes, places, strict=True)}

        return on_grid

    if sampler == "random":

        def anywhere(number: int) -> dict[str, Any]:
            where = np.random.default_rng([seed, number]).random(len(space))
            return _at(space, where)

        return anywhere
    cube = (_saltelli if sampler == "sobol" else _cube)(len(space), trials, seed)
    return lambda number: _at(space, cube[number])


def _at(space: Space, where: Any) -> dict[str, Any]:
    return {p: value_at(d, float(u)) for (p, d), u in zip(space.items(), where, strict=True)}


@functools.lru_cache(maxsize=4)
def _cube(dimensions: int, count: int, seed: int) -> Any:
    qmc = need("scipy.stats.qmc", "study")
    return qmc.LatinHypercube(dimensions, seed=np.random.default_rng(seed)).random(count)


@functools.lru_cache(maxsize=4)
def _saltelli(dimensions: int, count: int, seed: int) -> Any:
    """Return the design that `Outcome.sensitivity` reads first-order and total indices from.

    Source: A. Saltelli et al., Computer Physics Communications 181, 259 (2010), doi
    10.1016/j.cpc.2009.09.018.
    """
    sobol = need("SALib.sample.sobol", "study")
    names = [str(i) for i in range(dimensions)]
    problem = {"num_vars": dimensions, "names": names, "bounds": [[0.0, 1.0]] * dimensions}
    found = sobol.sample(problem, count // (dimensions + 2), calc_second_order=False, seed=seed)
    return np.minimum(found, 1.0 - 1e-12)


def _planned(base: Any, space: Space, at: Callable[[int], dict[str, Any]]) -> Any:
    class Planned(base):
        """Says what the plan says."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {path: distribution(domain) for path, domain in space.items()}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            found = at(trial.number)
            return {path: label_of(space[path], value) for path, value in found.items()}

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return label_of(space[name], at(trial.number)[name])

    return Planned()
