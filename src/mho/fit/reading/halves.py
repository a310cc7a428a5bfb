"""Where the halves of pulse cycles begin: what directions, counters and the readings say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mho.fit.calibration import Array
from mho.fit.reading.table import Ints, Table

_LOW, _HIGH = 0.3, 0.7  # of the range: a swing goes from below the one to above the other
_MOVES = 0.25  # of the range: less is no rise and no fall
_EXPLAINED = 0.7  # of the variance, by the mean cycle of a counter that runs on


@dataclass(frozen=True)
class Half:
    """Readings of one train of pulses of one direction.

    Attributes:
        sign: +1 of set, -1 of reset pulses.
        rows: of the table, in order; the first is the reading before the first pulse.
    """

    sign: int
    rows: Ints


def segments(table: Table, rows: Ints, *, falls: bool = True) -> list[Ints]:
    """Cut the rows of one cell where a cycle, a file or a header begins, or the counter falls.

    Args:
        table: of all rows.
        rows: those of the cell, in order.
        falls: whether a counter that falls begins a segment.
    """
    new = np.zeros(len(rows), bool)
    for mark in (table.file[rows], table.block[rows]):
        new[1:] |= mark[1:] != mark[:-1]
    if "cycle" in table.labels:
        cycle = table.labels["cycle"][rows]
        new[1:] |= cycle[1:] != cycle[:-1]
    if falls and "pulse" in table.values:
        new[1:] |= np.diff(table.values["pulse"][rows]) < 0
    return [rows[part] for part in np.split(np.arange(len(rows)), np.flatnonzero(new))]


def by_direction(table: Table, rows: Ints, direction: Array, *, falls: bool = True) -> list[Half]:
    """Return the halves of one cell whose pulses have directions.

    Args:
        table: of all rows.
        rows: those of the cell.
        direction: +1 or -1 of every row of the table.
        falls: whether a counter that falls begins a half.
    """
    if table.side_by_side and "direction" in table.values:
        return [
            Half(sign, part)
            for sign in (1, -1)
            for part in segments(table, rows[direction[rows] == sign])
            if len(part)
        ]
    halves: list[Half] = []
    for part in segments(table, rows, falls=falls):
        runs = np.split(part, np.flatnonzero(np.diff(direction[part])) + 1)
        halves += [Half(int(direction[run[0]]), run) for run in runs]
    return _with_starts(table, halves)


def by_shape(table: Table, g: Array, cells: list[Ints], cycles: int | None) -> list[list[Half]]:
    """Return the halves of cells whose pulses have no directions, by how the readings move.

    Args:
        table: of all rows.
        g: conductances (S), ``[rows]``.
        cells: the rows of every cell.
        cycles: how many a counter that runs on has, if the user says so.

    Raises:
        ValueError: if the readings do not rise and fall, or not alike in every cycle.
    """
    parts = [
        _continued(
            table, [cut for seg in segments(table, rows) for cut in _cut(table, g, seg, cycles)]
        )
        for rows in cells
    ]
    shapes = [_shape(g[part]) for cell in parts for part in cell]
    if all(shape == shapes[0] for shape in shapes) and shapes[0] in ("peak", "valley"):
        return _full_cycles(table, g, parts, 1 if shapes[0] == "peak" else -1)
    halves = []
    for cell in parts:
        signs = []
        for part in cell:
            shape = _shape(g[part])
            if shape not in ("rise", "fall"):
                raise table.refuse(int(part[0]), "pulse", _unclear(shape, len(part)))
            signs.append(1 if shape == "rise" else -1)
        halves.append(
            _with_starts(table, [Half(s, part) for s, part in zip(signs, cell, strict=True)])
        )
    return halves


def _continued(table: Table, parts: list[Ints]) -> list[Ints]:
    # Cycles after the first that lack the reading before their first pulse: it ended the last one.
    short = len(parts) > 1 and all(len(part) == len(parts[0]) - 1 for part in parts[1:])
    if not short or any(_own_start(table, int(a[-1]), int(b[0])) for a, b in pairwise(parts)):
        return parts
    return [parts[0], *(np.concatenate([a[-1:], b]) for a, b in pairwise(parts))]


def counted_down(table: Table, cells: list[Ints]) -> Array | None:
    """Return directions from a counter that counts up in set and down in reset pulses, if any."""
    if "pulse" not in table.values:
        return None
    counter = table.values["pulse"]
    direction = np.zeros(len(table))
    for rows in cells:
        step = np.diff(counter[rows])
        if not len(step) or not (np.abs(step) <= 1).all() or (step == -1).sum() < 0.2 * len(step):
            return None
        signs = np.sign(np.concatenate([step[:1], step]))
        signs[signs == 0] = -1.0  # the reading at the turn, written twice
        direction[rows] = signs
    return direction


def _cut(table: Table, g: Array, part: Ints, cycles: int | None) -> list[Ints]:
    # A counter that runs on over cycles: as many equal parts as the readings swing.
    values = g[part]
    count = cycles or swings(values)
    if count < 2:
        return [part]
    hint = "add a column with the cycle or the direction, or say --cycles"
    if len(part) % count == 1:  # one reading before all cycles: each begins where one ended
        length = len(part) // count
        return [part[k * length : (k + 1) * length + 1] for k in range(count)]
    if len(part) % count:
        raise table.refuse(
            int(part[0]),
            "pulse",
            f"{len(part)} readings that rise and fall {count} times are no {count} equal cycles; "
            + hint,
        )
    folded = values.reshape(count, -1)
    known = np.isfinite(folded)
    mean = np.where(known, folded, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    left, all_of_it = np.nanvar(folded - mean), np.nanvar(folded)
    if left > (1.0 - _EXPLAINED) * all_of_it:
        raise table.refuse(
            int(part[0]),
            "pulse",
            f"the {count} cycles of {len(mean)} readings are not alike; {hint}",
        )
    return list(part.reshape(count, -1))


def swings(g: Array) -> int:
    """Return how often readings rise and fall again (at least 1): full cycles in a row."""
    values = g[np.isfinite(g)]
    if len(values) < 4:
        return 1
    low, high = np.quantile(values, [0.02, 0.98])
    if not high > low:
        return 1
    place = (values - low) / (high - low)
    level = np.where(place > _HIGH, 1, np.where(place < _LOW, -1, 0))
    level = level[level != 0]
    turns = level[np.concatenate([[True], np.diff(level) != 0])]
    return max(int((turns[1:-1] == 1).sum()), int((turns[1:-1] == -1).sum()), 1)


def _shape(g: Array) -> str:
    values = g[np.isfinite(g)]
    if len(values) < 2 or not values.max() > values.min():
        return "flat"
    width = max(len(values) // 20, 1)
    first, last = np.median(values[:width]), np.median(values[-width:])
    low, high = values.min(), values.max()
    first, last = (first - low) / (high - low), (last - low) / (high - low)
    up, down = 1 - first > _MOVES and 1 - last > _MOVES, first > _MOVES and last > _MOVES
    if up and not down:
        return "peak"
    if down and not up:
        return "valley"
    if up and down:
        return "unclear"
    return "rise" if last > first else "fall"


def _unclear(shape: str, length: int) -> str:
    what = {"flat": "do not change", "unclear": "neither rise nor fall"}.get(
        shape, "rise and fall, and others of the table do not"
    )
    return (
        f"the {length} readings from here {what}: which pulses set and which reset? Add a column "
        "with the direction"
    )


def _full_cycles(table: Table, g: Array, parts: list[list[Ints]], way: int) -> list[list[Half]]:
    # One turn for all: where the mean over cycles and cells is highest (lowest, if way is -1).
    lengths = [len(part) for cell in parts for part in cell]
    length = max(lengths, key=lambda n: (lengths.count(n), n))
    alike = np.array([g[part] for cell in parts for part in cell if len(part) == length])
    turn = _turn(way * alike)
    for cell in parts:
        for k, part in enumerate(cell):
            if len(part) != length and (k < len(cell) - 1 or len(part) > length):
                raise table.refuse(
                    int(part[0]),
                    "pulse",
                    f"this cycle has {len(part)} readings, most have {length}",
                )
    return [
        [
            half
            for part in cell
            for half in (Half(way, part[: turn + 1]), Half(-way, part[turn:]))
            if len(half.rows) > 1
        ]
        for cell in parts
    ]


def _turn(cycles: Array) -> int:
    # Where the mean is highest; in the middle if that is as high as the noise lets one say.
    mean = np.nanmean(cycles, axis=0)
    turn, middle = int(np.nanargmax(mean)), (len(mean) - 1) // 2
    step = np.diff(cycles, axis=1)
    noise = float(np.nanstd(step - np.nanmean(step, axis=0))) if len(cycles) > 1 else 0.0
    slack = max(3.0 * noise / np.sqrt(len(cycles)), 0.01 * float(np.nanmax(mean) - np.nanmin(mean)))
    return middle if mean[turn] - mean[middle] <= slack else turn


def _with_starts(table: Table, halves: list[Half]) -> list[Half]:
    """Put the last reading of a cycle's first half before its second, where it begins there."""
    # Later cycles may lack the reading that the first begins with: it ended the one before.
    length, later = len(halves[0].rows) if halves else 0, halves[2::2]
    lacking = [len(half.rows) == length - 1 for half in later[:-1]]
    short = bool(later) and all(lacking) and len(later[-1].rows) < length
    found: list[Half] = []
    for k, half in enumerate(halves):
        begins = k % 2 == 1 or (k > 0 and short)
        if begins and not _own_start(table, int(halves[k - 1].rows[-1]), int(half.rows[0])):
            half = Half(half.sign, np.concatenate([halves[k - 1].rows[-1:], half.rows]))
        found.append(half)
    return found


