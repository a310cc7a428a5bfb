"""What the user says of a file beyond what stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mho.core import checks
from mho.fit.reading.names import DIMENSIONS, Meaning, key, meaning
from mho.fit.reading.units import unit

KINDS = ("pulses", "jumps", "iv", "programming", "retention", "map")
FILES = ("cell", "cycle", "state", "part")
IGNORE = Meaning("ignore")


@dataclass(frozen=True)
class Wishes:
    """How to read, where a file does not say it.

    Attributes:
        kind: one of `KINDS`.
        read_voltage: at which currents were read (V).
        units: of columns, by name.
        columns: meanings of columns, by name (or number, from 1, where there is no header).
        separator: between columns.
        decimal: the decimal mark.
        sheet: of a workbook.
        cycles: how many a counter that runs on has.
        cell: the only one to read.
        each_file: what each of several files is, one of `FILES`.
    """

    kind: str | None = None
    read_voltage: float | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    separator: str | None = None
    decimal: str | None = None
    sheet: str | None = None
    cycles: int | None = None
    cell: str | None = None
    each_file: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:
            checks.one_of("kind", self.kind, KINDS)
        if self.read_voltage is not None:
            checks.number("read_voltage", self.read_voltage, least=-10.0, most=10.0)
            if not self.read_voltage:
                raise ValueError("read_voltage must not be 0")
        if self.each_file is not None:
            checks.one_of("each_file", self.each_file, FILES)
        if self.decimal is not None:
            checks.one_of("decimal", self.decimal, (".", ","))
        if self.cycles is not None:
            checks.integer("cycles", self.cycles)
        for name, given in (("units", self.units), ("columns", self.columns)):
            _check_texts(name, given)
        for name in ("separator", "sheet", "cell"):
            if getattr(self, name) is not None:
                checks.instance(name, getattr(self, name), str)
        for name, text in self.units.items():
            if unit(text) is None:
                raise ValueError(
                    f"unit of {name!r}: {text!r} is none of S, Ω, A, V, s with a prefix, nor one "
                    "over Ω"
                )

    def meanings(self) -> dict[str, Meaning]:
        """Return the meanings given to columns, by name in lower case.

        Raises:
            ValueError: if a meaning is not known.
        """
        found = {}
        for name, text in self.columns.items():
            said = IGNORE if text == "ignore" else meaning(text)
            if not said.quantity:
                known = ", ".join([*DIMENSIONS, "pulse", "cycle", "cell", "direction", "target"])
                raise ValueError(
                    f"column {name!r}: {text!r} is no meaning; there are {known}, achieved, LTP, "
                    "LTD, LRS, HRS, x, y, state and ignore"
                )
            found[key(name)] = said
        return found

    def given_units(self) -> dict[str, tuple[str, str, float]]:
        """Return the units given to columns: text, base unit and factor, by name in lower case."""
        known = {key(name): (text, unit(text)) for name, text in self.units.items()}
        return {name: (text, *found) for name, (text, found) in known.items() if found is not None}


def _check_texts(name: str, given: Mapping[str, str]) -> None:
    for column, text in given.items():
        for one in (column, text):
            checks.instance(f"every name and text of {name}", one, str)


def in_unit(said: Meaning, other: Meaning) -> Meaning:
    """Return a meaning in the unit of another."""
    return replace(said, unit=other.unit, dimension=other.dimension, factor=other.factor)
