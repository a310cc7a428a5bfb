"""Recipes as files: a table with one line a cell (CSV), or the same as JSON."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor

from mho.cells.programming import Programming, Round
from mho.core.spec import Spec
from mho.programming.recipes import FAILURES, Recipe, Sheet

_MARK, _VERSION = "mho recipe", 1
COLUMNS = (
    "layer",
    "array",
    "word_line",
    "bit_line",
    "slice",
    "row",
    "column",
    "target_S",
    "final_S",
    "pulses",
    "failure",
    "sequence",
)
_GUIDE = (
    "sequence: trains in order, each round:polarity:volts:seconds:count; volts are word line minus "
    "bit line (of pulses that are only counted: set above 0, reset below; nothing where no height "
    "and width are known); rounds follow one another, in each first all set pulses, then all reset "
    "pulses; erase is a reset to the lowest conductance"
)


def save_recipe(report: Any, path: str | Path) -> None:
    """Write a recipe to a file: for each cell its place, target, end and pulses.

    The file is written aside and renamed: an existing one is whole at any time.

    Args:
        report: a `Recipe`, or what a programming returned; see `Recipe.of`.
        path: where to, ``*.csv`` or ``*.json``; an existing file is replaced.

    Raises:
        TypeError: if there can be no recipe of it.
        ValueError: if the file's ending is another.
    """
    recipe = report if isinstance(report, Recipe) else Recipe.of(report)
    path = Path(path)
    write = {"csv": _write_csv, "json": _write_json}[_ending(path)]
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            write(recipe, file)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a file, as `save_recipe` writes it.

    Args:
        path: of the file, ``*.csv`` or ``*.json``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no recipe, or not whole.
    """
    path = Path(path)
    read = {"csv": _read_csv, "json": _read_json}[_ending(path)]
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return read(file)
        except (KeyError, IndexError, TypeError, StopIteration, ValueError) as error:
            raise ValueError(f"{path} is not a whole recipe: {error}") from error


def _ending(path: Path) -> str:
    ending = path.suffix.lower().removeprefix(".")
    if ending not in ("csv", "json"):
        raise ValueError(f"path must end with .csv or .json, got {str(path)!r}")
    return ending


# ── write ────────────────────────────────────────────────────────────────────────────────────


def _head(sheet: Sheet) -> dict[str, Any]:
    """Say what all cells of a sheet have in common."""
    schemes: list[Programming] = []
    used: list[int | None] = []
    for each in sheet.rounds or ():
        if each.scheme is not None and each.scheme not in schemes:
            schemes.append(each.scheme)
        used.append(None if each.scheme is None else schemes.index(each.scheme))
    return {
        "shape": list(sheet.shape),
        "dtype": str(sheet.target.dtype).removeprefix("torch."),
        "programming": sheet.programming.to_dict(),
        "schemes": [scheme.to_dict() for scheme in schemes],
        "rounds": None if sheet.rounds is None else used,
        "counted": sheet.counted,
    }


def _lines(sheet: Sheet) -> Iterator[list[Any]]:
    """Yield each cell's line, all but the layer; its last entry is a list of trains."""
    numbers = torch.cat((sheet.place, sheet.index), dim=1).tolist()
    target, final = _texts(sheet.target), _texts(sheet.final)
    pulses = sheet.pulses.flatten().tolist()
    failure = sheet.failure.flatten().tolist()
    for cell, trains in enumerate(_trains(sheet)):
        why = FAILURES[failure[cell]]
        yield [*numbers[cell], target[cell], final[cell], pulses[cell], why, trains]


def _trains(sheet: Sheet) -> Iterator[list[str]]:
    # All trains as one table, ordered by cell, then by round; cut into the cells' parts.
    cells, texts = [], []
    for number, each in enumerate(sheet.rounds or (), start=1):
        index = torch.arange(sheet.target.numel()) if each.cells is None else each.cells
        cells.append(index)
        texts.append(_round_texts(number, each, len(index)))
    if not cells:
        yield from ([] for _ in range(sheet.target.numel()))
        return
    order = torch.argsort(torch.cat(cells), stable=True)
    table = np.concatenate(texts)[order.numpy()].tolist()
    ends = torch.bincount(torch.cat(cells), minlength=sheet.target.numel()).cumsum(0).tolist()
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield table[start:end]


def _round_texts(number: int, given: Round, size: int) -> Any:
    if given.erase:
        return np.full(size, f"{number}:erase:::1", dtype=object)
    up = torch.as_tensor(given.up).expand(size).tolist()
    counts = [1] * size if given.count is None else given.count.tolist()
    height, width = ["", ""], ["", ""]  # of reset pulses, of set pulses
    if given.scheme is not None:
        both = (given.scheme.reset_pulses, given.scheme.set_pulses)
        height = [repr(sign * p.start) for sign, p in zip((-1, 1), both, strict=True)]
        width = [repr(p.width) for p in both]
    volts = [height[way] for way in up] if given.volts is None else _texts(given.volts)
    found = np.empty(size, dtype=object)
    found[:] = [
        f"{number}:{'set' if way else 'reset'}:{v}:{width[way]}:{n}"
        for way, v, n in zip(up, volts, counts, strict=True)
    ]
    return found


def _texts(values: Tensor) -> list[str]:
    """Write numbers with as many digits as their own precision needs; nothing for NaN."""
    array = values.detach().flatten().numpy()
    return ["" if text == "nan" else text for text in array.astype(str).tolist()]


