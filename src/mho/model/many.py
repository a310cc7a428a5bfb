"""Monte Carlo over chips: one converted model, made many times."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mho.core import checks, intake
from mho.core.digests import digest
from mho.core.extras import need
from mho.model.crossbars import layers
from mho.model.lifecycle import fabricate
from mho.model.scoring import evaluator
from mho.runs.ledger import Ledger
from mho.runs.loop import Task, run
from mho.runs.pool import Given, Here, Pool, refuse_worker
from mho.runs.storage import open_storage
from mho.runs.work import Done, Work, torch_threads, unwrapped

Evaluate = Callable[[nn.Module], float | Tensor | Sequence[float]]


class FailedChipsError(RuntimeError):
    """Some chips of `over_chips` could not be evaluated; the others are here.

    Attributes:
        found: what was found, by seed.
        errors: why the others failed, in one line each, by seed.
    """

    def __init__(self, found: dict[int, Tensor], errors: dict[int, str], kept: bool) -> None:
        self.found, self.errors = found, errors
        seed, error = next(iter(errors.items()))
        where = "kept in the store" if kept else "in this error's found"
        super().__init__(
            f"{len(errors)} of {len(found) + len(errors)} chips failed (seed {seed}: {error}); the "
            f"others are {where}"
        )
        self._kept = kept

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.found, self.errors, self._kept)


def over_chips(
    analog: nn.Module,
    evaluate: Evaluate | Any,
    seeds: Sequence[int],
    *,
    workers: int = 1,
    store: str | Path | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    name: str = "chips",
    label: str | None = None,
) -> Tensor:
    """Make one chip per seed, each programmed with the model's weights, and evaluate every one.

    Each chip is a copy of the model as given, with cells of its own: ``evaluate`` may calibrate,
    age or train it freely, and neither the model nor the other chips notice. Chip ``s`` is the
    same chip whatever other seeds there are, so two studies with the same seeds compare chip by
    chip. Gradients are not tracked unless ``evaluate`` turns them on.

    Chips are made one by one in a plain loop, not as a batch dimension: what happens to a chip
    (its read noise, its calibration) draws from its own stream of randomness and depends on its
    own values, which ``torch.func.vmap`` cannot express. So only ``workers`` chips are in memory
    at a time. Several workers are threads that compute with one core each, which for small models
    is faster than all cores on one chip; the chips are the same.

    A chip that fails does not end the others. With a store every finished chip is on disk before
    the next begins: a call that was killed, or in which a chip failed, is made again and goes on.

    Args:
        analog: a converted model; it is not changed.
        evaluate: from a chip to a number, or to several (a sequence, an array, or a tensor of any
            shape). Or labelled inputs, a pair or a Dataset or DataLoader of pairs: the share of
            them that the chip classifies rightly.
        seeds: one chip each, at least one.
        workers: how many chips are made at once; ``evaluate`` must then bear being called from
            several threads, each with a chip of its own.
        store: a file or database that keeps finished chips, as `mho.study.sweep` takes it; None
            keeps none.
        executor: what makes the chips instead of threads, as `mho.study.sweep` takes it: processes,
            for example. Each of their workers computes with one core.
        name: of this study in the store.
        label: names a progress bar (shown on terminals only); None shows none.

    Returns:
        What ``evaluate`` gave, ``[chips, ...]``, in float64.

    Raises:
        TypeError, ValueError: if the model has no crossbars, there is no seed, one is refused, or
            the evaluations differ in shape; or the store holds another study of this name.
        FailedChipsError: if some chips could not be evaluated; if none could, what ``evaluate``
            raised.
    """
    refuse_worker("over_chips")
    layers(analog)  # refuses a model without crossbars
    workers = checks.integer("workers", workers)
    seeds = listed(seeds)
    evaluate = evaluator(analog, evaluate)
    one = Work(_Chip(analog, evaluate))
    pool = _pool(workers, executor)
    if executor is not None:
        one.check(pool)
    ledger = None if store is None else _ledger(store, name, analog, evaluate, seeds)
    chips = _Chips(seeds, ledger)
    # tqdm's None means: only on a terminal.
    with (
        ledger or nullcontext(),
        tqdm(total=len(seeds), desc=label, disable=label is None or None, unit="chip") as bar,
    ):
        chips.load()
        bar.update(len(chips.found))

        def finish(place: int, done: Done) -> None:
            chips.finish(place, done)
            bar.update()

        with nullcontext() if isinstance(pool, Here) else torch_threads(1):
            run(pool, chips.tasks(one), finish, chips.tick)
    chips.load()
    return chips.stacked()


_MOST = 1_000_000
"""Chips of one call."""


def listed(seeds: Sequence[int]) -> list[int]:
    """Return seeds of chips; refuse none at all, and what is no seed (TypeError, ValueError)."""
    if not isinstance(seeds, Iterable):
        raise TypeError(
            f"seeds must be several, one for each chip, as range(8), got {checks.said(seeds)}"
        )
    found = list(itertools.islice(seeds, _MOST + 1))
    if len(found) > _MOST:
        raise ValueError(f"seeds must be of {_MOST} chips at the most, got more")
    if not found:
        raise ValueError("seeds must hold at least one seed, got none")
    return [checks.integer("every seed", seed, least=0) for seed in found]


def _pool(workers: int, executor: Executor | Callable[[], Executor] | None) -> Pool:
    if executor is not None:
        return Given(executor, None if workers == 1 else workers)
    return Here() if workers == 1 else Given(lambda: ThreadPoolExecutor(workers), workers)


def _ledger(
    store: str | Path, name: str, analog: nn.Module, evaluate: Evaluate, seeds: Sequence[int]
) -> Ledger:
    """Keep one trial a chip: the place of its seed is its number."""
    identity = {
        "evaluate": unwrapped(evaluate),
        "given": getattr(evaluate, "identity", None),
        "model": digest(analog),
        "seeds": list(seeds),
    }
    nothing = need("optuna.samplers", "study").RandomSampler(seed=0)  # is to be chosen
    return Ledger(
        open_storage(store),
        name,
        identity,
        directions=["minimize"],
        distributions={},
        sampler=lambda number: nothing,
        parts=[0],
        values=lambda records: [0.0],  # nothing is optimised
    )


class _Chip:
    """What a worker does."""

    def __init__(self, analog: nn.Module, evaluate: Evaluate) -> None:
        self.analog, self.evaluate = analog, evaluate

    @torch.no_grad()
    def __call__(self, seed: int) -> Any:
        chip = copy.deepcopy(self.analog)
        fabricate(chip, seed)
        found = intake.tensor("what evaluate returns", self.evaluate(chip))
        return found.detach().cpu().double().numpy()  # travels whole; tensors share memory


class _Chips:
    """What was found of the chips, and what failed, by the place of their seeds."""

    def __init__(self, seeds: list[int], ledger: Ledger | None) -> None:
        self.seeds, self.ledger = seeds, ledger
        self.found: dict[int, Tensor] = {}
        self.errors: dict[int, Done] = {}

    def load(self) -> None:
        """Take over what the store has."""
        for place, _, parts in self.ledger.found() if self.ledger else ():
            kept = parts[0]
            values = torch.tensor(kept["values"], dtype=torch.float64)
            self._add(place, values.reshape(kept["shape"]))

    def tasks(self, one: Work) -> Iterator[Task | None]:
        """Give the chips that are to be made here."""
        if self.ledger is None:
            for place, seed in enumerate(self.seeds):
                yield Task(place, one, (seed,))
            return
        for claim in self.ledger.claims(len(self.seeds)):
            if claim is None:
                yield None
            elif not claim.parts:  # killed between its chip and its end
                self.ledger.settle(claim.number)
            else:
                yield Task(claim.number, one, (self.seeds[claim.number],))

    def tick(self) -> None:
        """Give a sign of life."""
        if self.ledger is not None:
            self.ledger.beat()

    def finish(self, place: int, done: Done) -> None:
        """Keep what became of a chip; of one that failed the error, for this call alone."""
        if done.error is not None:
            if not self.errors:
                warnings.warn(
                    f"the chip of seed {self.seeds[place]} failed ({done.error}); the others go on",
                    stacklevel=2,
                )
            self.errors[place] = done
            if self.ledger is not None:
                self.ledger.leave(place)
            return
        values: Any = np.asarray(done.value)
        self._add(place, torch.from_numpy(values.copy()).reshape(values.shape))
        if self.ledger is not None:
            kept = {"values": values.reshape(-1).tolist(), "shape": list(values.shape)}
            self.ledger.keep(place, 0, kept)

    def _add(self, place: int, value: Tensor) -> None:
        first = next(iter(self.found.values()), value)
        if value.shape != first.shape:
            raise ValueError(
                "evaluate must return one shape for all chips, got "
                f"{list(first.shape)} and {list(value.shape)}"
            )
        self.found[place] = value

    def stacked(self) -> Tensor:
        """Return what was found, in order; raise if something failed."""
        if not self.errors:
            return torch.stack([self.found[place] for place in range(len(self.seeds))])
        places = sorted(self.errors)
        cause = self.errors[places[0]].cause
        if not self.found and cause is not None:
            raise cause
        raise FailedChipsError(
            {self.seeds[place]: self.found[place] for place in sorted(self.found)},
            {self.seeds[place]: str(self.errors[place].error) for place in places},
            self.ledger is not None,
        ) from cause
