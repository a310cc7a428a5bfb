"""Switching loops: a voltage-driven model fitted to measured cycles, with their spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mho.core import checks
from mho.devices.switching import SwitchingDevice
from mho.fit import loop_verdict
from mho.fit.access import Access
from mho.fit.branches import Hysteresis, of_sweeps, switching_voltages
from mho.fit.calibration import Array, Calibration
from mho.fit.estimates import Estimates
from mho.fit.loop_cycles import (
    Own,
    Switching,
    coverage,
    missed,
    own_parameters,
    population,
    spread_device,
)
from mho.fit.loop_models import MODELS, LoopModel
from mho.fit.loop_search import ACCESS, Problem, descend, explore, values_of
from mho.fit.loop_setup import problem_of
from mho.fit.loop_simulation import Course
from mho.fit.loop_uncertainty import estimates_of
from mho.fit.printed import Printed
from mho.fit.sweeps import Sweeps, applied, sweeps

_POLISH, _REFINE = 16, 5  # iterations on all cycles
_ROUNDS = 3  # of cycles' own parameters and the shared rest
_LEAST = 4  # cycles of which some are held out


@dataclass(frozen=True)
class _Effort:
    """What a search looks at."""

    cycles: int
    samples: int  # of each, about
    points: int  # at first
    size: int  # of the population
    generations: int


_USUAL = _Effort(cycles=4, samples=90, points=512, size=64, generations=24)
# Of several models, before the best is searched for again.
_COMPARED = replace(_USUAL, cycles=2, generations=16)
_COSTLY = _Effort(cycles=2, samples=90, points=256, size=32, generations=12)


@dataclass(frozen=True, repr=False)
class LoopFit(Printed):
    """A voltage-driven model fitted to switching loops.

    Three answers of the model are kept apart: with the shared parameters, the same in all cycles;
    with every cycle's own; and those of a population of cells drawn from ``device``.

    Attributes:
        model: its name.
        device: the cell, without what stands in series with it. What differed from cycle to cycle
            is a `Spread` from cell to cell: each cell of a population is one of the cycles, for the
            whole of its life.
        nominal: the same device with the shared parameters, no spread.
        orientation: the device's voltage is so many times the voltage measured: +1, or -1 where the
            model sets under the other polarity.
        access: what stands in series, as measured (not turned with the device).
        start: state of the cell at the first sample of a cycle, in [0, 1].
        estimates: of the shared parameters, errors and correlations from cycle to cycle (from the
            residuals where there is one cycle).
        residuals: measured minus fitted with the cycle's own parameters (A), one array a cycle.
        relative_rmse: of every cycle with its own parameters: √(ΣΔI²/ΣI²) over its samples.
        shared_rmse: of every cycle with the shared parameters, likewise.
        rmse_to_mean: of every cycle with its own parameters: root mean square ΔI over the mean
            ``|I|``, as papers that divide by the average state it; never the smaller number.
        held_out_rmse: √(ΣΔI²/ΣI²) over the cycles held out of the search, by model; every second
            cycle is, where there are four or more; NaN where none was held out.
        measured: set and reset voltages of the measured cycles.
        fitted: those of the loops with the cycles' own parameters.
        drawn: those of a population drawn from ``device``, through the same sweeps.
        calibration: of held-out cycles' set and reset voltages in predictive intervals that the
            other cycles give, as wide as so few cycles make them; None with fewer than six.
        verdict: how good the fit is and where it misses, in words.
        rate: of the sweeps (V/s): given, or 1, or the mean of measured times.
        data: the cycles.
        shared_current: with the shared parameters, ``[samples, cycles]`` (A).
        own_current: with the cycles' own, likewise.
    """

    model: str
    device: SwitchingDevice
    nominal: SwitchingDevice
    orientation: int
    access: Access
    start: float
    estimates: Estimates
    residuals: tuple[Array, ...]
    relative_rmse: Array
    shared_rmse: Array
    rmse_to_mean: Array
    held_out_rmse: Mapping[str, float]
    measured: Switching
    fitted: Switching
    drawn: Switching
    calibration: Calibration | None
    verdict: str
    rate: float
    data: Sweeps = field(repr=False)
    shared_current: Array = field(repr=False)
    own_current: Array = field(repr=False)

    def simulate(
        self,
        voltage: Any,
        *,
        time: Any = None,
        rate: float | None = None,
        start: float | None = None,
    ) -> Array:
        """Return the currents (A) of the nominal device, with its access, along another sweep.

        Args:
            voltage: as measured loops have it (V), ``[samples]``.
            time: of the samples (s), increasing.
            rate: of the sweep (V/s), where there are no times; that of the fit if not given.
            start: state at the first sample, in [0, 1]; that of the fit if not given.

        Raises:
            ValueError: if it is not one sweep, or a number is out of its range.
        """
        if start is not None:
            start = checks.probability("start", start)
        if time is not None and rate is not None:
            raise ValueError("rate must not be given with time: they would say two things")
        if rate is not None:
            rate = checks.number("rate", rate, above=0.0)
        data = applied(voltage, time=time, rate=self.rate if rate is None else rate)
        held = {name: float(getattr(self.access, name)) for name in ACCESS}
        held["start"] = self.start if start is None else start
        problem = Problem(self.nominal, self.orientation, (), held, self.access.compliance, 1, data)
        current: Array = problem.course(np.zeros((1, 1, 0))).current.numpy()[:, 0, 0]
        return current

    @property
    def pooled_rmse(self) -> float:
        """√(ΣΔI²/ΣI²) over all samples of all cycles, with the cycles' own parameters."""
        return _pooled(self.data, self.own_current)