def _own_start(table: Table, last: int, first: int) -> bool:
    # Whether a half begins with a reading before its first pulse.
    if "amplitude" in table.values and table.values["amplitude"][first] == 0.0:
        return True
    if "pulse" not in table.values:
        return False
    before, after = table.values["pulse"][last], table.values["pulse"][first]
    return bool(after == 0 or after == before)


def check_counter(table: Table, half: Half) -> None:
    """Refuse a half whose pulses are not counted one by one (ValueError)."""
    if "pulse" not in table.values or len(half.rows) < 2:
        return
    counter = table.values["pulse"][half.rows]
    if not np.isfinite(counter).all():
        bad = half.rows[int((~np.isfinite(counter)).argmax())]
        raise table.refuse(int(bad), "pulse", "this pulse has no number")
    # The first may be the last reading of the half before: its number says nothing.
    step = np.diff(counter[1:])
    start = counter[1] - counter[0]
    wrong = np.abs(step) != 1
    if len(step) and (np.abs(step) == np.abs(step[0])).all() and np.abs(step[0]) > 1:
        raise table.refuse(
            int(half.rows[1]),
            "pulse",
            f"the counter goes in steps of {abs(step[0]):g}; a reading after every pulse is needed",
        )
    if wrong.any():
        k = int(wrong.argmax()) + 2
        raise table.refuse(
            int(half.rows[k]), "pulse", f"pulse {counter[k]:g} follows {counter[k - 1]:g}"
        )
    if start > 1 and half.rows[1] == half.rows[0] + 1:
        raise table.refuse(
            int(half.rows[1]), "pulse", f"pulse {counter[1]:g} follows {counter[0]:g}"
        )
