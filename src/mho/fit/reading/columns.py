"""The columns of a table: which of them are read, in which unit, under which name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mho.fit.reading.grid import Grid
from mho.fit.reading.names import DIMENSIONS, READINGS, Meaning, given, key, meaning
from mho.fit.reading.wishes import Wishes, in_unit

LABELS = ("cell", "wordline", "bitline", "cycle", "state")


@dataclass(frozen=True)
class Column:
    """A column that is known.

    Attributes:
        name: as it stands in the header.
        at: which one it is.
        meaning: of it.
        asserted: whether the user said its unit.
    """

    name: str
    at: int
    meaning: Meaning
    asserted: bool = False

    @property
    def quantity(self) -> str:
        """What it holds; targets and achieved values are what their units say."""
        return self.meaning.quantity

    def said(self) -> str:
        """What was understood, in a few words."""
        if self.quantity in DIMENSIONS or self.quantity in ("target", "achieved"):
            base = self.meaning.dimension or DIMENSIONS.get(self.quantity, "S")
            if not self.meaning.unit:
                return f"{self.name!r} (no unit: {base})"
            return f"{self.name!r} ({self.meaning.unit} = {self.meaning.factor:.3g} {base})"
        return repr(self.name)


def columns_of(grid: Grid, wishes: Wishes) -> list[Column]:
    """Return the columns whose meanings are known.

    Args:
        grid: the table.
        wishes: what the user says of it.

    Raises:
        ValueError: if a column that the user names is not there.
    """
    meanings, units = wishes.meanings(), wishes.given_units()
    columns = []
    for at, name in enumerate(grid.names):
        found = given(name, meanings) or meanings.get(str(at + 1))
        said = meaning(name)
        if found is not None:
            # A meaning without a unit leaves the one that stands in the header.
            said = found if found.dimension else in_unit(found, said)
        text = given(name, units) or given(said.quantity or "-", units)
        if text is not None:
            said = replace(said, unit=text[0], dimension=text[1], factor=text[2])
            if said.quantity in (*READINGS.values(), "value", ""):
                said = replace(said, quantity=READINGS.get(text[1], said.quantity))
        if said.quantity == "value":
            said = replace(said, quantity=READINGS.get(said.dimension, "conductance"))
        if said.quantity and said.quantity != "ignore":
            columns.append(Column(name, at, said, text is not None))
    _refuse_unknown(grid, wishes, [c.quantity for c in columns])
    return columns


def _refuse_unknown(grid: Grid, wishes: Wishes, quantities: list[str]) -> None:
    for what, names in (("--column", wishes.columns), ("--unit", wishes.units)):
        for name in names:
            there = any(
                given(n, {key(name): True}) or (name == str(k)) for k, n in enumerate(grid.names, 1)
            )
            if not there and not (what == "--unit" and name.lower() in quantities):
                raise ValueError(
                    f"{grid.path}, line {grid.header.line}: {what} names {name!r}, but the "
                    f"columns are {', '.join(map(repr, grid.names))}"
                )


def check_unit(grid: Grid, column: Column) -> None:
    """Refuse a column whose unit is not one of its quantity (ValueError)."""
    said, quantity = column.meaning, column.quantity
    where = f"{grid.path}, line {grid.header.line}, column {column.name!r}"
    if said.unit and not said.dimension:
        base = DIMENSIONS.get(quantity, "S, Ω or A")
        raise ValueError(
            f"{where}: unit {said.unit!r} is not one of {base}; say what it is, as in "
            f"--unit {quantity.split()[0]}=µ{base[:1]}"
        )
    wanted = {DIMENSIONS[quantity]} if quantity in DIMENSIONS else set(READINGS)
    if said.dimension and said.dimension not in wanted:
        raise ValueError(
            f"{where}: unit {said.unit!r} is one of {said.dimension}, but a {quantity} is in "
            f"{' or '.join(sorted(wanted))}"
        )
