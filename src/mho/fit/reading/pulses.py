"""Pulse responses: set and reset curves of every cell and cycle."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from mho.fit.calibration import Array
from mho.fit.reading.halves import (
    Half,
    by_direction,
    by_shape,
    check_counter,
    counted_down,
)
from mho.fit.reading.table import Ints, Table

_NAMES = {1: "set", -1: "reset"}


def response(
    table: Table, g: Array, cells: list[tuple[str, Ints]], cycles: int | None
) -> tuple[Array, Array, tuple[str, ...], list[str]]:
    """Return the curves of pulse trains.

    Args:
        table: of the readings.
        g: their conductances (S), ``[rows]``; NaN where nothing was measured.
        cells: name and rows of every cell.
        cycles: how many a counter that runs on has, if the user says so.

    Returns:
        Set and reset curves (S), each ``[cells, cycles, pulses + 1]``; the names of the cells; and
        what was left out, in words.

    Raises:
        ValueError: if the rows are no cycles of set and reset pulses that are alike.
    """
    table = _unsigned(table, [rows for _, rows in cells])
    direction, falls = _directions(table, g, cells), True
    if direction is None:
        direction, falls = counted_down(table, [rows for _, rows in cells]), False
    if direction is not None and not (np.abs(direction) == 1.0).all():
        told = [name for name in ("direction", "amplitude", "pulse") if name in table.names]
        row = int((np.abs(direction) != 1.0).argmax())
        raise table.refuse(row, told[0], "is this pulse a set or a reset pulse?")
    if direction is not None and cycles is not None:
        raise ValueError(f"{table.paths[0]}: directions tell the cycles: no --cycles")
    if direction is not None:
        trains = [by_direction(table, rows, direction, falls=falls) for _, rows in cells]
    else:
        trains = by_shape(table, g, [rows for _, rows in cells], cycles)
    curves = {sign: _curves(table, g, trains, sign) for sign in (1, -1)}
    for sign, other in ((1, -1), (-1, 1)):
        if not any(curves[sign]):
            raise table.refuse(
                0,
                "direction" if "direction" in table.names else "pulse",
                f"only {_NAMES[other]} pulses: a device needs the {_NAMES[sign]} pulses, too "
                "(give the file of the other half behind this one)",
            )
    _check_turns(table, trains)
    whole, left_out = _whole(table, curves, [name for name, _ in cells])
    names, kept, chosen = _rectangle(whole, [name for name, _ in cells])
    polar = table.values.get("amplitude") if "direction" not in table.values else None
    if direction is not None and polar is not None and (direction * polar < 0.0).any():
        left_out.insert(0, "negative pulses set")
    said = left_out + chosen
    halves = [np.array([[pair[k] for pair in pairs] for pairs in kept]) for k in (0, 1)]
    _check_ways(table, *halves)
    return halves[0], halves[1], names, said


def _unsigned(table: Table, cells: list[Ints]) -> Table:
    # Reset pulses counted as -1, -2, …: the sign is the direction.
    counter = table.values.get("pulse")
    if counter is None or "direction" in table.values or not (counter < 0).any():
        return table
    sign = np.sign(counter)
    for rows in cells:
        _given_to_next(sign, rows)
    return replace(table, values={**table.values, "pulse": np.abs(counter), "direction": sign})


def _given_to_next(sign: Array, rows: Ints) -> None:
    # A reading without a pulse belongs to the pulses after it.
    for k in range(len(rows) - 2, -1, -1):
        if sign[rows[k]] == 0:
            sign[rows[k]] = sign[rows[k + 1]]


def _directions(table: Table, g: Array, cells: list[tuple[str, Ints]]) -> Array | None:
    if "direction" in table.values:
        return table.values["direction"]
    if "amplitude" in table.values:
        return _of_amplitude(table, g, cells)
    return None


def _of_amplitude(table: Table, g: Array, cells: list[tuple[str, Ints]]) -> Array | None:
    # Pulses of one polarity set and of the other reset; the readings say which.
    sign = np.sign(table.values["amplitude"])
    if not (sign > 0).any() or not (sign < 0).any():
        return None
    change = {1.0: 0.0, -1.0: 0.0}
    for _, rows in cells:
        _given_to_next(sign, rows)
        step = np.diff(g[rows])
        for polarity in change:
            change[polarity] += float(np.nansum(step[sign[rows][1:] == polarity]))
    if change[1.0] * change[-1.0] >= 0.0:
        raise table.refuse(0, "amplitude", "pulses of both polarities move the conductance one way")
    return sign if change[1.0] > 0 else -sign


Curve = tuple[Array, Ints]


def _curves(table: Table, g: Array, trains: list[list[Half]], sign: int) -> list[list[Curve]]:
    halves = [[half for half in train if half.sign == sign] for train in trains]
    lengths = [len(half.rows) for train in halves for half in train]
    if not lengths:
        return [[] for _ in trains]
    length = max(lengths, key=lambda n: (lengths.count(n), n))
    if length < 2:
        row = next(int(half.rows[0]) for train in halves for half in train)
        raise table.refuse(row, "pulse", f"a {_NAMES[sign]} half of a single reading: no pulse")
    found = []
    for train in halves:
        curves = []
        for k, half in enumerate(train):
            check_counter(table, half)
            if len(half.rows) != length and (len(half.rows) > length or k < len(train) - 1):
                raise table.refuse(
                    int(half.rows[-1]),
                    "pulse",
                    f"this {_NAMES[sign]} half has {len(half.rows)} readings, most have {length}",
                )
            if len(half.rows) == length:
                curves.append((g[half.rows], half.rows))
        found.append(curves)
    return found


def _check_turns(table: Table, trains: list[list[Half]]) -> None:
    if table.side_by_side:
        return
    for train in trains:
        for one, other in pairwise(train):
            if one.sign == other.sign:
                raise table.refuse(
                    int(other.rows[0]),
                    "pulse",
                    f"a second {_NAMES[one.sign]} half follows the first: cycles must be set and "
                    "reset halves in turns",
                )


def _whole(
    table: Table, curves: dict[int, list[list[Curve]]], names: list[str]
) -> tuple[list[list[tuple[Array, Array]]], list[str]]:
    # Cycles of which every reading is there.
    whole, said = [], []
    for k, name in enumerate(names):
        up, down = curves[1][k], curves[-1][k]
        of_cell = f" of cell {name}" if len(names) > 1 else ""
        pairs = []
        for n in range(max(len(up), len(down))):
            if n >= min(len(up), len(down)):
                said.append(f"cycle no. {n + 1}{of_cell} is left out: not complete")
                continue
            gone = np.zeros(len(table), bool)
            for values, rows in (up[n], down[n]):
                gone[rows[np.isnan(values)]] = True
            if gone.any():
                said.append(
                    f"cycle no. {n + 1}{of_cell} is left out: no reading in {table.lines(gone)}"
                )
            else:
                pairs.append((up[n][0], down[n][0]))
        whole.append(pairs)
    if not any(whole):
        raise ValueError(
            f"{table.paths[0]}: no cycle is complete – " + "; ".join(said[:3]) + "; nothing to fit"
        )
    return whole, said


def _rectangle(
    whole: list[list[tuple[Array, Array]]], names: list[str]
) -> tuple[tuple[str, ...], list[list[tuple[Array, Array]]], list[str]]:
    # As many cycles of every cell: the number that keeps the most curves.
    counts = [len(pairs) for pairs in whole]
    best = max(range(1, max(counts) + 1), key=lambda n: (n * sum(c >= n for c in counts), -n))
    kept = [k for k, count in enumerate(counts) if count >= best]
    said = []
    lost = [names[k] for k in range(len(names)) if k not in kept]
    if lost:
        said.append(f"cells with fewer than {best} cycles left out: {', '.join(lost[:6])}")
    if any(counts[k] > best for k in kept):
        said.append(f"{best} cycles of every cell, for so many all have")
    return tuple(names[k] for k in kept), [whole[k][:best] for k in kept], said


def _check_ways(table: Table, up: Array, down: Array) -> None:
    rise, fall = up[..., -1] - up[..., 0], down[..., 0] - down[..., -1]
    if rise.mean() <= 0.0 or fall.mean() <= 0.0:
        what = "set pulses lower" if rise.mean() <= 0.0 else "reset pulses raise"
        raise table.refuse(
            0,
            "direction" if "direction" in table.names else "pulse",
            f"{what} the conductance on average: are set and reset, or conductance and "
            "resistance, the other way round?",
        )
