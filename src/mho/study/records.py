"""What a study found: one record a chip of a configuration, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mho.core import checks
from mho.core.text import table as text_table
from mho.study import tables
from mho.study.choice import Choice, choose
from mho.study.sensitivity import Sensitivity, sensitivity
from mho.study.statistics import chances, gains, means, said, short, undominated, varied

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

WAYS = ("maximize", "minimize")
_SHOWN = 12  # configurations of the front that are printed


def _check_names(name: str, given: Any) -> None:
    checks.instance(name, given, Mapping)
    for key in given:
        checks.instance(f"every name of {name}", key, str)


@dataclass(frozen=True)
class Record:
    """One chip of one configuration.

    Attributes:
        trial: number of the configuration, from 0.
        seed: of the chip.
        settings: what was set, by path (``"adc.bits"``): plain values, as they go to JSON.
        results: what was found, by name (``"accuracy"``); empty if the evaluation failed.
        error: why it failed, in one line; None if it did not.
        seconds: that the evaluation took.

    Raises:
        TypeError, ValueError: if a part is of another kind, or a number is out of bounds.
    """

    trial: int
    seed: int
    settings: Mapping[str, Any]
    results: Mapping[str, float]
    error: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        checks.integer("trial", self.trial, least=0)
        checks.integer("seed", self.seed, least=0)
        for name in ("settings", "results"):
            _check_names(name, getattr(self, name))
        for name, value in self.results.items():
            checks.instance(f"result {name!r}", checks.plain(value), (int, float, type(None)))
        if self.error is not None:
            checks.instance("error", self.error, str)
        checks.number("seconds", self.seconds, least=0.0)


@dataclass(frozen=True)
class Outcome:
    """Everything a study has found so far; print it.

    Attributes:
        name: of the study.
        records: of finished and failed chips, ordered by trial and seed: a tuple; of a list one is
            made.
        objectives: ``"maximize"`` or ``"minimize"``, by the name of a result.
        units: of settings and results, by path or name; ``""`` for plain numbers.

    Raises:
        TypeError: if a part is of another kind.
        ValueError: if an objective is neither maximised nor minimised.
    """

    name: str
    records: tuple[Record, ...] = field(repr=False)
    objectives: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.instance("name", self.name, str)
        checks.instance("records", self.records, (tuple, list))
        object.__setattr__(self, "records", tuple(self.records))
        for record in self.records:
            checks.instance("every record", record, Record)
        for name in ("objectives", "units"):
            _check_names(name, getattr(self, name))
        for name, way in self.objectives.items():
            checks.one_of(f"objective {name}", way, WAYS)
        for name, unit in self.units.items():
            checks.instance(f"unit of {name}", unit, str)

    # ── tables ───────────────────────────────────────────────────────────────────────────────────

    def table(self) -> pd.DataFrame:
        """Return a row for every configuration, of numbers and texts alone.

        Columns: ``trial``; the settings by path (a device of the presets by its name, other specs
        in short); of each result its mean over chips (``accuracy``), its standard deviation over
        chips (``accuracy_std``) and the standard error of the mean (``accuracy_sem``; NaN of one
        chip); ``chips`` that finished and ``failed`` ones with the ``error``; ``seconds`` of all.
        ``table().attrs["units"]`` has the units by column. A setting or a result of the name of
        another column stands under ``setting.`` or ``result.`` and its name.

        Raises:
            ImportError: if pandas is missing; the message says how to install it.
        """
        return tables.table(self)

    def chips(self) -> pd.DataFrame:
        """Return a row for every chip: ``trial``, ``seed``, settings, results, error, seconds.

        Raises:
            ImportError: if pandas is missing; the message says how to install it.
        """
        return tables.chips(self)

    def save(self, path: str | Path) -> list[Path]:
        """Write everything to a file, whole or not at all: an older one stays until then.

        Args:
            path: ``.json`` holds the study (`load` reads it back, equal); ``.csv`` the `table`,
                with units in its head; ``.parquet`` the `chips`. Without an ending it is a folder,
                for all three.

        Returns:
            The files.

        Raises:
            ValueError: if the path has another ending.
            ImportError: if what writes the file is missing; the message says how to install it.
        """
        return tables.save(self, checks.path("path", path))

    @classmethod
    def load(cls, path: str | Path) -> Outcome:
        """Read a study from the JSON file that `save` wrote, or from the folder.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is another file.
        """
        data = tables.read(checks.path("path", path))
        try:
            records = tuple(
                Record(**{**record, "results": tables.readable(record["results"])})
                for record in data["records"]
            )
            return cls(data["name"], records, data["objectives"], data["units"])
        except KeyError as error:
            raise ValueError(f"{path} is no study: a record lacks {error}") from error
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no study: {error}") from error

    def to_xarray(self, *, fill: bool = False) -> xr.Dataset:
        """Return a dataset over the settings that vary, and over chips.

        Every result is a variable ``[setting, …, chip]``; settings that all configurations share
        are attributes. A failed chip is NaN.

        Args:
            fill: whether combinations of settings that were not run are NaN; else a study that is
                no full grid is refused.

        Raises:
            ValueError: if the study is no full grid, two configurations have the same settings, or
                the grid would be far larger than what was run.
            ImportError: if xarray is missing; the message says how to install it.
        """
        fill = checks.truth("fill", fill)
        return tables.grid(self, fill)

    # ── what it says ─────────────────────────────────────────────────────────────────────────────

    def front(self, *objectives: str, least_chance: float = 1.0, draws: int = 500) -> pd.DataFrame:
        """Return the Pareto set: the configurations that no other one beats in every objective.

        It is taken of means over chips, and few chips leave room: ``chance`` says how likely each
        configuration is on the front when every mean is drawn from Student's t with its standard
        error (chips taken as independent between configurations; NaN where there is one chip).
        Means of what is on the front are a little too good, as the luckiest are chosen.

        Args:
            objectives: names of results; those of the study if none are given.
            least_chance: configurations that others beat by their means are in it, too, if they
                have at least this chance to be on the front; ``on_front`` tells them apart.
            draws: how often means are drawn.

        Returns:
            The rows of `table` with ``on_front`` and ``chance``, the best of the first objective
            first.

        Raises:
            ValueError: if a name is no objective of the study, or it has none.
            ImportError: if pandas is missing; the message says how to install it.
        """
        least = checks.number("least_chance", least_chance, above=0.0, most=1.0)
        checks.integer("draws", draws)
        wanted = self._wanted(objectives)
        found = means(self)
        if not found.trials:
            raise ValueError("the study holds no chips yet: there is no front")
        gain, error = gains(found, wanted)
        count = np.stack([found.count[:, found.names.index(n)] for n in wanted], axis=1)
        chance = chances(gain, error, count, draws, seed=0)
        frame = tables.framed(self, found)
        frame["on_front"], frame["chance"] = undominated(gain), chance
        keep = frame["on_front"].to_numpy() | ((least < 1.0) & (chance >= least))
        order = np.argsort(-gain[:, 0], kind="stable")
        chosen = frame.iloc[order[keep[order]]]
        chosen.attrs = frame.attrs
        return chosen

    def _wanted(self, objectives: tuple[str, ...]) -> dict[str, str]:
        for name in objectives:
            checks.one_of("objective", name, tuple(self.objectives))
        wanted = {name: self.objectives[name] for name in objectives or self.objectives}
        if not wanted:
            raise ValueError("the study has no objectives: there is no front")
        return wanted

    def best(
        self,
        *,
        minimize: str | None = None,
        maximize: str | None = None,
        reference: Mapping[str, float | str] | None = None,
        sigmas: float = 1.0,
        **limits: float,
    ) -> Choice:
        """Return the best configuration of those that satisfy all limits.

            >>> outcome.best(minimize="energy", accuracy_within=0.01)

        Args:
            minimize: the result to make small; or
            maximize: the one to make large.
            reference: what a result is to be within a distance of: a number, or the name of
                another result (``{"accuracy": "digital"}``); the best mean found where none is
                given, which is a little too good, as the luckiest of many is chosen.
            sigmas: by how many standard errors a limit must be satisfied; what is asked of the
                mean alone is 0. A single chip has none, which the answer says.
            limits: the name of a result and ``_within`` (of the reference), ``_least`` or
                ``_most``.

        Returns:
            The choice; it is false where no configuration satisfies all limits, and says which
            comes nearest.

        Raises:
            ValueError: if there is no such result or limit.
        """
        return choose(self, minimize, maximize, reference or {}, sigmas, limits)

    def sensitivity(self, result: str | None = None, *, seed: int = 0) -> Sensitivity:
        """Return how much of the variance of a result each setting explains; see `Sensitivity`.

        Args:
            result: its name; the first objective if not given.
            seed: of the confidence intervals.

        Raises:
            ValueError: if there is no such result, or too little was run to say anything.
            ImportError: if SALib is missing; the message says how to install it.
        """
        seed = checks.integer("seed", seed, least=0)
        return sensitivity(self, result or next(iter(self.objectives), "accuracy"), seed)

    def report(self, path: str | Path, *, choice: Choice | None = None) -> Path:
        """Write one HTML page that needs nothing else: tables, and charts to zoom.

        Args:
            path: of the file.
            choice: what `best` gave; marked in the charts.

        Raises:
            ImportError: if bokeh or jinja2 is missing; the message says how to install them.
        """
        # Pictures look down on studies: they are loaded by who asks for them.
        from mho.plot.study_report import report

        if choice is not None:
            checks.instance("choice", choice, Choice)
        return report(self, path, choice)

    def __str__(self) -> str:
        found = means(self)
        failed = sum(found.failed)
        head = (
            f"{self.name}: {len(found.trials)} configurations, {sum(found.chips)} chips"
            f"{f', {failed} failed' if failed else ''}"
        )
        wanted = self.objectives
        if not wanted or not found.trials:
            return head
        gain, _ = gains(found, wanted)
        if np.isnan(gain).any(axis=1).all():
            return f"{head}; no configuration gave numbers"
        keep = np.flatnonzero(undominated(gain))
        order = keep[np.argsort(-gain[keep, 0], kind="stable")]
        names = varied(found)
        rows = [
            (
                str(found.trials[i]),
                *(short(found.settings[i].get(name)) for name in names),
                *(self._said(found.names.index(n), i, found) for n in wanted),
            )
            for i in order[:_SHOWN]
        ]
        more = f"\n… {len(order) - _SHOWN} more" if len(order) > _SHOWN else ""
        ways = ", ".join(f"{name} {way}d" for name, way in wanted.items())
        shown = text_table(("trial", *names, *wanted), rows)
        return f"{head}\n\nThe front ({ways}):\n\n{shown}{more}"

    def _said(self, k: int, i: int, found: Any) -> str:
        name = found.names[k]
        return said(name, found.mean[i, k], found.sem[i, k], self.units.get(name, ""))
