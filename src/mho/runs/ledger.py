"""What is to be done, and what was found: trials of an Optuna study, with several parts each."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mho.core.extras import need
from mho.core.spec import first_difference
from mho.runs import owner as owners
from mho.runs.storage import Storage, quiet, told

_IDENTITY, _OWNER, _PART, _ALIVE, _AGAIN = "mho", "owner", "part ", "alive ", "again "

Values = Callable[[Sequence[Mapping[str, Any]]], Sequence[float] | None]


@dataclass(frozen=True)
class Claim:
    """A trial that this process does.

    Attributes:
        number: of the trial.
        params: what Optuna knows of it, by name.
        parts: those that are not done.
    """

    number: int
    params: Mapping[str, Any]
    parts: tuple[int, ...]


class Ledger:
    """A study in a store: trials by number, each with the same parts.

    Args:
        storage: where it is kept.
        name: of the study.
        identity: what makes it this study: plain values; another study of this name is refused.
        directions: ``"maximize"`` or ``"minimize"``, one for each value of a trial.
        distributions: of Optuna, by the name of a parameter.
        sampler: of Optuna, for the trial of a number.
        parts: of every trial.
        values: from the finished parts of a trial to its values; None if there are none.

    Raises:
        ValueError: if the store holds another study of this name.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        identity: Mapping[str, Any],
        *,
        directions: Sequence[str],
        distributions: Mapping[str, Any],
        sampler: Callable[[int], Any],
        parts: Sequence[int],
        values: Values,
    ) -> None:
        optuna = need("optuna", "study")
        self._storage = storage
        self._states = optuna.trial.TrialState
        self._optuna = optuna
        self._distributions, self._sampler = distributions, sampler
        self._parts, self._values = tuple(parts), values
        self._owner: dict[str, Any] = {}
        self._next_beat = -math.inf
        self._ids: dict[int, int] = {}
        self._left: set[int] = set()
        self._first = 0  # before it all trials are closed
        try:
            with storage.locked(), quiet():
                self._study = optuna.create_study(
                    storage=storage.optuna,
                    study_name=name,
                    directions=list(directions),
                    load_if_exists=True,
                )
                self._recognise(name, json.loads(json.dumps(identity)))
        except BaseException:
            storage.let_go()
            raise

    def __enter__(self) -> Ledger:
        """Work on the study, until the ``with`` block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let others work on it, whatever has happened."""
        self._storage.let_go()

    def _recognise(self, name: str, identity: dict[str, Any]) -> None:
        known = self._study.user_attrs.get(_IDENTITY)
        if known is None and not self._trials():
            self._study.set_user_attr(_IDENTITY, identity)
            return
        if known is None:
            raise ValueError(
                f"store {self._storage.name!r} holds a study {name!r} that others began"
            )
        difference = first_difference(known, identity)
        if difference:
            raise ValueError(
                f"store {self._storage.name!r} holds another study {name!r}: {difference}; give "
                "this one another name=, or a store of its own"
            )

    def _trials(self) -> list[Any]:
        found: list[Any] = self._study.get_trials(deepcopy=False)
        return found

    # ── to be done ───────────────────────────────────────────────────────────────────────────

    def claims(self, total: int) -> Iterator[Claim | None]:
        """Give the trials that are to be done here, until there are so many, all of them done.

        None stands for: others do what is left; ask again.
        """
        self._owner = owners.me()
        try:
            while True:
                claim, done = self._claim(total)
                if done:
                    return
                yield claim
        finally:
            owners.leave(self._owner)

    def _claim(self, total: int) -> tuple[Claim | None, bool]:
        self.beat()
        with self._storage.locked(), quiet():
            trials = self._trials()
            signs = self._signs()
            open_ = self._open(trials)
            for trial in open_:
                if not owners.lives(trial.user_attrs.get(_OWNER), signs):
                    return self._taken_over(trial), False
            if len(trials) >= total:
                return None, not open_
            self._study.sampler = self._sampler(len(trials))
            return self._owned(self._study.ask()), False

    def _open(self, trials: Sequence[Any]) -> list[Any]:
        """Return the trials that are not finished, nor left for later."""
        # What is finished stays so: those at the beginning are looked at once.
        while self._first < len(trials) and self._closed(trials[self._first]):
            self._first += 1
        return [trial for trial in trials[self._first :] if not self._closed(trial)]

    def _closed(self, trial: Any) -> bool:
        return trial.number in self._left or bool(trial.state.is_finished())

    def _taken_over(self, trial: Any) -> Claim:
        """Make a trial one's own that nobody does (any more); what was found of it stays."""
        trial_id = trial._trial_id
        if trial.state == self._states.WAITING:
            self._storage.optuna.set_trial_state_values(trial_id, self._states.RUNNING)
        if set(self._distributions) <= set(trial.params):
            return self._own(trial_id)
        self._study.sampler = self._sampler(trial.number)
        return self._owned(self._optuna.trial.Trial(self._study, trial_id))

    def _owned(self, trial: Any) -> Claim:
        for name, distribution in self._distributions.items():
            suggest(trial, name, distribution)
        return self._own(trial._trial_id)

    def _own(self, trial_id: int) -> Claim:
        storage = self._storage.optuna
        storage.set_trial_user_attr(trial_id, _OWNER, self._owner)
        trial = storage.get_trial(trial_id)
        self._ids[trial.number] = trial_id
        done = parts_of(trial)
        left = tuple(part for part in self._parts if part not in done)
        return Claim(trial.number, dict(trial.params), left)

    def _signs(self) -> dict[str, float]:
        found = self._study.user_attrs
        return {k.removeprefix(_ALIVE): v for k, v in found.items() if k.startswith(_ALIVE)}

    def beat(self) -> None:
        """Give a sign of life, for those on other machines, if it is time."""
        now = time.monotonic()  # clocks may be set back
        if self._owner and now >= self._next_beat:
            with told(self._storage.name):
                self._study.set_user_attr(f"{_ALIVE}{self._owner['id']}", time.time())
            self._next_beat = now + owners.BEAT

    # ── found ────────────────────────────────────────────────────────────────────────────────

    def keep(self, number: int, part: int, record: Mapping[str, Any]) -> None:
        """Keep what became of a part; with its last part a trial is finished."""
        storage, trial_id = self._storage.optuna, self._ids[number]
        finished = self._optuna.exceptions.UpdateFinishedTrialError
        try:
            with told(self._storage.name):
                storage.set_trial_user_attr(trial_id, f"{_PART}{part}", dict(record))
            self.settle(number)
        except finished:  # by another, who took this one for dead: with the same values
            return

    def amend(self, number: int, part: int, record: Mapping[str, Any]) -> None:
        """Keep what became of a part of a finished trial when it was done again."""
        with told(self._storage.name):
            self._study.set_user_attr(f"{_AGAIN}{number} {part}", dict(record))

    def leave(self, number: int) -> None:
        """Leave a trial as it is, for a later call."""
        self._left.add(number)

    def settle(self, number: int) -> None:
        """Finish a trial if all its parts are done."""
        storage, trial_id = self._storage.optuna, self._ids[number]
        done = parts_of(storage.get_trial(trial_id))
        if any(part not in done for part in self._parts):
            return
        values = self._values([done[part] for part in self._parts])
        state = self._states.FAIL if values is None else self._states.COMPLETE
        with told(self._storage.name), quiet():
            self._study.tell(number, values, state=state, skip_if_finished=True)

    def found(self) -> list[tuple[int, Mapping[str, Any], dict[int, Any]]]:
        """Return number, parameters and parts of every trial of which a part is done."""
        attributes = self._study.user_attrs.items()
        again = {key: value for key, value in attributes if key.startswith(_AGAIN)}
        rows = []
        for trial in self._trials():
            parts = parts_of(trial)
            for part in parts if again else ():
                parts[part] = again.get(f"{_AGAIN}{trial.number} {part}", parts[part])
            if parts:
                rows.append((trial.number, trial.params, parts))
        return rows

    def finished(self) -> set[int]:
        """Return the numbers of finished trials."""
        return {trial.number for trial in self._trials() if trial.state.is_finished()}

    def values(self) -> list[tuple[int, list[float]]]:
        """Return number and values of every finished trial that has them."""
        complete = (self._states.COMPLETE,)
        trials = self._study.get_trials(deepcopy=False, states=complete)
        return [(trial.number, list(trial.values)) for trial in trials]


def parts_of(trial: Any) -> dict[int, Any]:
    """Return what was found of a trial, by part."""
    found = trial.user_attrs.items()
    return {int(k.removeprefix(_PART)): v for k, v in found if k.startswith(_PART)}


def suggest(trial: Any, name: str, distribution: Any) -> Any:
    """Let Optuna choose a parameter of a trial, as its distribution says."""
    kind = type(distribution).__name__
    if kind == "CategoricalDistribution":
        return trial.suggest_categorical(name, distribution.choices)
    low, high, log = distribution.low, distribution.high, distribution.log
    if kind == "IntDistribution":
        return trial.suggest_int(name, low, high, step=distribution.step, log=log)
    return trial.suggest_float(name, low, high, log=log)
