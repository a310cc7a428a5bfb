"""Converters as they were measured: their transitions, one by one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mho.core import checks
from mho.core.spec import derived
from mho.periphery.converters.base import Architecture
from mho.periphery.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Measured(Architecture):
    """Transitions as a test of converters gives them (IEEE Std 1241).

    Attributes:
        levels: currents (steps) at which codes ``-2^(bits-1) + 1, …`` begin, ``2^bits - 1`` that do
            not fall: of an ideal converter ``k - 1/2``. Or one such tuple for each of several
            converters, which those of an array have in turn.
    """

    compares: ClassVar[bool] = False

    levels: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        checks.instance("Measured levels", self.levels, (tuple, list))
        rows: tuple[Any, ...] = tuple(self.levels)
        if rows and not isinstance(rows[0], (tuple, list)):
            rows = (rows,)
        if not rows:
            raise ValueError("Measured levels must not be empty: 2^bits - 1 transitions (steps)")
        for row in rows:
            checks.instance("every converter's Measured levels", row, (tuple, list))
            for k, each in enumerate(row):
                checks.number(f"Measured levels[{k}]", each)
            for k, (a, b) in enumerate(itertools.pairwise(row), start=1):
                if b < a:
                    raise ValueError(
                        "Measured levels must not fall from one code to the next, got "
                        f"levels[{k}] = {b:g} after {a:g}"
                    )
            _refuse_other_units(row)
            if len(row) != len(rows[0]):
                raise ValueError(
                    "Measured levels must be as many for every converter, got "
                    f"{len(rows[0])} and {len(row)}"
                )
        kept = tuple(tuple(float(each) for each in row) for row in rows)
        object.__setattr__(self, "levels", kept)
        super().__post_init__()

    @derived
    def ideal(self) -> bool:
        """Never: what was measured acts."""
        return False

    @property
    def linear(self) -> bool:
        """Whether transitions lie where those of an ideal converter do."""
        return False

    def check_bits(self, bits: int) -> None:
        """Refuse a resolution that this architecture cannot have (ValueError)."""
        super().check_bits(bits)
        if len(self.levels[0]) != 2**bits - 1:
            raise ValueError(
                f"Measured levels must be 2^bits - 1 = {2**bits - 1} for ADC bits={bits}, got "
                f"{len(self.levels[0])}"
            )

    def transitions(self, draws: Draws, count: int, bits: int) -> Tensor | None:
        """Return the transitions (steps) of ``count`` converters, which have these in turn."""
        known = draws.like.new_tensor(self.levels)
        return known.repeat(-(-count // len(known)), 1)[:count]


def _refuse_other_units(row: tuple[float, ...]) -> None:
    """Refuse transitions that are not in steps around zero: volts, amperes, codes from 0."""
    count = len(row)
    if count < 3:
        return
    span, middle = row[-1] - row[0], (row[0] + row[-1]) / 2
    if not (count - 1) / 4 <= span <= 4 * (count - 1) or abs(middle) > (count + 1) / 4:
        raise ValueError(
            "Measured levels must be in steps around zero, of an ideal converter "
            f"{-count / 2:g} … {count / 2 - 1:g}, got {row[0]:g} … {row[-1]:g}: take "
            "(level - level at zero current) / step"
        )