def loop(
    voltage: Any,
    current: Any,
    *,
    time: Any = None,
    rate: float | None = None,
    cycle: Any = None,
    model: str = "best",
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, float] | None = None,
    access: Access | str = "auto",
    seed: int = 0,
) -> LoopFit:
    """Fit a voltage-driven model to switching loops, all cycles at once.

    The model is simulated along every sweep, in series with what the loops were measured through,
    and its currents are brought to the measured ones by least squares: a search over a population
    of candidates, a descent on the parameters that all cycles share, then on those that differ
    from cycle to cycle (thresholds, speeds, resistances). Of several models the one that predicts
    held-out cycles best is taken, their currents and where they switch.

    A voltage sweep without times does not say how fast a cell moves: with ``rate`` not given 1 V/s
    is assumed, and speeds (k, A, velocities) are relative to it.

    Args:
        voltage: applied (V), samples in the order of measurement; one after the other, or one
            array a cycle.
        current: measured (A), likewise.
        time: of the samples (s), likewise, increasing within a cycle.
        rate: of the sweep (V/s), where there are no times.
        cycle: of every sample, a number or a name; where not given, a cycle begins wherever the
            voltage takes up the polarity again that it began with.
        model: ``vteam``, ``yakopcic``, ``stanford_pku``, ``data_driven_2018``,
            ``data_driven_2021``, or ``best`` of these; or ``jart``, which takes longer.
        bounds: ``{"v_on": (-2.0, -0.1)}``: between which values (SI units) a parameter is searched.
        fixed: ``{"alpha_on": 3.0}``: parameters that are not searched.
        access: ``auto``: a resistance in series, a transistor where low resistance conducts only
            from some voltage on, and a current limit where loops have flat tops, fitted; ``none``;
            or what it is.
        seed: of the search and of the populations drawn.

    Raises:
        ValueError: if there is no loop, or both polarities move the current the same way; if
            the data, a name or a bound is refused.
    """
    data = sweeps(voltage, current, time=time, rate=rate, cycle=cycle)
    checks.one_of("model", model, (*MODELS, "best"))
    seed = checks.integer("seed", seed, least=0)
    found = _looped(of_sweeps(data))
    names = [name for name, one in MODELS.items() if not one.costly or name == model]
    names = names if model == "best" else [model]
    problems = {
        name: problem_of(MODELS[name], data, found, access=access, bounds=bounds, fixed=fixed)
        for name in names
    }
    train, rest = _halves(data.cycles)
    parts = {
        name: _searched(problem, train, seed, _effort(name, compared=len(names) > 1))
        for name, problem in problems.items()
    }
    errors = {name: _rmse(problems[name], parts[name], rest) for name in names}
    best = min(names, key=lambda name: _missed(problems[name], parts[name], rest))
    problem = problems[best]
    # A second search, from other points: valleys are many.
    again = (parts[best], _searched(problem, train, seed + 1, _effort(best)))
    parts[best] = min(again, key=lambda found: _missed(problem, found, train))
    errors[best] = _rmse(problem, parts[best], rest)
    calibration = _calibration(problem, parts[best], best, train, rest, found.polarity, seed)
    shared, own = _fitted(problem, parts[best], MODELS[best])
    held_out = errors if train != rest else dict.fromkeys(errors, np.nan)
    fit = _result(best, problem, shared, own, held_out, calibration, found, rate, seed)
    return loop_verdict.told(fit, problem, rate, errors, _course(problem, own))