def _write_csv(recipe: Recipe, file: TextIO) -> None:
    file.write(f"# {_MARK} {_VERSION}\n# {_GUIDE}\n")
    for name, sheet in recipe.sheets.items():
        file.write(f"# crossbar {json.dumps({'layer': name, **_head(sheet)})}\n")
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, sheet in recipe.sheets.items():
        table.writerows([name, *line[:-1], " ".join(line[-1])] for line in _lines(sheet))


def _write_json(recipe: Recipe, file: TextIO) -> None:
    # Cell by cell: the whole never lies in memory as text.
    head = {"format": _MARK, "version": _VERSION, "guide": _GUIDE, "columns": COLUMNS[1:]}
    file.write(json.dumps(head, indent=1)[:-2] + ',\n "crossbars": [')
    for count, (name, sheet) in enumerate(recipe.sheets.items()):
        start = json.dumps({"layer": name, **_head(sheet)})[:-1]
        file.write(f'{"," if count else ""}\n  {start}, "cells": [')
        for number, line in enumerate(_lines(sheet)):
            values = [float(v) if v else None for v in line[6:8]]
            file.write(f"{',' if number else ''}\n   ")
            file.write(json.dumps([*line[:6], *values, *line[8:]]))
        file.write("\n  ]}")
    file.write("\n ]\n}\n")


# ── read ─────────────────────────────────────────────────────────────────────────────────────


def _read_csv(file: TextIO) -> Recipe:
    heads: dict[str, dict[str, Any]] = {}
    first = file.readline()
    if first.strip() != f"# {_MARK} {_VERSION}":
        raise ValueError(f"it begins with {first.strip()[:40]!r}, not with '# {_MARK} {_VERSION}'")
    line = file.readline()
    while line.startswith("#"):
        if line.startswith("# crossbar "):
            head = json.loads(line.removeprefix("# crossbar "))
            heads[head["layer"]] = head
        line = file.readline()
    if line.strip().split(",") != list(COLUMNS):
        raise ValueError(f"its columns must be {', '.join(COLUMNS)}")
    lines: dict[str, list[list[Any]]] = {name: [] for name in heads}
    for row in csv.reader(file):
        lines[row[0]].append([*row[1:-1], row[-1].split()])
    return Recipe({name: _sheet(head, lines[name]) for name, head in heads.items()})


def _read_json(file: TextIO) -> Recipe:
    data = json.load(file)
    if (data["format"], data["version"]) != (_MARK, _VERSION):
        raise ValueError(f"it is {data['format']!r} {data['version']!r}, not '{_MARK}' {_VERSION}")
    found = data["crossbars"]
    return Recipe({each["layer"]: _sheet(each, each["cells"]) for each in found})


def _sheet(head: dict[str, Any], lines: list[list[Any]]) -> Sheet:
    shape, dtype = head["shape"], getattr(torch, head["dtype"])
    cells = int(np.prod(shape))
    if len(lines) != cells:
        raise ValueError(f"{head['layer'] or 'the crossbar'} has {len(lines)} of {cells} cells")

    def numbers(column: int) -> Tensor:
        empty = (None, "")
        values = [float("nan") if line[column] in empty else float(line[column]) for line in lines]
        return torch.tensor(values, dtype=torch.float64).to(dtype).view(shape)

    def integers(columns: slice) -> Tensor:
        values = [[int(v) for v in line[columns]] for line in lines]
        return torch.tensor(values, dtype=torch.int64).view(cells, -1)

    failure = torch.tensor([FAILURES.index(line[9]) for line in lines], dtype=torch.int8)
    return Sheet(
        target=numbers(6),
        final=numbers(7),
        place=integers(slice(0, 3)),
        pulses=integers(slice(8, 9)).view(shape),
        failure=failure.view(shape),
        programming=Programming.from_dict(head["programming"]),
        rounds=_rounds(head, [line[10] for line in lines], dtype),
    )


def _rounds(
    head: dict[str, Any], trains: list[list[str]], dtype: torch.dtype
) -> tuple[Round, ...] | None:
    if head["rounds"] is None:
        return None
    schemes = [Spec.from_dict(scheme) for scheme in head["schemes"]]
    cells: list[list[int]] = [[] for _ in head["rounds"]]
    parts: list[list[list[str]]] = [[] for _ in head["rounds"]]
    for cell, sequence in enumerate(trains):
        for train in sequence:
            number, *rest = train.split(":")
            cells[int(number) - 1].append(cell)
            parts[int(number) - 1].append(rest)
    used = [None if which is None else schemes[which] for which in head["rounds"]]
    kind = None if head["counted"] else dtype
    return tuple(_round(*each, kind) for each in zip(cells, parts, used, strict=True))


def _round(
    index: list[int], parts: list[list[str]], scheme: Any, kind: torch.dtype | None
) -> Round:
    if parts and parts[0][0] == "erase":
        return Round(None, False, erase=True)
    up = torch.tensor([part[0] == "set" for part in parts], dtype=torch.bool)
    at = torch.tensor(index, dtype=torch.int64)
    if kind is None:
        count = torch.tensor([int(part[3]) for part in parts], dtype=torch.int64)
        return Round(at, up, count=count, scheme=scheme)
    volts = torch.tensor([float(part[1]) for part in parts], dtype=torch.float64).to(kind)
    return Round(at, up, volts, scheme=scheme)
