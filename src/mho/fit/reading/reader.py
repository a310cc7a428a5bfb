"""Files in, a measurement out."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mho.core import checks
from mho.core import files as contents
from mho.fit.reading import files, kinds, maps, numbers, readings, separators, spreadsheet, text
from mho.fit.reading.arrange import arranged
from mho.fit.reading.columns import Column, columns_of
from mho.fit.reading.grid import Grid, locate
from mho.fit.reading.measurement import Measurement
from mho.fit.reading.separators import Row
from mho.fit.reading.table import joined, tabulate
from mho.fit.reading.wishes import Wishes

_MARKS = {".": "decimal points", ",": "decimal commas"}
_SHORT = 4  # a table so many times shorter than another is none that was measured
_SHOWN = 4  # things left out that are named one by one
# What gives things one by one that are in no order, or no names.
_NOT_PATHS = (set, frozenset, bytes, bytearray, memoryview, Mapping, io.IOBase)


def read(
    path: str | Path | Iterable[str | Path],
    *,
    kind: str | None = None,
    read_voltage: float | None = None,
    units: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    sheet: str | None = None,
    cycles: int | None = None,
    cell: str | None = None,
    each_file: str | None = None,
) -> Measurement:
    """Read what an instrument (or a spreadsheet) wrote, and say what was understood.

    Text of any common encoding, separated by commas, semicolons, tabs, bars or blanks, with either
    decimal mark; Excel workbooks and parquet files with the extra ``mho[tables]``. Lines before
    the header are metadata; units stand in brackets, behind a slash or in a row below the names.
    Missing values are left out and counted. Where two readings are possible the file is refused,
    with the argument that decides, named as ``mho fit`` has it: ``--each-file cell`` is
    ``each_file="cell"`` here, and ``--unit G=µS`` is ``units={"G": "µS"}``.

    Args:
        path: of the file, or of several files of one measurement, joined in this order: a list,
            or whatever else gives them one by one, as ``folder.glob("*.csv")``.
        kind: ``"pulses"``, ``"jumps"``, ``"iv"``, ``"programming"``, ``"retention"`` or ``"map"``;
            told from the columns if not given.
        read_voltage: at which currents were read (V), where no file says it.
        units: of columns, by name, as ``{"G": "µS"}``.
        columns: meanings of columns, by name, as ``{"Foo": "conductance (µS)"}``, or
            ``"ignore"``; by number from 1, as ``{"1": "voltage"}``, where there is no header.
        separator: ``"comma"``, ``"semicolon"``, ``"tab"``, ``"bar"``, ``"blanks"`` or
            ``"wide blanks"``.
        decimal: ``"."`` or ``","``.
        sheet: of a workbook.
        cycles: how many cycles a pulse counter that runs on has.
        cell: the only cell to read.
        each_file: what each of several files is: a ``"cell"``, a ``"cycle"``, a ``"state"``, or a
            ``"part"`` of one record.

    Raises:
        OSError: if a file cannot be read.
        ImportError: if a workbook or parquet file needs pandas.
        ValueError: if a file is not understood; says the line and the column.
        TypeError: if an argument is of another type.
    """
    paths = _paths(path)
    for name, given in (("units", units), ("columns", columns)):
        checks.instance(name, {} if given is None else given, Mapping)
    wishes = Wishes(
        kind, read_voltage, dict(units or {}), dict(columns or {}), separator, decimal, sheet,
        cycles, cell, each_file,
    )  # fmt: skip
    found = [_grid(one, wishes) for one in paths]
    known = [columns_of(one, wishes) for one in found]
    marks = [_mark(one, wishes) for one in found]
    chosen = wishes.kind or _kind(found, known, marks)
    if wishes.cycles is not None and chosen != "pulses":
        raise ValueError(f"{paths[0]}: cycles are counted in pulses, this is {chosen}: no --cycles")
    lacking = kinds.missing(chosen, known[0])
    if lacking:
        raise ValueError(
            f"{paths[0]}, line {found[0].header.line}: no column "
            f"{', '.join(map(repr, lacking))}; {chosen} needs {kinds.NEEDS[chosen]}, the header "
            f"has {', '.join(found[0].names)}"
        )
    used = [kinds.used(chosen, columns, readings.reading(columns)) for columns in known]
    if chosen == "iv":
        used = _without_clocks(found, used, marks)
    tables = [tabulate(*of_file) for of_file in zip(found, used, marks, strict=True)]
    arrays, cells, what, left = arranged(
        chosen,
        files.labelled(joined(tables), chosen, wishes),
        used[0],
        wishes,
        [one.before for one in found],
    )
    said = (
        f"{chosen}: {what}; {_form(found, marks)}",
        f"columns: {_columns(found[0], used[0])}",
        _left_out(found, left),
    )
    return Measurement(chosen, arrays, cells, said, tuple(paths))


def _paths(given: Any) -> list[Path]:
    if isinstance(given, (str, os.PathLike)):
        return [checks.path("path", given)]
    several = isinstance(given, Iterable) and not isinstance(given, _NOT_PATHS)
    if not several or getattr(given, "ndim", 1) == 0:  # arrays without dimensions say they are some
        raise TypeError(f"path must be one, or a list of some, got {checks.said(given)}")
    paths = [checks.path(f"path[{k}]", one) for k, one in enumerate(given)]
    if not paths:
        raise ValueError("path must name at least one file")
    return paths


def _grid(path: Path, wishes: Wishes) -> Grid:
    data = contents.content(path)
    table = spreadsheet.is_workbook(data) or spreadsheet.is_parquet(data)
    if table and wishes.separator is not None:
        raise ValueError(f"{path} is no text: no separator stands between its columns")
    if spreadsheet.is_workbook(data):
        return _of_workbook(path, spreadsheet.sheets(data, path), wishes)
    if wishes.sheet is not None:
        raise ValueError(f"{path} is no workbook: it has no sheet {wishes.sheet!r}")
    if spreadsheet.is_parquet(data):
        return _located(path, [("", spreadsheet.parquet(data, path))], wishes, ("parquet",))
    lines, encoding = text.lines(data, path)
    ways = separators.candidates(lines, wishes.separator)
    return _located(path, ways, wishes, (encoding,))


def _of_workbook(path: Path, sheets: dict[str, list[Row]], wishes: Wishes) -> Grid:
    if wishes.sheet is not None:
        if wishes.sheet not in sheets:
            names = ", ".join(map(repr, sheets))
            raise ValueError(f"{path}: no sheet {wishes.sheet!r}; there are {names}")
        sheets = {wishes.sheet: sheets[wishes.sheet]}
    tried = {name: _of_sheet(path, rows, wishes) for name, rows in sheets.items()}
    tables = {name: grid for name, grid in tried.items() if isinstance(grid, Grid)}
    if not tables:
        raise next(error for error in tried.values() if isinstance(error, ValueError))
    # Settings look like a small table, too: they are far shorter than what they were set for.
    most = max(len(grid.rows) for grid in tables.values())
    good = {name: grid for name, grid in tables.items() if len(grid.rows) > most / _SHORT}
    if len(good) > 1:
        raise ValueError(
            f"{path}: tables on the sheets {', '.join(map(repr, good))}: choose with --sheet"
        )
    name, grid = next(iter(good.items()))
    others = [repr(other) for other in sheets if other != name]
    rest = f", not {', '.join(others)}" if others else ""
    return replace(grid, notes=(f"sheet {name!r}{rest}", *grid.notes))


def _of_sheet(path: Path, rows: list[Row], wishes: Wishes) -> Grid | ValueError:
    try:
        return _located(path, [("", rows)], wishes, ())
    except ValueError as error:
        return error


def _located(
    path: Path, ways: list[tuple[str, list[Row]]], wishes: Wishes, notes: tuple[str, ...]
) -> Grid:
    split = [separators.tagged(rows) for _, rows in ways]
    tables = [(name, table) for (name, _), (table, _) in zip(ways, split, strict=True)]
    others = [row for _, rest in split[:1] for row in rest]
    matrix = maps.matrix(path, tables, bare=wishes.kind == "map") if not wishes.columns else None
    if matrix is not None and wishes.kind in (None, "map"):
        return replace(matrix, notes=(*notes, *matrix.notes))
    grid = locate(path, tables, wishes.meanings(), notes)
    return replace(grid, before=[*(" ".join(row.trimmed) for row in others), *grid.before])


def _mark(grid: Grid, wishes: Wishes) -> str:
    if wishes.decimal is not None:
        return wishes.decimal
    cells = [cell for row in grid.rows for cell in row.cells]
    marks = numbers.decimal_marks(cells)
    if len(marks) > 1:
        row, cell = next((r, c) for r in grid.rows for c in r.cells if _ambiguous(c))
        column = grid.names[row.cells.index(cell)]
        one, other = (numbers.number(cell, mark) for mark in marks)
        raise ValueError(
            f"{grid.path}, line {row.line}, column {column!r}: {cell!r} may be {one:g} or "
            f"{other:g}: say --decimal . or --decimal ,"
        )
    return marks[0]


def _ambiguous(cell: str) -> bool:
    values = [numbers.number(cell, mark) for mark in ".,"]
    return "," in cell and None not in values and values[0] != values[1]


def _kind(found: list[Grid], known: list[list[Column]], marks: list[str]) -> str:
    grid, columns = found[0], known[0]
    fits = kinds.fitting(columns, swept=_swept(found, known, marks))
    if len(fits) == 1:
        return fits[0]
    header = ", ".join(grid.names)
    if fits:
        raise ValueError(
            f"{grid.path}, line {grid.header.line}: header {header} fits {' and '.join(fits)}: "
            "choose with --kind"
        )
    needs = "; ".join(f"{need} ({kind})" for kind, need in kinds.NEEDS.items())
    unknown = [n for k, n in enumerate(grid.names) if k not in {column.at for column in columns}]
    hint = f" (what is {unknown[0]!r}? say --column {unknown[0]!r}=…)" if unknown else ""
    raise ValueError(
        f"{grid.path}, line {grid.header.line}: header {header} fits none of: {needs}{hint}"
    )


def _swept(found: list[Grid], known: list[list[Column]], marks: list[str]) -> bool:
    # Whether a voltage varies: a sweep, not a read voltage.
    levels: set[float] = set()
    for grid, columns, mark in zip(found, known, marks, strict=True):
        for column in columns:
            if column.quantity == "voltage":
                cells = [numbers.number(row.cells[column.at], mark) for row in grid.rows]
                if None in cells:
                    return True  # what is no number is refused where it is read
                levels |= {cell for cell in cells if cell is not None and np.isfinite(cell)}
    return len(levels) > 1


def _without_clocks(
    found: list[Grid], used: list[list[Column]], marks: list[str]
) -> list[list[Column]]:
    # A sweep's times are of use, but not needed: dates and times of day are left out.
    def clock(column: Column, grid: Grid, mark: str) -> bool:
        cells = (row.cells[column.at] for row in grid.rows)
        return column.quantity == "time" and any(numbers.number(c, mark) is None for c in cells)

    files = list(zip(found, used, marks, strict=True))
    if not any(clock(column, grid, mark) for grid, columns, mark in files for column in columns):
        return used
    return [[column for column in columns if column.quantity != "time"] for columns in used]


def _form(found: list[Grid], marks: list[str]) -> str:
    forms = [
        f"{', '.join(filter(None, grid.notes))}, {_MARKS[mark]}"
        for grid, mark in zip(found, marks, strict=True)
    ]
    form = " / ".join(dict.fromkeys(forms))
    if len(found) == 1:
        return f"{found[0].path.name} ({form})"
    names = [grid.path.name for grid in found]
    shown = [*names[: _SHOWN - 1], "…", names[-1]] if len(names) > _SHOWN else names
    return f"{len(found)} files joined in this order: {', '.join(shown)} ({form})"


def _columns(grid: Grid, used: list[Column]) -> str:
    told = [f"{column.quantity} {column.said()}" for column in used]
    read_ones = {column.at for column in used}
    rest = [repr(name) for k, name in enumerate(grid.names) if k not in read_ones and name]
    if len(told) > 2 * _SHOWN:
        told = [*told[:_SHOWN], f"… {len(told) - _SHOWN} more"]
    return "; ".join(told) + (f"; not read: {', '.join(rest)}" if rest else "")


def _left_out(found: list[Grid], left: list[str]) -> str:
    notes = list(left)
    for grid in found:
        if grid.skipped:
            lines = ", ".join(map(str, grid.skipped[:_SHOWN]))
            notes.append(f"lines below the table not read ({lines})")
    more = [f"and {len(notes) - 2 * _SHOWN} more"] if len(notes) > 2 * _SHOWN else []
    return "noted: " + ("; ".join([*notes[: 2 * _SHOWN], *more]) or "every row was read")
