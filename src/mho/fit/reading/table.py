"""Columns as numbers in SI units, with the line that every one stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mho.fit.calibration import Array
from mho.fit.reading import numbers
from mho.fit.reading.columns import LABELS, Column, check_unit
from mho.fit.reading.grid import Grid
from mho.fit.reading.names import READINGS
from mho.fit.reading.separators import Row

Labels = npt.NDArray[np.object_]
Ints = npt.NDArray[np.int64]

_WORDS = {
    1.0: "set ltp potentiation pot potentiate up increase 1 +1 p program write on",
    -1.0: "reset ltd depression dep depress down decrease -1 d n erase off",
}
# Which polarity sets is the cell's matter: the readings say it.
_POLARITIES = {"+": 1.0, "pos": 1.0, "positive": 1.0, "-": -1.0, "neg": -1.0, "negative": -1.0}
_DIRECTIONS = {word: sign for sign, words in _WORDS.items() for word in words.split()}


@dataclass(frozen=True)
class Table:
    """Rows of one or more files, one reading each.

    Attributes:
        paths: of the files.
        values: numbers in SI units by quantity, ``[rows]``; NaN where nothing was measured.
        labels: text by what it labels (``"cell"``, ``"cycle"``, ``"state"``), ``[rows]``.
        line: of every row in its file, ``[rows]``.
        file: of every row, ``[rows]``.
        block: counts the headers above every row, ``[rows]``.
        names: of columns, by quantity.
        used: the columns that were read.
        side_by_side: whether several columns of one quantity were put below each other.
    """

    paths: tuple[Path, ...]
    values: dict[str, Array]
    labels: dict[str, Labels]
    line: Ints
    file: Ints
    block: Ints
    names: dict[str, str]
    used: tuple[Column, ...]
    side_by_side: bool = False

    def __len__(self) -> int:
        return len(self.line)

    def where(self, row: int, quantity: str | None = None) -> str:
        """Return file, line and column of a value."""
        column = f", column {self.names[quantity]!r}" if quantity in self.names else ""
        return f"{self.paths[int(self.file[row])]}, line {self.line[row]}{column}"

    def refuse(self, row: int, quantity: str, why: str) -> ValueError:
        """Return the error of a value."""
        return ValueError(f"{self.where(row, quantity)}: {why}")

    def lines(self, rows: npt.NDArray[np.bool_]) -> str:
        """Return the lines of some rows, in words."""
        chosen = np.flatnonzero(rows)
        shown = ", ".join(str(self.line[k]) for k in chosen[:5])
        more = ", …" if len(chosen) > 5 else ""
        return f"line{'s' * (len(chosen) > 1)} {shown}{more}"

    def labelled(self, name: str, texts: Sequence[str]) -> Table:
        """Return the table with one label more, ``[rows]``."""
        return replace(self, labels={**self.labels, name: np.array(texts, object)})

    def kept(self, rows: npt.NDArray[np.bool_]) -> Table:
        """Return some of the rows."""
        return replace(
            self,
            values={name: column[rows] for name, column in self.values.items()},
            labels={name: column[rows] for name, column in self.labels.items()},
            line=self.line[rows],
            file=self.file[rows],
            block=self.block[rows],
        )


def tabulate(grid: Grid, columns: list[Column], mark: str) -> Table:
    """Return the table of one file; several columns of one reading are put below each other.

    Args:
        grid: its text.
        columns: those to read.
        mark: the decimal mark.

    Raises:
        ValueError: if a cell is no number, a unit is not one of the quantity, or two columns
            hold the same.
    """
    for column in columns:
        if column.quantity not in (*LABELS, "direction", "pulse", "counter", "x", "y"):
            check_unit(grid, column)
    alike = _alike(grid, columns)
    single = [column for column in columns if column not in alike]
    values: dict[str, Array] = {}
    labels: dict[str, Labels] = {}
    names = {column.quantity: column.name for column in columns}
    for column in single:
        if column.quantity == "direction" and _polar(grid, column):
            texts = [row.cells[column.at].lower() for row in grid.rows]
            values["amplitude"] = np.array([_POLARITIES[text] for text in texts])
            names["amplitude"] = names.pop("direction")
        elif column.quantity in LABELS:
            labels[column.quantity] = _texts(grid, column)
        else:
            values[column.quantity] = _numbers(grid, column, mark)
    line = np.array([row.line for row in grid.rows], np.int64)
    block = np.array(grid.blocks, np.int64)
    one = Table(
        (grid.path,), values, labels, line, np.zeros_like(line), block, names, tuple(columns)
    )
    return _stacked(grid, one, alike, mark) if alike else one


def _polar(grid: Grid, column: Column) -> bool:
    return all(row.cells[column.at].lower() in _POLARITIES for row in grid.rows)


def _alike(grid: Grid, columns: list[Column]) -> list[Column]:
    # The columns of one reading that differ in whose they are.
    named = [c for c in columns if c.quantity in READINGS.values() and _own(c) != ("",) * 5]
    groups: dict[str, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.quantity, []).append(column)
    for quantity, group in groups.items():
        owners = [_own(column) for column in group]
        if len(group) > 1 and (len(set(owners)) < len(owners) or group[0] not in named):
            both = " and ".join(repr(column.name) for column in group[:2])
            one = group[1].at + 1 if group[0].name == group[1].name else repr(group[1].name)
            raise ValueError(
                f"{grid.path}, line {grid.header.line}: {both} both hold the {quantity}; leave "
                f"one out, as in --column {one}=ignore"
            )
    several = [group for group in groups.values() if len(group) > 1]
    if len(several) > 1:
        both = " and ".join(repr(group[0].name) for group in several[:2])
        raise ValueError(
            f"{grid.path}, line {grid.header.line}: several columns of each of {both}; leave "
            "those of one out, as in --column NAME=ignore"
        )
    if several:
        return several[0]
    return [c for c in named if c.meaning.direction or c.meaning.state]


def _own(column: Column) -> tuple[str, ...]:
    said = column.meaning
    direction = str(said.direction) if said.direction else ""
    return direction, said.state, said.cell, said.cycle, said.number


def _stacked(grid: Grid, one: Table, alike: list[Column], mark: str) -> Table:
    pieces = []
    numbered = any(column.meaning.number for column in alike)
    for column in alike:
        said, length = column.meaning, len(one)
        values = {**one.values, column.quantity: _numbers(grid, column, mark)}
        labels = dict(one.labels)
        if any(c.meaning.direction for c in alike):
            values["direction"] = np.full(length, float(said.direction))
        owners = {"state": said.state, "cell": said.cell, "cycle": said.cycle}
        if numbered:
            owners["number"] = said.number or "0"
        for name, text in owners.items():
            if text or any(getattr(c.meaning, name) for c in alike):
                if name in labels:
                    raise ValueError(
                        f"{grid.path}, line {grid.header.line}: the {name} stands both in a column "
                        f"of its own and in the name {column.name!r}"
                    )
                labels[name] = np.full(length, text, object)
        # Columns may end before the longest does.
        cells = [row.cells[column.at] for row in grid.rows]
        last = max((k for k, cell in enumerate(cells) if cell), default=-1)
        inside = np.arange(length) <= last
        piece = Table(
            one.paths, values, labels, one.line, one.file, one.block, one.names, one.used, True
        )
        pieces.append(piece.kept(inside))
    return joined(pieces, same_file=True)


def joined(tables: Sequence[Table], *, same_file: bool = False) -> Table:
    """Return tables below each other.

    Args:
        tables: to join.
        same_file: whether they are of one file.

    Raises:
        ValueError: if they do not have the same columns.
    """
    first = tables[0]
    for other in tables[1:]:
        here, there = {*first.values, *first.labels}, {*other.values, *other.labels}
        if here != there:
            only = ", ".join(sorted(here ^ there))
            raise ValueError(
                f"{first.paths[0]} and {other.paths[0]} are not of one measurement: only one of "
                f"them has {only}"
            )
    paths = first.paths if same_file else tuple(path for t in tables for path in t.paths)
    files = [t.file if same_file else np.full(len(t), k) for k, t in enumerate(tables)]
    return Table(
        paths,
        {name: np.concatenate([t.values[name] for t in tables]) for name in first.values},
        {name: np.concatenate([t.labels[name] for t in tables]) for name in first.labels},
        np.concatenate([t.line for t in tables]),
        np.concatenate(files),
        np.concatenate([t.block for t in tables]),
        first.names,
        first.used,
        first.side_by_side,
    )


def _texts(grid: Grid, column: Column) -> Labels:
    texts = [row.cells[column.at] for row in grid.rows]
    for row, text in zip(grid.rows, texts, strict=True):
        if not text:
            raise _refusal(grid, row, column, f"the {column.quantity} has no name here")
    return np.array(texts, object)


def _numbers(grid: Grid, column: Column, mark: str) -> Array:
    found = np.empty(len(grid.rows))
    for k, row in enumerate(grid.rows):
        text = row.cells[column.at]
        if column.quantity == "direction":
            value = _DIRECTIONS.get(text.lower())
            if value is None:
                why = f"must be set or reset (LTP, LTD, up, down, 1, -1), got {text!r}"
                raise _refusal(grid, row, column, why)
        else:
            value = numbers.number(text, mark)
            if value is None:
                raise _refusal(grid, row, column, _no_number(text, mark))
        found[k] = value
    return found * column.meaning.factor


def _no_number(text: str, mark: str) -> str:
    other = "," if mark == "." else "."
    if numbers.number(text, other) is not None:
        names = {".": "a dot", ",": "a comma"}
        return f"{text!r} is no number where decimals stand behind {names[mark]}, as elsewhere"
    if any(part in text for part in (":", "/")) or text[:2].isalpha() or text[-3:].isalpha():
        return f"{text!r} is no number (a date or a time, made by a spreadsheet?)"
    return f"{text!r} is no number"


def _refusal(grid: Grid, row: Row, column: Column, why: str) -> ValueError:
    return ValueError(f"{grid.path}, line {row.line}, column {column.name!r}: {why}")
