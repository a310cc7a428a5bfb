"""Recipes read from files: which row is of which cell, and every value checked."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

import torch
from torch import Tensor

from mho.core import checks
from mho.programming.recipe_head_reading import Head, read_head, within
from mho.programming.recipe_heads import COLUMNS, MARK, VERSION
from mho.programming.recipe_trains import read_rounds
from mho.programming.recipes import FAILURES, Recipe, Sheet

_PLACE, _INDEX = COLUMNS[1:4], COLUMNS[4:7]
_LONGEST, _MOST = 2**31 - 1, 2**62


@dataclass(frozen=True)
class Rows:
    """The rows of one crossbar.

    Attributes:
        at: where each stands in the file.
        fields: of each, all but the layer; the last one is a list of trains.
    """

    at: list[str]
    fields: list[list[Any]]

    def add(self, at: str, fields: list[Any]) -> None:
        """Add one, if it has all columns (ValueError)."""
        if len(fields) != len(COLUMNS) - 1:
            raise ValueError(
                f"{at} has {len(fields)} values after its layer, of {len(COLUMNS) - 1}"
            )
        self.at.append(at)
        self.fields.append(fields)

    def sorted(self, order: Sequence[int]) -> Rows:
        """Return them in another order."""
        return Rows([self.at[row] for row in order], [self.fields[row] for row in order])

    def values(self, column: str, read: Callable[[Any], Any], allowed: str) -> list[Any]:
        """Return a column's values, each as ``read`` has it; ValueError by it refuses one."""
        which = COLUMNS.index(column) - 1

        def value(row: int) -> Any:
            try:
                return read(self.fields[row][which])
            except (TypeError, ValueError, OverflowError):
                self.refuse(row, column, allowed)

        return [value(row) for row in range(len(self.fields))]

    def integers(self, column: str, most: int | None = None) -> Tensor:
        """Return a column of integers in ``[0, most]`` (int64)."""
        allowed = "an integer >= 0" if most is None else f"an integer in 0…{most}"

        def read(value: Any) -> int:
            found = int(value) if isinstance(value, str) else value
            checks.integer(column, found, least=0, most=_MOST if most is None else most)
            return int(found)

        return torch.tensor(self.values(column, read, allowed), dtype=torch.int64)

    def conductances(self, column: str, dtype: torch.dtype, *, empty: bool) -> Tensor:
        """Return a column of conductances (S); where they may be empty, NaN for those."""

        def read(value: Any) -> float:
            if empty and value in (None, ""):
                return math.nan
            found = float(value) if isinstance(value, str) else value
            checks.number(column, found, least=0.0, most=torch.finfo(dtype).max)
            return float(found)

        allowed = "a finite number >= 0" + (" or empty" if empty else "")
        return torch.tensor(self.values(column, read, allowed), dtype=torch.float64).to(dtype)

    def agree(self, column: str, found: Tensor, wanted: Tensor, reason: str) -> None:
        """Refuse values that other ones of the file contradict (ValueError)."""
        for row in (found != wanted).nonzero().flatten()[:1].tolist():
            self.refuse(row, column, f"{wanted[row].item()} ({reason})")

    def refuse(self, row: int, column: str, allowed: str) -> NoReturn:
        """Raise a ValueError that says where the file is wrong."""
        value = self.fields[row][COLUMNS.index(column) - 1]
        raise ValueError(f"{self.at[row]}, column {column}: must be {allowed}, got {value!r}")


# ── files ────────────────────────────────────────────────────────────────────────────────────


def read_csv(file: TextIO) -> Recipe:
    """Read a table; what spreadsheets make of its head (quotes, commas) is understood, too."""
    heads, line = _csv_heads(file)
    rows = {layer: Rows([], []) for layer in heads}
    with _long_fields():
        table = csv.reader(file)
        for fields in table:
            if not fields:
                continue
            at = f"line {line + table.line_num}"
            if fields[0] not in rows:
                names = ", ".join(map(repr, rows))
                raise ValueError(f"{at}, column layer: must be {names}, got {fields[0]!r}")
            rows[fields[0]].add(at, [*fields[1:-1], fields[-1].split()])
    return _recipe(heads, rows)


def _csv_heads(file: TextIO) -> tuple[dict[str, Head], int]:
    heads: dict[str, Head] = {}
    first = _plain(file.readline())
    if first != f"# {MARK} {VERSION}":
        raise ValueError(f"line 1: must be '# {MARK} {VERSION}', got {first[:40]!r}")
    line, text = 2, file.readline()
    while _plain(text).startswith("#"):
        if _plain(text).startswith("# crossbar "):
            with within(f"line {line}"):
                found = _json(text)
            _add(heads, read_head(found, f"line {line}"))
        line, text = line + 1, file.readline()
    if _plain(text).split(",") != list(COLUMNS):
        raise ValueError(f"line {line}: must name the columns {', '.join(COLUMNS)}")
    return heads, line


