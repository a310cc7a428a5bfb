"""A law fitted to all cells: parametric, or a jump table; with its device and its estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from mho.cells.spread import Spread
from mho.devices.pulsed import PulsedDevice
from mho.devices.tabular import TabularDevice
from mho.fit.calibration import Array
from mho.fit.estimates import Estimates
from mho.fit.pulse.cell import CellData, CellFit, Levels, fit_cell, levels_of
from mho.fit.pulse.choice import HeldOut, held_out
from mho.fit.pulse.data import Steps, Trains
from mho.fit.pulse.laws import NODES, Law
from mho.fit.pulse.likelihood import Predicted
from mho.fit.pulse.population import Population, population
from mho.fit.pulse.readings import READ_START, gained_by_reading, with_reading
from mho.fit.pulse.simulate import CellModel
from mho.fit.pulse.solve import Mask, solve
from mho.fit.pulse.table import Profiles, fit_profiles, gain

_TRIAL_CELLS = 3  # that tell whether readings are noisy, and how many pulses span the window
CHOICE_CELLS = 5  # whose pulses are left out in turn


class Fitted(Protocol):
    """What the choice, the curves and the words need of a fitted law."""

    @property
    def name(self) -> str:
        """As `mho.fit.pulses` knows the law."""

    @property
    def title(self) -> str:
        """As the verdict says it."""

    @property
    def parameters(self) -> int | None:
        """How many were fitted to a cell."""

    def held_out(self, seed: int) -> HeldOut:
        """Return what it says of pulses left out."""

    def cell_model(self, k: int) -> CellModel:
        """Return the step of a cell."""

    def device(self) -> PulsedDevice:
        """Return the device."""

    def estimates(self) -> Estimates:
        """Return what was estimated."""


@dataclass(frozen=True)
class ParametricFit:
    """A law with parameters, fitted to every cell.

    Attributes:
        law: the law.
        cells: its fits.
    """

    law: Law
    cells: tuple[CellFit, ...]

    @property
    def name(self) -> str:
        """As `mho.fit.pulses` knows the law."""
        return self.law.name

    @property
    def title(self) -> str:
        """As the verdict says it."""
        return self.law.title

    @property
    def parameters(self) -> int:
        """How many were fitted to a cell, known bounds included."""
        return int(self.cells[0].solution.problem.free[2:].sum()) + 2

    @property
    def reads(self) -> bool:
        """Whether noise of readings was fitted."""
        return self.cells[0].solution.problem.reads

    @property
    def population(self) -> Population:
        """The population that the cells are of."""
        used = self._used()
        values = np.stack([cell.numbers[used] for cell in self.cells])
        covariances = np.stack([cell.covariance[np.ix_(used, used)] for cell in self.cells])
        return population(tuple(self._names()[k] for k in used), values, covariances)

    def held_out(self, seed: int) -> HeldOut:
        """Return what the law says of pulses left out, of some cells."""
        return HeldOut.joined([_held_out(cell, seed) for cell in some(self.cells, CHOICE_CELLS)])

    def cell_model(self, k: int) -> CellModel:
        """Return the step of a cell."""
        theta = self.cells[k].solution.theta
        model = self.law.model(torch.from_numpy(theta[None]))
        return model, (float(theta[0]), float(theta[1])), float(np.exp(theta[-1]))

    def device(self) -> PulsedDevice:
        """Return the device, with spreads where several cells differ."""
        names = self.law.natural
        values: dict[str, float | Spread] = dict(
            zip(names, np.mean([cell.numbers[:-1] for cell in self.cells], axis=0), strict=True)
        )
        if len(self.cells) > 1:
            values |= {k: v for k, v in self.population.parameters().items() if k in values}
        return _device(self.law, values, self.cells[0])

    def estimates(self) -> Estimates:
        """Return the estimates: of the cell, or of the population of several."""
        if len(self.cells) > 1:
            return self.population.estimates()
        used, cell = self._used(), self.cells[0]
        names = tuple(self._names()[k] for k in used)
        return Estimates(names, cell.numbers[used], cell.covariance[np.ix_(used, used)])

    def of_cell(self, k: int) -> Estimates:
        """Return the estimates of one of the cells."""
        return replace(self, cells=(self.cells[k],)).estimates()

    def _names(self) -> tuple[str, ...]:
        return (*self.law.natural, "read_noise")

    def _used(self) -> list[int]:
        # Levels that were not fitted and readings without noise are no estimates.
        names, cell = self._names(), self.cells[0]
        given = [name for name in self.law.held if not cell.covariance[names.index(name)].any()]
        given += [] if self.reads else ["read_noise"]
        return [k for k, name in enumerate(names) if name not in given]


@dataclass(frozen=True)
class TableFit:
    """Jump tables, fitted to every cell for themselves and to all together.

    Attributes:
        cells: data of the cells.
        profiles: of each cell, in the scale of its window.
        pooled: of all cells, in the scale of all their data.
        low: lowest conductance of all (S).
        width: range of all (S).
        gains: factor of each cell's jumps on the pooled ones, and its error, ``[cells, 2]``.
        seed: of what was filled in.
    """

    cells: tuple[CellData, ...]
    profiles: tuple[Profiles, ...]
    pooled: Profiles
    low: float
    width: float
    gains: Array
    seed: int

    name = "jump_table"
    title = "jump table"
    parameters = None

    def held_out(self, seed: int) -> HeldOut:
        """Return what tables say of pulses left out, of some cells."""
        pairs = list(zip(self.cells, self.profiles, strict=True))
        tried = some(pairs, CHOICE_CELLS)
        return HeldOut.joined([self._held_out(data, whole, seed) for data, whole in tried])

    def _held_out(self, data: CellData, whole: Profiles, seed: int) -> HeldOut:
        def refit(trains: Trains, kept: Mask, fold: int) -> Predicted:
            steps = trains.steps().where(torch.from_numpy(kept[trains.valid]))
            noise = whole.read_noise
            found = fit_profiles(steps, read_noise=noise, seed=self.seed + fold, known=whole)
            return found.predicted(trains)

        return held_out(data.trains, refit, seed)

    def cell_model(self, k: int) -> CellModel:
        """Return the step of a cell."""
        profiles = self.profiles[k]
        return profiles.model, (0.0, 1.0), profiles.read_noise

    @property
    def population(self) -> Population:
        """The population that the cells are of: their bounds, and the gain of their jumps."""
        values, covariances = [], []
        for cell, (factor, error) in zip(self.cells, self.gains, strict=True):
            window = cell.window
            values.append([window.low, window.high, factor])
            covariances.append(np.diag([window.resolution, window.resolution, error]) ** 2)
        return population(("g_min", "g_max", "gain"), np.array(values), np.array(covariances))

    def device(self) -> TabularDevice:
        """Return the device, with spreads where several cells differ."""
        up, down = self.pooled.tables(self.low, self.width)
        if len(self.cells) == 1:
            return TabularDevice(up, down)
        return TabularDevice(up, down, **self.population.parameters())  # type: ignore[arg-type]

    def estimates(self) -> Estimates:
        """Return bounds and gain of several cells; a table of one has no parameters."""
        if len(self.cells) > 1:
            return self.population.estimates()
        return Estimates((), np.zeros(0), np.zeros((0, 0)))


def fit_parametric(law: Law, cells: tuple[CellData, ...]) -> ParametricFit:
    """Return a law fitted to every cell, with one answer for all of them on readings and levels.

    Args:
        law: the law.
        cells: their data.
    """
    # Cells that pile up at both bounds tell best how many pulses span the window.
    settled = [cell for cell in cells if all(cell.trains.stops)]
    trial = some(settled or cells, _TRIAL_CELLS)
    fits = [fit_cell(law, cell, noise=0.0) for cell in trial]
    noise = 0.0
    starts = [None if any(any(c.trains.stops) for c in cells) else with_reading(f) for f in fits]
    if any(start is not None for start in starts):
        # Readings without noise would show states that pile up; noisy ones may hide them.
        noisy = [
            fit_cell(law, cell, noise=READ_START, start=start)
            for cell, start in zip(trial, starts, strict=True)
        ]
        if sum(gained_by_reading(*pair) for pair in zip(fits, noisy, strict=True)) > 0.0:
            noise, fits = READ_START, noisy
    if len(cells) == 1:
        return ParametricFit(law, tuple(fits))
    levels = _common_levels(law, fits)
    return ParametricFit(
        law, tuple(fit_cell(law, cell, noise=noise, levels=levels) for cell in cells)
    )


def fit_table(cells: tuple[CellData, ...], *, read_noise: float, seed: int) -> TableFit:
    """Return jump tables fitted to cells.

    Args:
        cells: their data.
        read_noise: of a reading (S).
        seed: of what is filled in for pulses that a bound stopped.
    """
    low = min(cell.window.low for cell in cells)
    width = max(cell.window.high for cell in cells) - low
    each = [cell.trains.steps() for cell in cells]
    profiles = tuple(
        fit_profiles(steps, read_noise=read_noise / cell.window.width, seed=seed)
        for steps, cell in zip(each, cells, strict=True)
    )
    if len(cells) == 1:
        return TableFit(cells, profiles, profiles[0], low, width, np.array([[1.0, np.nan]]), seed)
    common = [_rescaled(s, cell, low, width) for s, cell in zip(each, cells, strict=True)]
    pooled = fit_profiles(_together(common), read_noise=read_noise / width, seed=seed)
    gains = np.array([gain(steps, pooled) for steps in common])
    return TableFit(cells, profiles, pooled, low, width, gains, seed)


def _held_out(fit: CellFit, seed: int) -> HeldOut:
    whole = fit.solution

    def refit(trains: Trains, kept: Mask, fold: int) -> Predicted:
        rows: Mask = np.asarray(kept.any(axis=1))
        part = replace(whole.problem, trains=trains.rows(rows), theta=whole.theta, kept=kept[rows])
        theta = solve(part, warm=True, errors=False).theta
        return whole.problem.predicted(theta)

    return held_out(fit.data.trains, refit, seed)


def _common_levels(law: Law, fits: list[CellFit]) -> Levels | None:
    if "levels" not in law.names:
        return None
    found = np.median([levels_of(fit) for fit in fits], axis=0)
    return round(float(found[0])), round(float(found[1]))


def _device(law: Law, values: Mapping[str, Any], cell: CellFit) -> PulsedDevice:
    fields = dict(values)
    if law.name == "exponential":
        fields["levels"], fields["levels_reset"] = levels_of(cell)
    if law.name == "piecewise":
        for way in ("set", "reset"):
            names = [f"factors_{way}[{k}]" for k in range(NODES)]
            fields[f"factors_{way}"] = tuple(max(float(fields.pop(name)), 0.0) for name in names)
    plain = {k: float(v) if isinstance(v, np.floating) else v for k, v in fields.items()}
    plain["g_min"] = plain["g_min"] if isinstance(plain["g_min"], Spread) else _zero(plain["g_min"])
    return law.device(**plain)


def _zero(value: float) -> float:
    return max(float(value), 0.0)  # a bound put at 0 may be a digit below


def some(items: Any, most: int) -> list[Any]:
    """Return at most so many of some things, spread over all of them."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[k] for k in places]


def _rescaled(steps: Steps, cell: CellData, low: float, width: float) -> Steps:
    shift, factor = (cell.window.low - low) / width, cell.window.width / width
    return replace(steps, before=shift + factor * steps.before, after=shift + factor * steps.after)


def _together(parts: list[Steps]) -> Steps:
    columns = ((p.before, p.after, p.up, p.stopped) for p in parts)
    return Steps(*(torch.cat(column) for column in zip(*columns, strict=True)))
