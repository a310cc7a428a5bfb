"""Heads of recipes read from files: every key checked."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from mho.cells.programming import Programming
from mho.core import checks
from mho.crossbar.tiling import Tiling
from mho.hardware import Array
from mho.programming.recipe_heads import DTYPES, KEYS, head_of
from mho.programming.recipes import Sheet
from mho.programming.scheme import WriteVerify

_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    csv.Error,
)


@contextmanager
def within(where: str) -> Iterator[None]:
    """Say of whatever is wrong with a file where it is (ValueError)."""
    try:
        yield
    except _UNREADABLE as error:
        raise ValueError(f"{where}: {error}") from error


@dataclass(frozen=True, eq=False)
class Head:
    """What a file says of a crossbar, checked.

    Attributes:
        where: it stands in the file, for messages.
        layer: its name.
        shape: of the population.
        dtype: of its conductances.
        tiling: see `Sheet`.
        programming: see `Sheet`.
        schemes: of each round, see `Round`; None where no rounds are known.
        counted: whether its pulses are only counted.
        sum: the check sum.
    """

    where: str
    layer: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    tiling: Tiling | None
    programming: Programming
    schemes: tuple[WriteVerify | None, ...] | None
    counted: bool
    sum: str

    @property
    def cells(self) -> int:
        """How many."""
        return math.prod(self.shape)

    def check(self, sheet: Sheet, layers: Iterable[str]) -> Sheet:
        """Return the sheet that was read, one of these layers, or refuse it (ValueError)."""
        if sheet.counted != self.counted:
            raise ValueError(f"{self.where}, key counted: must be {sheet.counted} of such pulses")
        made = head_of(sheet, self.layer, layers)["sum"]
        if made != self.sum:
            raise ValueError(
                f"{self.where}, key sum: {self.layer or 'the crossbar'} is not as it was saved, "
                f"its values and the layers make {made!r}, got {self.sum!r}"
            )
        return sheet


def read_head(found: Any, where: str) -> Head:
    """Check what a file says of a crossbar.

    Args:
        found: as `head_of` gives it.
        where: it stands in the file.

    Raises:
        ValueError: if a key is missing, unknown, or of a value that cannot be.
    """
    _keys(found, KEYS, where)

    def under(key: str) -> Any:
        return within(f"{where}, key {key}")

    with under("layer"):
        checks.instance("it", found["layer"], str)
    with under("shape"):
        shape = _shape(found["shape"])
    with under("dtype"):
        checks.one_of("it", found["dtype"], DTYPES)
    with under("tiling"):
        tiling = _tiling(found["tiling"], shape)
    with under("programming"):
        programming = Programming.from_dict(found["programming"])
    with under("schemes"):
        checks.instance("it", found["schemes"], list)
        schemes = [_scheme(each) for each in found["schemes"]]
    with under("rounds"):
        rounds = _used(found["rounds"], schemes)
    with under("counted"):
        checks.instance("it", found["counted"], bool)
    with under("sum"):
        checks.instance("it", found["sum"], str)
    layer, dtype = found["layer"], DTYPES[found["dtype"]]
    counted, total = found["counted"], found["sum"]
    return Head(where, layer, shape, dtype, tiling, programming, rounds, counted, total)


def _keys(found: Any, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{where} must have keys {', '.join(keys)}, got {str(found)[:40]!r}")
    for key in keys:
        if key not in found:
            raise ValueError(f"{where}, key {key}: is missing")
    for key in found:
        if key not in keys:
            raise ValueError(f"{where}, key {key}: is unknown; known are {', '.join(keys)}")


def _shape(found: Any) -> tuple[int, ...]:
    checks.instance("it", found, list)
    for size in found:
        checks.integer("a size", size, least=0, most=2**31)
    return tuple(found)


def _tiling(found: Any, shape: tuple[int, ...]) -> Tiling | None:
    if found is None:
        return None
    _keys(found, ("groups", "rows", "cols", "interleaved"), "it")
    groups = found["groups"]
    checks.integer("groups", groups)
    if len(shape) != 3 or shape[1] % groups:
        raise ValueError(f"groups={groups} do not divide the rows of shape {list(shape)}")
    array = Array(found["rows"], found["cols"], interleaved=found["interleaved"])
    return Tiling(shape[0], groups, shape[1] // groups, shape[2], array)


def _scheme(found: Any) -> WriteVerify:
    scheme = WriteVerify.from_dict(found)
    if scheme.set is None or scheme.reset is None:
        raise ValueError("set and reset must be the pulses that were given")
    return scheme


def _used(found: Any, schemes: list[WriteVerify]) -> tuple[WriteVerify | None, ...] | None:
    if found is None:
        return None
    checks.instance("it", found, list)
    for which in found:
        if which is not None:
            checks.integer("a scheme", which, least=0, most=len(schemes) - 1)
    return tuple(None if which is None else schemes[which] for which in found)
