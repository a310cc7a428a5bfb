"""Recipes as files: a table with one line a cell (CSV), or the same as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor

from mho.cells.programming import Round
from mho.core import checks, files
from mho.programming.recipe_head_reading import within
from mho.programming.recipe_heads import COLUMNS, GUIDE, MARK, VERSION, head_of, nominal
from mho.programming.recipe_reading import read_csv, read_json
from mho.programming.recipes import FAILURES, Recipe, Sheet


def save_recipe(report: Any, path: str | Path) -> None:
    """Write a recipe to a file: for each cell its place, target, end and pulses.

    An existing file is whole at any time: the new one is written aside and moved.

    Args:
        report: a `Recipe`, or what a programming returned; see `Recipe.of`.
        path: where to, ``*.csv`` or ``*.json``; an existing file is replaced.

    Raises:
        TypeError: if there can be no recipe of it.
        ValueError: if the file's ending is another, or nothing was programmed.
    """
    recipe = report if isinstance(report, Recipe) else Recipe.of(report)
    if not recipe.sheets:
        raise ValueError("report must be of at least one crossbar, got none")
    path = checks.path("path", path)
    write = {"csv": _write_csv, "json": _write_json}[_ending(path)]
    with files.aside(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        write(recipe, file)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a file, as `save_recipe` writes it.

    Slice, row and column say which cell a row of the table is of: rows may stand in any order.
    Every value is checked, and all of them by a check sum: a recipe says what was done. (One that
    differs is made of a `Sheet`, by `dataclasses.replace`, and saved.)

    Args:
        path: of the file, ``*.csv`` or ``*.json``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no recipe, not whole, or not as it was saved.
    """
    path = checks.path("path", path)
    read = {"csv": read_csv, "json": read_json}[_ending(path)]
    with (
        path.open(encoding="utf-8-sig", newline="") as file,
        within(f"{path} is not a whole recipe"),
    ):
        return read(file)


def _ending(path: Path) -> str:
    ending = path.suffix.lower().removeprefix(".")
    if ending not in ("csv", "json"):
        raise ValueError(f"path must end with .csv or .json, got {str(path)!r}")
    return ending


# ── write ────────────────────────────────────────────────────────────────────────────────────


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
    height, width = (["" if x is None else repr(x) for x in both] for both in nominal(given.scheme))
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
    file.write(f"# {MARK} {VERSION}\n# {GUIDE}\n")
    for name, sheet in recipe.sheets.items():
        file.write(f"# crossbar {json.dumps(head_of(sheet, name, recipe.sheets))}\n")
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, sheet in recipe.sheets.items():
        table.writerows([name, *line[:-1], " ".join(line[-1])] for line in _lines(sheet))


def _write_json(recipe: Recipe, file: TextIO) -> None:
    # Cell by cell: the whole never lies in memory as text.
    head = {"format": MARK, "version": VERSION, "guide": GUIDE, "columns": COLUMNS[1:]}
    file.write(json.dumps(head, indent=1)[:-2] + ',\n "crossbars": [')
    for count, (name, sheet) in enumerate(recipe.sheets.items()):
        start = json.dumps(head_of(sheet, name, recipe.sheets))[:-1]
        file.write(f'{"," if count else ""}\n  {start}, "cells": [')
        for number, line in enumerate(_lines(sheet)):
            values = [float(v) if v else None for v in line[6:8]]
            file.write(f"{',' if number else ''}\n   ")
            file.write(json.dumps([*line[:6], *values, *line[8:]]))
        file.write("\n  ]}")
    file.write("\n ]\n}\n")
