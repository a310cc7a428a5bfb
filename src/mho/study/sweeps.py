"""Studies: a hardware's fields varied, several chips of every configuration, nothing lost."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mho.core import checks
from mho.hardware import Hardware
from mho.runs.ledger import Ledger
from mho.runs.loop import Task, run
from mho.runs.pool import Here, pool_of, refuse_worker
from mho.runs.storage import open_storage
from mho.runs.work import Done, Work, torch_threads, unwrapped
from mho.study.chips import listed
from mho.study.paths import with_settings
from mho.study.progress import Progress
from mho.study.records import Outcome, Record
from mho.study.samplers import MOST, count_of, samplers
from mho.study.space import (
    Integers,
    Range,
    Space,
    described,
    distribution,
    plain,
    samples_of,
    settings_of,
    space_of,
)
from mho.study.units import units_of

Results = float | Mapping[str, float | None]
Evaluate = Callable[[Hardware, int, Mapping[str, Any]], Results]


def sweep(
    space: Mapping[str, Sequence[Any] | Range | Integers],
    evaluate: Evaluate,
    *,
    hardware: Hardware | None = None,
    chips: int | Sequence[int] = 1,
    store: str | Path | None = None,
    sampler: Any = None,
    trials: int | None = None,
    objectives: Mapping[str, str] | None = None,
    free: Collection[str] = (),
    retry: bool = False,
    seed: int = 0,
    workers: int | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    name: str = "study",
    label: str | None = None,
) -> Outcome:
    """Evaluate many configurations of a hardware, on several chips each; resume where it stopped.

    Every finished chip is in the store before the next one starts. A study that was killed goes on
    when it is called again, and gives what it would have given; several processes or machines that
    call it with one store share its work.

    Args:
        space: what to vary, by path: fields of the hardware (``"adc.bits"``,
            ``"array.wires.word"``, ``"effects.StuckAt.low"``, ``"device"``), and the names in
            ``free``. Values are lists of choices (specs may be among them), `Range` or `Integers`.
        evaluate: called as ``evaluate(hardware, seed, settings)`` for every chip, with the
            configuration's hardware, the chip's seed and what was set by path. Torch's generator
            (of the CPU) is seeded with the chip's seed; others are its own affair. It returns a
            number (of the one objective) or a mapping of results by name: all objectives, and
            whatever else is to be recorded. See `accuracy_and_cost` for the usual one.
        hardware: whose fields are varied; the default one if not given.
        chips: how many chips of every configuration (seeds 0, 1, …), or their seeds.
        store: a file (``.db``: SQLite, else a journal), or the URL of a PostgreSQL database
            (``"postgresql://…"``). None keeps the study in memory alone.
        sampler: ``"grid"``, ``"random"``, ``"latin_hypercube"``, ``"sobol"``
            (the design for `Outcome.sensitivity`), ``"tpe"``, ``"nsga2"``, ``"gp"``,
            or a sampler of Optuna. If not given: a grid.
        trials: how many configurations; of a grid None is all.
        objectives: ``"maximize"`` or ``"minimize"``, by the name of a result. If not given: those
            that ``evaluate.objectives`` says, else ``{"accuracy": "maximize"}``.
        free: names in the space that ``evaluate`` alone uses (of the model, of training).
        retry: whether chips that failed in earlier calls are evaluated once more. Samplers that
            learn have gone on without them.
        seed: of the sampler, >= 0.
        workers: how many chips are evaluated at once, each in a process of its own with one thread;
            as many as there are cores if not given. 0 evaluates them here, one after the other.
        executor: of ``concurrent.futures``, of Dask or Ray, which evaluates the chips instead of
            processes started here; or a function that makes one (and another, if that one breaks).
        name: of the study; a store may hold several.
        label: names a progress bar (shown on terminals only), which says the best found so far;
            None shows none.

    Returns:
        The records of all chips, those of earlier calls among them.

    Raises:
        ValueError: if a path is neither a field nor free, a value is refused by its field, or the
            store holds another study of this name.
        TypeError: if an argument is of another kind.
    """
    refuse_worker("sweep")
    base = Hardware() if hardware is None else hardware
    checks.instance("hardware", base, Hardware)
    if not callable(evaluate):
        raise TypeError(f"evaluate must be a function, got {evaluate!r}")
    varied = space_of(space, base, free)
    sampler = "grid" if sampler is None else sampler
    total = count_of(varied, sampler, trials)
    seeds = _seeds(chips)
    _refuse_endless(total, len(seeds))
    goals = _goals(evaluate, objectives)
    seed = checks.integer("seed", seed, least=0)
    checks.instance("name", name, str)
    pool = pool_of(workers, executor)
    _check_first(evaluate, base, varied, free)
    work = Work(_Chip(evaluate, base, tuple(goals), tuple(path for path in varied if path in free)))
    if not isinstance(pool, Here):
        work.check(pool)
    ledger = Ledger(
        open_storage(store),
        name,
        _identity(evaluate, base, varied, goals, seeds, seed, sampler, total),
        directions=list(goals.values()),
        distributions={path: distribution(domain) for path, domain in varied.items()},
        sampler=samplers(varied, sampler, total, seed),
        parts=seeds,
        values=lambda records: _means(records, goals),
    )
    failed = _failed(ledger) if checks.truth("retry", retry) else []
    again = {(number, chip) for number, chip, _ in failed}
    with ledger, torch_threads(1), Progress(label, ledger, goals, total * len(seeds)) as progress:

        def tasks() -> Iterator[Task | None]:
            for claim in ledger.claims(total):
                if claim is None:
                    yield None
                    continue
                if not claim.parts:  # killed between its last chip and its end
                    ledger.settle(claim.number)
                settings = settings_of(varied, claim.params)
                for chip in claim.parts:
                    yield Task((claim.number, chip), work, (chip, settings))
            for number, chip, params in failed:
                settings = settings_of(varied, params)
                yield Task((number, chip), work, (chip, settings))

        def finish(key: tuple[int, int], done: Done) -> None:
            kept = {"results": done.value or {}, "error": done.error, "seconds": done.seconds}
            (ledger.amend if key in again else ledger.keep)(*key, kept)

        def tick() -> None:
            ledger.beat()
            progress.show()

        run(pool, tasks(), finish, tick)
    units = {**units_of(base, varied), **getattr(evaluate, "units", {})}
    return _outcome(ledger, name, varied, goals, units)


def _refuse_endless(configurations: int, chips: int) -> None:
    if configurations * chips > MOST:
        raise ValueError(
            f"a study evaluates {MOST:,} chips at the most, got {configurations:.3g} "
            f"configurations of {chips} chips: a sampler takes a part of a grid "
            "(sampler='random', trials=…)"
        )


def _seeds(chips: int | Sequence[int]) -> list[int]:
    chips = checks.plain(chips)
    if isinstance(chips, (int, float, str)):
        return list(range(checks.integer("chips", chips, most=MOST)))
    if not isinstance(chips, Iterable):
        raise TypeError(f"chips must be an integer or a list of seeds, got {checks.said(chips)}")
    seeds = listed(chips)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"chips must be different seeds, got {seeds}")
    return seeds


def _goals(evaluate: Any, objectives: Mapping[str, str] | None) -> dict[str, str]:
    found = getattr(evaluate, "objectives", None) if objectives is None else objectives
    found = {"accuracy": "maximize"} if found is None else found
    checks.instance("objectives", found, Mapping)
    if not found:
        raise ValueError("objectives must be at least one, got none")
    for result, direction in found.items():
        checks.instance("every objective", result, str)
        checks.one_of(f"objective {result!r}", direction, ("maximize", "minimize"))
    return dict(found)


def _check_first(evaluate: Any, base: Hardware, space: Space, free: Collection[str]) -> None:
    """Let an evaluation that can do so refuse the first configuration, before all others."""
    check = getattr(evaluate, "check", None)
    if check is None:
        return
    first = {path: samples_of(domain)[0] for path, domain in space.items() if path not in free}
    try:
        hardware = with_settings(base, first)
    except Exception:  # values that do not go together: such trials fail by themselves
        return
    try:
        check(hardware)
    except ValueError as error:
        told = ", ".join(f"{path}={value}" for path, value in first.items())
        raise ValueError(f"{error} (of the first configuration: {told})") from error


class _Chip:
    """What a worker does: one chip of one configuration."""

    def __init__(
        self, evaluate: Evaluate, hardware: Hardware, goals: Sequence[str], free: Sequence[str]
    ) -> None:
        self.evaluate, self.hardware, self.goals, self.free = evaluate, hardware, goals, free

    def __call__(self, seed: int, settings: Mapping[str, Any]) -> dict[str, float]:
        own = {path: value for path, value in settings.items() if path not in self.free}
        hardware = with_settings(self.hardware, own)
        # What draws from torch's own generator (noise of training) draws the same, whoever did
        # what before; the generator of this process is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed % 2**63)
            found = self.evaluate(hardware, seed, dict(settings))
        return results_of(found, self.goals)


def results_of(found: Any, goals: Sequence[str]) -> dict[str, float]:
    """Return what an evaluation found as plain numbers.

    Args:
        found: a number, or numbers by name.
        goals: names of objectives, all of which must be known and finite. Of other results, those
            that are not known are left out.

    Raises:
        ValueError, TypeError: if an objective is missing, not known (None) or not finite; or
            something is no number.
    """
    if not isinstance(found, Mapping):
        if len(goals) > 1:
            raise TypeError(f"evaluate must return {', '.join(goals)} by name, got {found!r}")
        found = {goals[0]: found}
    lacking = [goal for goal in goals if found.get(goal) is None]
    if lacking:
        raise ValueError(
            f"{', '.join(lacking)} is not known (None), and an objective: evaluate returned "
            f"{', '.join(found)}"
        )
    results = {}
    for result, value in found.items():
        value = checks.plain(value.detach() if isinstance(value, Tensor) else value)
        if result in goals:
            results[result] = float(checks.number(f"result {result!r}", value))
        elif value is not None:
            if not isinstance(value, (int, float)):
                raise TypeError(f"result {result!r} must be a number or None, got {value!r}")
            if math.isfinite(value):
                results[str(result)] = float(value)
    return results


def _failed(ledger: Ledger) -> list[tuple[int, int, Mapping[str, Any]]]:
    """Return number, chip and parameters of what has failed in trials that are finished."""
    finished = ledger.finished()
    return [
        (number, chip, params)
        for number, params, parts in ledger.found()
        if number in finished
        for chip, kept in sorted(parts.items())
        if kept["error"] is not None
    ]


def _means(records: Sequence[Mapping[str, Any]], goals: Mapping[str, str]) -> list[float] | None:
    if any(record["error"] is not None for record in records):
        return None
    return [sum(r["results"][goal] for r in records) / len(records) for goal in goals]


def _identity(
    evaluate: Any,
    hardware: Hardware,
    space: Space,
    goals: Mapping[str, str],
    seeds: Sequence[int],
    seed: int,
    sampler: Any,
    total: int,
) -> dict[str, Any]:
    """What makes it this study; more trials may be asked for later, but of a fixed plan."""
    by_name = isinstance(sampler, str)
    return {
        "evaluate": unwrapped(evaluate),
        "given": getattr(evaluate, "identity", None),
        "space": described(space),
        "hardware": hardware.to_dict(),
        "objectives": dict(goals),
        "chips": list(seeds),
        "sampler": sampler if by_name else type(sampler).__name__,
        "seed": seed,
        **({"trials": total} if sampler == "latin_hypercube" else {}),
    }


def _outcome(
    ledger: Ledger, name: str, space: Space, goals: Mapping[str, str], units: Mapping[str, str]
) -> Outcome:
    records = [
        Record(
            trial=number,
            seed=chip,
            settings={path: plain(v) for path, v in settings_of(space, params).items()},
            results=kept["results"],
            error=kept["error"],
            seconds=kept["seconds"],
        )
        for number, params, parts in ledger.found()
        for chip, kept in sorted(parts.items())
    ]
    failed = [record for record in records if record.error is not None]
    if failed:
        first = failed[0]
        warnings.warn(
            f"{len(failed)} of {len(records)} chips failed; the first, seed {first.seed} of trial "
            f"{first.trial}: {first.error}",
            stacklevel=3,
        )
    return Outcome(name, tuple(records), dict(goals), units)
