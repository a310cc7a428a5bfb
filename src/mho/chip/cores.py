"""Cores: arrays of cells of one size, each with converters of its own; and what rewriting takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mho.core import checks
from mho.core.spec import Spec

if TYPE_CHECKING:
    from mho.crossbar.report import ProgramReport

_WHOLE = 1e-9


@dataclass(frozen=True)
class Cores(Spec):
    """A chip as a number of equal cores.

    A core has several arrays of one size, one above the other, that share its word-line drivers
    and its converters: slices whose currents flow together (a differential pair) lie at the same
    place of its arrays. A core is given one vector at a time, so that matrices which share a core
    are read one after the other. Its lines are as long as its arrays, whatever lies there.

    The defaults are the 64-core chip of Le Gallo et al. 2023 (doi 10.1038/s41928-023-01010-1):
    256 × 256 unit cells a core, whose devices of either polarity are the two arrays here, a
    converter for every bit line, and 133 ns a read, which follow from the 63.1 TOPS that it
    reaches with one read for both signs.

    Attributes:
        count: cores of the chip, >= 1.
        rows: word lines of an array, >= 1.
        cols: bit lines of an array, >= 1.
        arrays: of a core, >= 1.
        read_time: one read of a core with one vector, without waiting for shared converters (s),
            > 0.
        columns_per_converter: neighbouring bit lines that a converter serves, one after the other,
            >= 1; if more than one, ``conversion_time`` must say what that takes.
        conversion_time: added to a read for every conversion of the busiest converter (s), >= 0.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    count: int = 64
    rows: int = 256
    cols: int = 256
    arrays: int = 2
    read_time: float = 133e-9
    columns_per_converter: int = 1
    conversion_time: float = 0.0

    def __post_init__(self) -> None:
        for name in ("count", "rows", "cols", "arrays"):
            checks.integer(f"Cores {name}", getattr(self, name))
        checks.circuit("Cores read_time", self.read_time, "s", above=0.0)
        most = self.cols
        checks.integer("Cores columns_per_converter", self.columns_per_converter, most=most)
        checks.circuit("Cores conversion_time", self.conversion_time, "s", least=0.0)
        if self.columns_per_converter > 1 and not self.conversion_time:
            raise ValueError(
                "Cores conversion_time must be > 0 where "
                f"{self.columns_per_converter} columns share a converter one after the other, got 0"
            )

    @property
    def converters(self) -> int:
        """Of one core."""
        return math.ceil(self.cols / self.columns_per_converter)

    @property
    def cells(self) -> int:
        """Of the whole chip."""
        return self.count * self.arrays * self.rows * self.cols

    @property
    def shape(self) -> tuple[int, int]:
        """Word lines and bit lines of a field in which all arrays lie one below the other."""
        return self.count * self.arrays * self.rows, self.cols

    @property
    def layout(self) -> tuple[int, int, int, int]:
        """Cores, arrays of a core, word lines and bit lines of an array."""
        return self.count, self.arrays, self.rows, self.cols

    def time(self, width: int) -> float:
        """Return how long one read takes (s) where so many neighbouring bit lines are in use."""
        return self.read_time + min(self.columns_per_converter, width) * self.conversion_time


@dataclass(frozen=True)
class Rewriting(Spec):
    """What it takes to write cells anew, for networks that lie on a chip in turns.

    Numbers come from the programming stage: `of` takes them from what ``mho.program`` returned.

    Attributes:
        batch: inferences that are worked through before the next turn is written, >= 1.
        row_time: to write the cells of one word line of one array (s), >= 0; None: not known.
        cell_energy: to write one cell (J), >= 0; None: not known.
        cell_pulses: that one cell receives, >= 0; None: not known.
        at_once: cores that can be written at the same time, >= 1; None for all.
        endurance: pulses that a cell bears, >= 1; None for ever.

    Raises:
        TypeError, ValueError: if a value is refused.
    """

    batch: int = 1
    row_time: float | None = None
    cell_energy: float | None = None
    cell_pulses: float | None = None
    at_once: int | None = None
    endurance: float | None = None

    def __post_init__(self) -> None:
        checks.integer("Rewriting batch", self.batch)
        for name in ("row_time", "cell_energy", "cell_pulses"):
            if getattr(self, name) is not None:
                checks.number(f"Rewriting {name}", getattr(self, name), least=0.0)
        if self.at_once is not None:
            checks.integer("Rewriting at_once", self.at_once)
        if self.endurance is not None:
            checks.number("Rewriting endurance", self.endurance, least=1.0)

    @classmethod
    def of(
        cls, report: Mapping[str, ProgramReport] | ProgramReport, batch: int = 1, **others: float
    ) -> Rewriting:
        """Take what one row and one cell take from a report of programming.

        Arrays are programmed side by side there: the time of a crossbar is that of its fullest.

        Args:
            report: what ``mho.program``, or programming a crossbar, returned.
            batch: see `Rewriting`.
            others: further attributes.

        Raises:
            TypeError: if it is no such report.
        """
        reports = list(report.values()) if isinstance(report, Mapping) else [report]
        if not reports or not all(hasattr(r, "written") for r in reports):
            raise TypeError(
                "report must be what mho.program or Crossbar.program returned, got "
                f"{type(report).__name__}"
            )
        cells = sum(r.cells.g.numel() for r in reports)
        rows = sum(_rows(r) for r in reports)
        times = [r.seconds for r in reports]
        energies = [r.energy for r in reports]
        return cls(
            batch,
            _shared(times, rows),
            _shared(energies, cells),
            sum(r.pulses for r in reports) / cells,
            **others,  # type: ignore[arg-type]
        )


def _shared(values: list[float | None], count: int) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / count if len(known) == len(values) else None


def _rows(report: ProgramReport) -> int:
    """Word lines of a crossbar's fullest array."""
    return report.cells.shape[1] if report.tiling is None else report.tiling.height


def whole(reads: float) -> int:
    """Return a number of reads as an integer: a part of one is one."""
    return math.ceil(reads - _WHOLE * max(1.0, reads))
