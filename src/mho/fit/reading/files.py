"""What several files are: cells, cycles, states, or parts of one record."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np

from mho.fit.calibration import Array
from mho.fit.reading.table import Table
from mho.fit.reading.wishes import Wishes

# What a file can be, by kind; a part is nothing of its own.
_OF_KIND = {
    "pulses": ("cell", "cycle"),
    "jumps": (),
    "iv": ("cycle", "state"),
    "programming": ("cell",),
    "retention": ("cell",),
    "map": ("state",),
}
_STEPS = 4.0  # the largest step inside of files: a larger one, between two, is none of a sweep


def labelled(table: Table, kind: str, wishes: Wishes) -> Table:
    """Return the table with every row labelled by its file, where the user says what files are.

    Args:
        table: of all files.
        kind: of the measurement.
        wishes: what the user says.

    Raises:
        ValueError: if there is such a label in a column already, the kind has none, or there is
            one file only.
    """
    what = wishes.each_file
    if what is None:
        return table
    if len(table.paths) == 1:
        raise ValueError(f"{table.paths[0]}: there is one file: --each-file {what} says nothing")
    if what == "part":
        return table
    if what not in _OF_KIND[kind]:
        known = " or ".join((*_OF_KIND[kind], "part"))
        raise ValueError(f"{table.paths[0]}: a file of {kind} may be a {known}, not a {what}")
    if what in table.labels:
        raise ValueError(
            f"{table.where(0, what)}: the {what} stands in a column: it cannot be the file as well"
        )
    return by_file(table, what)


def by_file(table: Table, what: str) -> Table:
    """Return the table with every row labelled by its file."""
    names = [path.stem for path in table.paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in table.paths]
    return table.labelled(what, [names[k] for k in table.file])


def check_sweep(table: Table, wishes: Wishes) -> None:
    """Refuse files whose sweeps do not go on where the last ended (ValueError)."""
    if len(table.paths) == 1 or wishes.each_file or {"cycle", "state"} & set(table.labels):
        return
    voltage = table.values["voltage"]
    step, border = np.abs(np.diff(voltage)), np.diff(table.file) != 0
    jumps = border & (step > _STEPS * step[~border].max(initial=0.0))
    if jumps.any():
        row = int(jumps.argmax()) + 1
        raise table.refuse(
            row,
            "voltage",
            f"the sweep does not go on from file to file ({voltage[row - 1]:g} to "
            f"{voltage[row]:g} V): say whether each is a cycle or a state, --each-file cycle or "
            "--each-file state",
        )


def check_cycles(table: Table, cycles: int, wishes: Wishes) -> list[str]:
    """Return that files are taken as cycles; refuse files of several each (ValueError)."""
    several = len(table.paths) > 1 and not wishes.each_file
    if not several or "cell" in table.labels:
        return []
    if "cycle" in table.labels:
        names = [set(table.labels["cycle"][table.file == k]) for k in range(len(table.paths))]
        twice = set.union(*(a & b for a, b in combinations(names, 2)))
        if twice:
            raise ValueError(
                f"{table.paths[0]} and others: cycle {min(twice)} stands in several of them: say "
                "whether each file is a cell or a part of one record, --each-file cell or "
                "--each-file part"
            )
        return []
    if cycles > len(table.paths):
        raise ValueError(
            f"{table.paths[0]} and others: several cycles a file: say whether each file is a cell "
            "or a part of one record, --each-file cell or --each-file part"
        )
    return ["files are taken as cycles of one cell; if each is a cell: --each-file cell"]


def cells_of_records(table: Table, time: Array, wishes: Wishes) -> tuple[Table, list[str]]:
    """Return the table of a record with its cells named by the files, where these are cells.

    Raises:
        ValueError: if files may be cells as well as parts of one record.
    """
    if len(table.paths) == 1 or wishes.each_file or "cell" in table.labels:
        return table, []
    spans = [time[table.file == k] for k in range(len(table.paths))]
    if all(len(a) and len(b) and b.min() <= a.max() for a, b in pairwise(spans)):
        said = "every file is taken as one cell, for time begins anew in each"
        return by_file(table, "cell"), [said]
    raise ValueError(
        f"{table.paths[0]} and others: time goes on from file to file: say whether each file is a "
        "cell or a part of one record, --each-file cell or --each-file part"
    )
