"""The choice of a law by the likelihood of pulses that its fit has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mho.fit.calibration import LEVELS, OUR_STREAM, Array, Calibration
from mho.fit.pulse.data import Trains
from mho.fit.pulse.likelihood import Predicted
from mho.fit.pulse.solve import Mask

_FOLDS = 5
_LEAST_CYCLES = 4  # with fewer, blocks of pulses are left out instead of cycles
_SAME = 1e-3  # log likelihood a pulse by which laws do not differ in earnest
_BLOCKS = 10  # of a train

Refit = Callable[[Trains, Mask, int], Predicted]
"""From trains, the pulses kept and the number of the fold: what a fit to those says of all."""


@dataclass(frozen=True)
class Choice:
    """How well one law predicts pulses that its fit has not seen.

    Attributes:
        law: its name.
        parameters: how many were fitted to a cell; None for a table.
        score: mean log likelihood of a pulse that was left out (of the conductance as a part of
            the window; higher is better).
        error: standard error of the score.
        behind: how far behind the best law it is, >= 0.
        behind_error: standard error of that difference, pulse by pulse.
    """

    law: str
    parameters: int | None
    score: float
    error: float
    behind: float
    behind_error: float

    def __str__(self) -> str:
        """One line of the table."""
        if self.behind == 0.0:
            return f"{self.law}: {self.score:.3f} ± {self.error:.2g} (best)"
        return (
            f"{self.law}: {self.score:.3f} ± {self.error:.2g} "
            f"({self.behind:.2g} ± {self.behind_error:.1g} behind)"
        )


@dataclass(frozen=True)
class HeldOut:
    """What a law said of all pulses, each when it was left out.

    Attributes:
        log_density: of the pulses, ``[pulses]``.
        below: probability of less than was measured.
        until: probability of that or less.
        unit: which cycle or block (of which cell) each pulse is of.
    """

    log_density: Array
    below: Array
    until: Array
    unit: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, parts: list[HeldOut]) -> HeldOut:
        """Return several cells' as one."""
        units, first = [], 0
        for part in parts:
            units.append(part.unit + first)
            first += int(part.unit.max()) + 1
        return cls(
            log_density=np.concatenate([part.log_density for part in parts]),
            below=np.concatenate([part.below for part in parts]),
            until=np.concatenate([part.until for part in parts]),
            unit=np.concatenate(units),
        )

    def calibration(self, seed: int) -> Calibration:
        """Return how often pulses fell inside the central intervals predicted for them.

        Where a bound stops many pulses alike, a value stands for a range of probabilities: a
        place in it is drawn at random, which keeps coverage exact.
        """
        draw = np.random.default_rng([seed, OUR_STREAM]).random(len(self.below))
        place = self.below + draw * (self.until - self.below)
        inside = [float((np.abs(place - 0.5) <= level / 2).mean()) for level in LEVELS]
        return Calibration(LEVELS, tuple(inside), len(place))


def held_out(trains: Trains, refit: Refit, seed: int) -> HeldOut:
    """Return what a law says of every pulse of a cell, from fits without it.

    Args:
        trains: of the cell.
        refit: fits the law to some pulses.
        seed: of who is left out together.
    """
    fold, unit = _folds(trains, seed)
    valid = trains.valid
    parts = np.zeros((3, *valid.shape))
    for k in range(int(fold[valid].max()) + 1):
        found = refit(trains, valid & (fold != k), k)
        out = fold == k
        for row, value in zip(parts, (found.log_density, found.below, found.until), strict=True):
            row[out] = value.numpy()[out]
    log_density, below, until = (part[valid] for part in parts)
    return HeldOut(log_density, below, until, unit[valid])


def table(found: dict[str, HeldOut], parameters: dict[str, int | None]) -> tuple[Choice, ...]:
    """Return the laws, the simplest first, with how they do beside the best."""
    scores = {name: float(law.log_density.mean()) for name, law in found.items()}
    best = found[max(scores, key=lambda name: scores[name])]
    rows = []
    for name, law in found.items():
        difference = best.log_density - law.log_density
        rows.append(
            Choice(
                law=name,
                parameters=parameters[name],
                score=scores[name],
                error=_error(law.log_density, law.unit),
                behind=float(difference.mean()),
                behind_error=_error(difference, law.unit),
            )
        )
    return tuple(rows)


def chosen(rows: tuple[Choice, ...]) -> str:
    """Return the simplest law within a standard error of the best; of equals the better."""
    near = [row for row in rows if row.behind <= max(row.behind_error, _SAME)]
    return min(near, key=lambda row: (row.parameters or np.inf, row.behind)).law


def _error(values: Array, unit: npt.NDArray[np.int64]) -> float:
    # Of the mean of values that hang together within units.
    sums = np.bincount(unit, weights=values - values.mean())
    number = len(sums)
    if number < 2:
        return float("nan")
    return float(np.sqrt(number / (number - 1) * (sums**2).sum()) / len(values))


def _folds(trains: Trains, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    # The fold of every pulse, and the unit it hangs together with, ``[trains, pulses]``.
    random = np.random.default_rng([seed, OUR_STREAM])
    shape = trains.valid.shape
    cycles = int(trains.cycle.max()) + 1
    both = len(np.unique(trains.cycle[trains.up])), len(np.unique(trains.cycle[~trains.up]))
    if min(both) >= _LEAST_CYCLES:
        fold = random.permutation(cycles) % min(_FOLDS, min(both))
        whole = (fold[trains.cycle], trains.cycle)
        return tuple(np.broadcast_to(v[:, None], shape) for v in whole)  # type: ignore[return-value]
    train = np.arange(shape[0])[:, None]
    block = np.arange(shape[1]) * _BLOCKS // trains.length[:, None]
    # Neighbouring trains leave out other parts of the curve.
    fold = (block + 2 * train + int(random.integers(_FOLDS))) % _FOLDS
    return fold, train * _BLOCKS + np.minimum(block, _BLOCKS - 1)
