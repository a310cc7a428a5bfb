"""Maps of cells: a state's conductance by position, as a list or as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mho.fit.calibration import Array
from mho.fit.reading import numbers
from mho.fit.reading.files import by_file
from mho.fit.reading.grid import Grid
from mho.fit.reading.names import READINGS, meaning
from mho.fit.reading.separators import Row
from mho.fit.reading.table import Labels, Table

_STATES = {"on": "lrs", "lrs": "lrs", "off": "hrs", "hrs": "hrs"}
_LEAST = 2  # columns and rows of a grid


def matrix(path: Path, ways: Sequence[tuple[str, list[Row]]], *, bare: bool) -> Grid | None:
    """Return a wafer map as a list with columns x, y and the reading; None if there is none.

    Args:
        path: of the file.
        ways: of splitting its lines.
        bare: whether a grid without positions at its edges is one too.
    """
    for name, rows in ways:
        for at, row in enumerate(rows):
            found = _labelled(rows, at)
            if found is not None:
                return _listed(path, name, rows[:at], row, *found)
    if bare:
        for name, rows in ways:
            full = [row for row in rows if row.trimmed and not row.comment]
            table = [row for row in full if all(map(numbers.numeric, row.trimmed))]
            widths = {len(row.trimmed) for row in table}
            if len(table) >= _LEAST and len(widths) == 1 and widths.pop() >= _LEAST:
                if table[0].line > (full[0].line if full else 0):
                    before = [row for row in full if row.line < table[0].line]
                else:
                    before = []
                x = [str(k) for k in range(len(table[0].trimmed))]
                lines = [(str(k), row.line, row.trimmed) for k, row in enumerate(table)]
                return _listed(path, name, before, None, x, lines)
    return None


Lines = list[tuple[str, int, tuple[str, ...]]]


def _labelled(rows: list[Row], at: int) -> tuple[list[str], Lines] | None:
    # Positions in the first row and column: whole numbers, in even steps.
    head = rows[at].trimmed
    if len(head) <= _LEAST or numbers.numeric(head[0]) or not _even(head[1:]):
        return None
    lines: Lines = []
    for row in rows[at + 1 :]:
        if not row.trimmed or row.comment:
            continue
        if len(row.trimmed) > len(head) or not numbers.numeric(row.cells[0]):
            break
        cells = row.cells[1 : len(head)]
        lines.append((row.cells[0], row.line, (*cells, *[""] * (len(head) - 1 - len(cells)))))
    if len(lines) < _LEAST or not _even([label for label, _, _ in lines]):
        return None
    return list(head[1:]), lines


def _even(labels: Sequence[str]) -> bool:
    values = [numbers.number(label, ".") for label in labels]
    if any(value is None or value != value or value != int(value) for value in values):
        return False
    steps = np.diff(np.array(values, np.float64))
    return len(steps) > 0 and bool((steps == steps[0]).all()) and steps[0] != 0


def _listed(
    path: Path, name: str, above: list[Row], head: Row | None, x: list[str], lines: Lines
) -> Grid:
    # What the values are stands in the corner, or above, or not at all ("value").
    texts = [head.cells[0]] if head is not None else []
    texts += [" ".join(row.trimmed) for row in reversed(above)]
    texts += [cell for row in reversed(above) for cell in row.trimmed]
    said = next((t for t in texts if meaning(t).quantity in (*READINGS.values(), "value")), "value")
    rows = [
        Row(line, (x[k], label, cell))
        for label, line, cells in lines
        for k, cell in enumerate(cells)
    ]
    header = Row(head.line if head is not None else lines[0][1], ("x", "y", said))
    before = [" ".join(row.trimmed) for row in above]
    notes = (name, f"a grid of {len(x)} × {len(lines)} positions")
    return Grid(path, header, ("x", "y", said), rows, [0] * len(rows), before, notes, ())


def states(table: Table, g: Array) -> tuple[dict[str, Array], list[str]]:
    """Return the conductances of a map's cells by state, with their positions.

    Args:
        table: with one reading a row.
        g: conductances (S), ``[rows]``; NaN where nothing was measured.

    Raises:
        ValueError: if there are more than two states, or a position comes twice.
    """
    state = _state_of(table)
    places = _places(table)
    known = list(dict.fromkeys(state))
    if len(known) > 2:
        raise table.refuse(0, "state", f"a map of at most two states is read, got {len(known)}")
    by_state: list[dict[str, int]] = []
    for one in known:
        rows = np.flatnonzero(state == one)
        named = [places[k] for k in rows]
        if len(set(named)) < len(named):
            twice = next(k for k, n in zip(rows, named, strict=True) if named.count(n) > 1)
            raise table.refuse(int(twice), "x", f"the position {places[twice]} comes twice")
        by_state.append(dict(zip(named, rows.tolist(), strict=True)))
    common = [place for place in by_state[0] if all(place in other for other in by_state)]
    index = np.array([[rows[place] for place in common] for rows in by_state], np.int64)
    values = g[index] if len(common) else np.empty((len(known), 0))
    whole = np.isfinite(values).all(axis=0)
    said = []
    lost = int((~whole).sum()) + sum(len(rows) for rows in by_state) - len(known) * len(common)
    if lost:
        said.append(f"{lost} positions without a value")
    values, index = values[:, whole], index[:, whole]
    if values.shape[1] == 0:
        raise table.refuse(0, "x", "no position has a value of every state")
    names = known if set(known) <= {"lrs", "hrs"} else _ranked(values)
    arrays = {name: values[k] for k, name in enumerate(names)}
    if len(known) == 2 and set(known) != {"lrs", "hrs"}:
        said.append(f"{known[names.index('lrs')]} is taken as the LRS, for it conducts more")
    if {"x", "y"} <= set(table.values):  # one of them alone is a name
        arrays |= {axis: table.values[axis][index[0]] for axis in ("x", "y")}
    return arrays, said


def _ranked(values: Array) -> list[str]:
    if len(values) == 1:
        return ["lrs"]
    first = bool(np.median(values[0]) >= np.median(values[1]))
    return ["lrs", "hrs"] if first else ["hrs", "lrs"]


def _state_of(table: Table) -> Labels:
    if "state" in table.labels:
        names = [_STATES.get(name.lower(), name) for name in table.labels["state"]]
        return np.array(names, object)
    if len(table.paths) > 1:
        return by_file(table, "state").labels["state"]
    return np.full(len(table), "", object)


def _places(table: Table) -> list[str]:
    if {"x", "y"} <= set(table.values):
        pairs = zip(table.values["x"], table.values["y"], strict=True)
        cell = table.labels.get("cell")
        own = [f", cell {name}" for name in cell] if cell is not None else [""] * len(table)
        return [f"({x:g}, {y:g}){name}" for (x, y), name in zip(pairs, own, strict=True)]
    if "cell" in table.labels:
        return [str(name) for name in table.labels["cell"]]
    return [str(k) for k in table.line]
