"""Heads of recipes in files: what all cells of a crossbar have in common, and a check sum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.cells.programming import Round
from mho.crossbar.tiling import Tiling
from mho.programming.recipes import Sheet

MARK, VERSION = "mho recipe", 1
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
GUIDE = (
    "sequence: trains in order, each round:polarity:volts:seconds:count; volts are word line minus "
    "bit line (of pulses that are only counted: set above 0, reset below; nothing where no height "
    "and width are known); rounds follow one another, in each first all set pulses, then all reset "
    "pulses; erase is a reset to the lowest conductance"
)
KEYS = (
    "layer",
    "shape",
    "dtype",
    "tiling",
    "programming",
    "schemes",
    "rounds",
    "counted",
    "sum",
)
DTYPES = {str(t).removeprefix("torch."): t for t in (torch.float64, torch.float32, torch.float16)}


def nominal(scheme: Any) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Return heights (V, reset below 0) and widths (s) of (reset, set) pulses; None: unknown."""
    if scheme is None:
        return (None, None), (None, None)
    down, up = scheme.reset_pulses, scheme.set_pulses
    return (-down.start, up.start), (down.width, up.width)


def head_of(sheet: Sheet, layer: str, layers: Iterable[str]) -> dict[str, Any]:
    """Return what a file says of a sheet, but for its cells.

    Args:
        sheet: of the recipe.
        layer: its name.
        layers: names of all sheets of the recipe: none can get lost.
    """
    head = {"layer": layer, **_common(sheet)}
    return {**head, "sum": _check_sum({**head, "layers": sorted(layers)}, sheet)}


def _common(sheet: Sheet) -> dict[str, Any]:
    schemes: list[Any] = []
    used: list[int | None] = []
    for each in sheet.rounds or ():
        if each.scheme is not None and each.scheme not in schemes:
            schemes.append(each.scheme)
        used.append(None if each.scheme is None else schemes.index(each.scheme))
    return {
        "shape": list(sheet.shape),
        "dtype": str(sheet.target.dtype).removeprefix("torch."),
        "tiling": None if sheet.tiling is None else _geometry(sheet.tiling),
        "programming": sheet.programming.to_dict(),
        "schemes": [scheme.to_dict() for scheme in schemes],
        "rounds": None if sheet.rounds is None else used,
        "counted": sheet.counted,
    }


def _geometry(tiling: Tiling) -> dict[str, Any]:
    array = tiling.array
    return {
        "groups": tiling.groups,
        "rows": array.rows,
        "cols": array.cols,
        "interleaved": array.interleaved,
    }


def _check_sum(head: dict[str, Any], sheet: Sheet) -> str:
    """Return a number that other values of the sheet would not make."""
    made = hashlib.blake2b(json.dumps(head, sort_keys=True).encode(), digest_size=16)
    parts = [sheet.target, sheet.final, sheet.pulses, sheet.failure]
    for each in sheet.rounds or ():
        parts += [] if each.erase else _parts(each, sheet.target.numel())
    for part in parts:
        made.update(_bytes(part))
    return made.hexdigest()


def _parts(given: Round, size: int) -> list[Tensor]:
    cells = torch.arange(size) if given.cells is None else given.cells
    order = torch.argsort(cells)
    up = torch.as_tensor(given.up).expand(len(cells))
    one = torch.tensor(1) if given.count is None else given.count
    count = one.expand(len(cells))
    parts = [cells, up, count] + ([] if given.volts is None else [given.volts])
    return [part[order] for part in parts]


def _bytes(part: Tensor) -> bytes:
    if part.is_floating_point():
        part = torch.where(part.isnan(), torch.nan, part)  # one NaN as good as another
    array = part.detach().contiguous().numpy()
    return bytes(np.asarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