def _looped(found: Hysteresis) -> Hysteresis:
    if not found.is_loop:
        raise ValueError(
            f"voltage and current must be of a switching loop. {found.verdict} Curves of one state "
            "are for mho.fit.iv"
        )
    if found.polarity == 0:
        raise ValueError(
            "voltage and current must set under one polarity and reset under the other: "
            f"{found.verdict}"
        )
    return found


def _halves(cycles: int) -> tuple[list[int], list[int]]:
    every = list(range(cycles))
    return (every[::2], every[1::2]) if cycles >= _LEAST else (every, every)


def _effort(name: str, *, compared: bool = False) -> _Effort:
    if MODELS[name].costly:
        return _COSTLY
    return _COMPARED if compared else _USUAL


def _searched(problem: Problem, cycles: list[int], seed: int, effort: _Effort) -> Array:
    """Return a candidate from a search on some of the cycles."""
    spaced = np.unique(np.linspace(0, len(cycles) - 1, min(effort.cycles, len(cycles))).round())
    chosen = [cycles[int(k)] for k in spaced]
    every = max(1, max(problem.data.lengths) // effort.samples)
    found = explore(
        problem.on(problem.data.only(chosen, every)),
        points=effort.points,
        size=effort.size,
        generations=effort.generations,
        seed=seed,
    )
    thinned = problem.on(problem.data.only(cycles, max(1, every // 2)))
    parts, _ = descend(thinned.trials, found[None], iterations=_REFINE)
    best: Array = parts[0]
    return best


def _missed(problem: Problem, parts: Array, cycles: list[int]) -> float:
    own = problem.on(problem.data.only(cycles))
    return float((own.residuals(parts[None]) ** 2).sum())


def _rmse(problem: Problem, parts: Array, cycles: list[int]) -> float:
    own = problem.on(problem.data.only(cycles))
    return _pooled(own.data, own.course(parts[None, None]).current.numpy()[:, 0])


def _fitted(problem: Problem, parts: Array, model: LoopModel) -> tuple[Array, Own]:
    """Return the shared candidate, and every cycle's own."""
    varies = model.varies
    polish = _REFINE if model.costly else _POLISH
    found, _ = descend(problem.trials, parts[None], iterations=polish)
    shared: Array = found[0]
    if model.costly:
        return shared, own_parameters(problem, shared, varies)
    own = own_parameters(problem, shared, varies)
    for _ in range(_ROUNDS - 1):
        own = own_parameters(problem, _rest(problem, shared, own), varies)
    return shared, own


def _rest(problem: Problem, shared: Array, own: Own) -> Array:
    # What all cycles share, given what each has for itself.
    columns = [k for k, name in enumerate(problem.names) if name not in own.names]

    def residuals(parts: Array) -> Array:
        full = np.broadcast_to(own.parts, (parts.shape[1], *own.parts.shape)).copy()
        full[:, :, columns] = parts[0][:, None, :]
        return problem.residuals(full)[None]

    found, _ = descend(residuals, shared[None, columns], iterations=_REFINE)
    middle = own.parts.mean(axis=0)
    middle[columns] = found[0]
    return middle


def _calibration(
    problem: Problem,
    parts: Array,
    name: str,
    train: list[int],
    rest: list[int],
    polarity: int,
    seed: int,
) -> Calibration | None:
    # Cells as the training cycles were, through the sweeps of the others.
    if train == rest or len(train) < 3:
        return None
    seen, unseen = (problem.on(problem.data.only(cycles)) for cycles in (train, rest))
    own = own_parameters(seen, parts, MODELS[name].varies)
    device = spread_device(_device(problem, parts), own, _bounds(problem))
    drawn = population(unseen, parts, device, polarity, seed)
    measured = Switching(*switching_voltages(unseen.data, polarity))
    return coverage(measured, drawn, missed(seen, own, polarity), len(train))


def _device(problem: Problem, parts: Array) -> SwitchingDevice:
    values = values_of(problem, parts)
    fields = problem.device.to_dict()
    return problem.device.replace(**{n: v for n, v in values.items() if n in fields})


def _bounds(problem: Problem) -> dict[str, tuple[float, float]]:
    return {free.name: (free.low, free.high) for free in problem.free}


def _result(
    name: str,
    problem: Problem,
    shared: Array,
    own: Own,
    held_out: dict[str, float],
    calibration: Calibration | None,
    found: Hysteresis,
    rate: float | None,
    seed: int,
) -> LoopFit:
    data = problem.data
    values = values_of(problem, shared)
    nominal = _device(problem, shared)
    device = spread_device(nominal, own, _bounds(problem))
    shared_current = problem.course(shared[None, None]).current.numpy()[:, 0]
    own_current = _course(problem, own).current.numpy()[:, 0]
    fields = problem.access(values)
    return LoopFit(
        model=name,
        device=device,
        nominal=nominal,
        orientation=problem.sign,
        access=Access(**{n: float(fields[n]) for n in ACCESS}, compliance=problem.compliance),
        start=float(values["start"]),
        estimates=estimates_of(problem, shared),
        residuals=tuple(
            data.current[:n, k] - own_current[:n, k] for k, n in enumerate(data.lengths)
        ),
        relative_rmse=_per_cycle(data, own_current),
        shared_rmse=_per_cycle(data, shared_current),
        rmse_to_mean=_per_cycle(data, own_current, to_mean=True),
        held_out_rmse=held_out,
        measured=Switching(found.set_voltages, found.reset_voltages),
        fitted=Switching(*switching_voltages(data, found.polarity, own_current)),
        drawn=_drawn(problem, own, device, found.polarity, seed),
        calibration=calibration,
        verdict="",
        rate=data.rate if data.timed else rate or 1.0,
        data=data,
        shared_current=shared_current,
        own_current=own_current,
    )


def _course(problem: Problem, own: Own) -> Course:
    return problem.course(own.parts[None])


def _drawn(
    problem: Problem, own: Own, device: SwitchingDevice, polarity: int, seed: int
) -> Switching:
    parts = own.parts.mean(axis=0)
    on, off = population(problem, parts, device, polarity, seed)
    return Switching(on.ravel(), off.ravel())


def _per_cycle(data: Sweeps, current: Array, *, to_mean: bool = False) -> Array:
    miss = np.where(data.measured, data.current - current, 0.0)
    count = data.measured.sum(axis=0)
    rms = np.sqrt((miss**2).sum(axis=0) / count)
    if to_mean:
        found: Array = rms / (np.abs(data.current).sum(axis=0) / count)
        return found
    found = rms / np.sqrt((data.current**2).sum(axis=0) / count)
    return found


def _pooled(data: Sweeps, current: Array) -> float:
    miss = (data.current - current)[data.measured]
    return float(np.sqrt((miss**2).sum() / (data.current[data.measured] ** 2).sum()))
