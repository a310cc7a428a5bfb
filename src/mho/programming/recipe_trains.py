"""Sequences of trains in recipes' files, read as rounds."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mho.cells.programming import Round
from mho.programming.recipe_head_reading import Head
from mho.programming.recipe_heads import nominal

if TYPE_CHECKING:
    from mho.programming.recipe_reading import Rows

_WAYS = {"reset": 0, "set": 1, "erase": 2}
_ERASE = _WAYS["erase"]


class _Train(NamedTuple):
    cell: int
    way: int
    volts: float
    pulses: int


def read_rounds(head: Head, rows: Rows, pulses: Tensor) -> tuple[Round, ...] | None:
    """Read the pulses of all cells.

    Args:
        head: of the crossbar.
        rows: one for each cell, in their order.
        pulses: that each cell was given.

    Raises:
        ValueError: if a train cannot be, or does not agree with the rest of the file.
    """
    known = [_Known(head, number) for number in range(len(head.schemes or ()))]
    found: list[list[_Train]] = [[] for _ in known]
    for cell, fields in enumerate(rows.fields):
        last = 0
        for text in fields[-1]:
            try:
                last, train = _read(text, cell, last, known)
            except ValueError as error:
                raise ValueError(f"{rows.at[cell]}, column sequence, {text!r}: {error}") from None
            found[last - 1].append(train)
    if head.schemes is None:
        _none_known(rows)
        return None
    total = [0] * len(rows.at)
    for train in chain.from_iterable(found):
        total[train.cell] += train.pulses
    rows.agree("pulses", pulses, torch.tensor(total), "the trains of its sequence")
    rounds = tuple(_round(k, trains, head, rows) for k, trains in zip(known, found, strict=True))
    _one_polarity(rounds, rows)
    return rounds


class _Known:
    """What a round's trains must agree with."""

    def __init__(self, head: Head, number: int) -> None:
        assert head.schemes is not None
        self.number, self.scheme = number + 1, head.schemes[number]
        self.counted, self.most = head.counted, float(torch.finfo(head.dtype).max)
        self.height, self.width = nominal(self.scheme)


def _read(text: str, cell: int, last: int, known: list[_Known]) -> tuple[int, _Train]:
    fields = text.split(":")
    if len(fields) != 5:
        raise ValueError("must be round:polarity:volts:seconds:count")
    number = _integer("round", fields[0], last + 1, len(known))
    given = known[number - 1]
    if fields[1] not in _WAYS:
        raise ValueError(f"polarity must be one of {', '.join(_WAYS)}, got {fields[1]!r}")
    way = _WAYS[fields[1]]
    volts, seconds = _number("volts", fields[2]), _number("seconds", fields[3])
    plain = way == _ERASE
    if plain and given.scheme is not None:
        raise ValueError("polarity must be set or reset where the round has a scheme, got erase")
    width = None if plain else given.width[way]
    if seconds != width:
        raise ValueError(f"seconds must be {_said(width)}, got {fields[3]!r}")
    if plain or given.counted:
        height = None if plain else given.height[way]
        if volts != height:
            raise ValueError(f"volts must be {_said(height)}, got {fields[2]!r}")
    elif volts is None or given.scheme is None or not 0.0 < abs(volts) <= given.most:
        raise ValueError(f"volts must be finite, not 0 and of a scheme, got {fields[2]!r}")
    most = 1 if plain or not given.counted else 2**31
    count = _integer("count", fields[4], 1, most)
    return number, _Train(cell, way, math.nan if volts is None else volts, count)


def _integer(name: str, text: str, least: int, most: int) -> int:
    found = int(text) if text.strip().lstrip("+-").isdecimal() else None
    if found is None or not least <= found <= most:
        raise ValueError(f"{name} must be an integer in {least}…{most}, got {text!r}")
    return found


def _number(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None


def _said(value: Any) -> str:
    return "empty" if value is None else f"{value!r} (by the scheme)"


def _none_known(rows: Rows) -> None:
    for cell, fields in enumerate(rows.fields):
        if fields[-1]:
            rows.refuse(cell, "sequence", "empty where no rounds were recorded")


def _round(known: _Known, trains: list[_Train], head: Head, rows: Rows) -> Round:
    if any(train.way == _ERASE for train in trains):
        _all_erased(known, trains, rows)
        return Round(None, False, erase=True)
    at = torch.tensor([train.cell for train in trains], dtype=torch.int64)
    up = torch.tensor([train.way == _WAYS["set"] for train in trains], dtype=torch.bool)
    if head.counted:
        count = torch.tensor([train.pulses for train in trains], dtype=torch.int64)
        return Round(at, up, count=count, scheme=known.scheme)
    volts = torch.tensor([train.volts for train in trains], dtype=torch.float64)
    return Round(at, up, volts.to(head.dtype), scheme=known.scheme)


def _all_erased(known: _Known, trains: list[_Train], rows: Rows) -> None:
    erased = {train.cell for train in trains if train.way == _ERASE}
    for cell in range(len(rows.at)):
        if cell not in erased:
            rows.refuse(cell, "sequence", f"with an erase in round {known.number}, as of others")


def _one_polarity(rounds: tuple[Round, ...], rows: Rows) -> None:
    """Refuse set pulses of both signs: what sets one cell of a device sets all."""
    signs = [
        (each.cells, torch.where(torch.as_tensor(each.up), each.volts, -each.volts).sign())
        for each in rounds
        if each.volts is not None
    ]
    sign = math.copysign(1.0, sum(float(s.sum()) for _, s in signs))
    for cells, found in signs:
        assert cells is not None
        for cell in cells[found != sign][:1].tolist():
            rows.refuse(cell, "sequence", "of one sign for set pulses, of the other for reset ones")