def _plain(line: str) -> str:
    """Return a line of text as it was before a spreadsheet took it for a row of a table."""
    line = line.strip().rstrip(",")
    return ",".join(next(csv.reader([line]))) if line.startswith('"') else line


def _json(line: str) -> Any:
    try:
        return json.loads(line.removeprefix("# crossbar "))
    except json.JSONDecodeError:
        text = ",".join(next(csv.reader([line.strip()]))).rstrip(",")
        return json.loads(text.removeprefix("# crossbar "))


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a cell have more trains than the csv module expects of one field."""
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_json(file: TextIO) -> Recipe:
    """Read a recipe that is written as JSON."""
    data = json.load(file)
    checks.instance("it", data, dict)
    for key, wanted in (("format", MARK), ("version", VERSION), ("columns", list(COLUMNS[1:]))):
        if data.get(key) != wanted:
            raise ValueError(f"key {key}: must be {wanted!r}, got {data.get(key)!r}")
    checks.instance("key crossbars:", data.get("crossbars"), list)
    heads: dict[str, Head] = {}
    rows = {}
    for number, found in enumerate(data["crossbars"]):
        at = f"crossbars[{number}]"
        checks.instance(at, found, dict)
        cells = found.pop("cells", None)
        head = _add(heads, read_head(found, at))
        rows[head.layer] = _json_rows(cells, at)
    return _recipe(heads, rows)


def _json_rows(cells: Any, at: str) -> Rows:
    checks.instance(f"{at}, key cells:", cells, list)
    rows = Rows([], [])
    for number, fields in enumerate(cells):
        where = f"{at}.cells[{number}]"
        checks.instance(where, fields, list)
        rows.add(where, fields)
        trains = fields[-1]
        if not isinstance(trains, list) or not all(isinstance(train, str) for train in trains):
            rows.refuse(number, "sequence", "a list of texts")
    return rows


def _add(heads: dict[str, Head], head: Head) -> Head:
    if head.layer in heads:
        before = heads[head.layer].where
        raise ValueError(f"{head.where}, key layer: {head.layer!r} is also that of {before}")
    heads[head.layer] = head
    return head


# ── one crossbar ─────────────────────────────────────────────────────────────────────────────


def _recipe(heads: dict[str, Head], rows: dict[str, Rows]) -> Recipe:
    if not heads:
        raise ValueError("it has no crossbars")
    sheets = {layer: _sheet(head, rows[layer]) for layer, head in heads.items()}
    return Recipe({layer: heads[layer].check(sheet, heads) for layer, sheet in sheets.items()})


def _sheet(head: Head, rows: Rows) -> Sheet:
    if len(rows.at) != head.cells:
        name = head.layer or "the crossbar"
        raise ValueError(f"{head.where}: {name} has {len(rows.at)} of {head.cells} cells")
    rows = rows.sorted(_order(head, rows))
    pulses = rows.integers("pulses")
    failure = rows.values("failure", FAILURES.index, f"one of {', '.join(map(repr, FAILURES))}")
    sheet = Sheet(
        target=rows.conductances("target_S", head.dtype, empty=True).view(head.shape),
        final=rows.conductances("final_S", head.dtype, empty=False).view(head.shape),
        pulses=pulses.view(head.shape),
        failure=torch.tensor(failure, dtype=torch.int8).view(head.shape),
        programming=head.programming,
        rounds=read_rounds(head, rows, pulses),
        tiling=head.tiling,
    )
    for column, wanted in zip(_PLACE, sheet.place.T, strict=True):
        found = rows.integers(column)
        rows.agree(column, found, wanted, "by slice, row, column and the tiling")
    return sheet


def _order(head: Head, rows: Rows) -> list[int]:
    """Return which row is of which cell; every cell has one."""
    *slices, height, width = (1, 1, *head.shape)
    sizes = (math.prod(slices), height, width)
    cell = torch.zeros(len(rows.at), dtype=torch.int64)
    for column, size in zip(_INDEX, sizes, strict=True):
        cell = cell * size + rows.integers(column, size - 1)
    order = torch.argsort(cell, stable=True)
    twice = (cell[order].diff() == 0).nonzero().flatten()
    for first in twice[:1].tolist():
        one, other = order[first : first + 2].tolist()
        where = f"{rows.at[other]}, columns {', '.join(_INDEX)}"
        raise ValueError(f"{where}: name the same cell as {rows.at[one]}")
    return [int(row) for row in order.tolist()]
