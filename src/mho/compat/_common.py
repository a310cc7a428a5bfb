"""What the old interfaces share: refusals, numbers as programs give them, seeds, changes seen."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from mho.core import checks

T = TypeVar("T")


class Refused(ValueError, AssertionError):  # noqa: N818
    """A value that is not allowed.

    It is a `ValueError`, as everywhere in mho, and an `AssertionError`, as MemTorch's programs
    expect.
    """


def require(condition: bool, message: str) -> None:
    """Raise `Refused` with the message unless the condition holds."""
    if not condition:
        raise Refused(message)


def real(name: str, value: Any, *, least: float | None = None, most: float | None = None) -> float:
    """Return a finite number within bounds: Python's, NumPy's, or an array or tensor of one.

    Raises:
        Refused: if it is none, or out of bounds.
    """
    try:
        found = value.item() if hasattr(value, "item") else value
        return float(checks.number(name, found, least=least, most=most))
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: of more than one element
        bounds = "" if least is None else f" >= {least:g}"
        bounds += "" if most is None else f" and <= {most:g}"
        raise Refused(f"{name} must be a number{bounds}, got {value!r}") from None


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """Return an integer (of any type of number) of at least ``least``, or raise `Refused`."""
    found, message = real(name, value), f"{name} must be a whole number >= {least}, got {value!r}"
    require(found == int(found) >= least, message)
    return int(found)


def truth(name: str, value: Any) -> bool:
    """Return a truth value; 0 and 1 are some, too, as older programs give them.

    Raises:
        TypeError: if it is something else, such as ``"false"``.
    """
    found = checks.plain(value)
    number = type(found) in (int, float)
    return bool(found) if number and found in (0, 1) else checks.truth(name, found)


def sides(tile_shape: Any) -> tuple[int, int]:
    """Return the rows and columns of a tile: any sequence of two integers > 0 (or `Refused`)."""
    two = hasattr(tile_shape, "__len__") and len(tile_shape) == 2
    require(two, f"tile_shape must be two integers > 0, got {tile_shape!r}")
    return whole("tile_shape's rows", tile_shape[0]), whole("tile_shape's columns", tile_shape[1])


def seed() -> int:
    """Draw a seed from torch's global generator: programs call ``torch.manual_seed``."""
    return int(torch.randint(2**62, (), dtype=torch.int64))


# So many values are compared themselves; of more, sums of bits in so many groups, a prime, so that
# neither rows nor columns can change places unseen.
_FEW, _GROUPS = 1 << 14, 1021


def fingerprint(values: Tensor) -> Tensor:
    """Return what tells whether a tensor changed, however it was written to.

    (torch does not count what is written through ``.data`` or NumPy.) Equal values have equal
    ones; others do not, but for a chance that is none. It takes one pass.
    """
    word = torch.int16 if values.element_size() == 2 else torch.int32
    bits = values.detach().flatten().view(word)
    if len(bits) <= _FEW:
        return bits.clone()
    whole = len(bits) // _GROUPS * _GROUPS
    sums = bits[:whole].view(-1, _GROUPS).sum(0, dtype=torch.int32)
    sums[: len(bits) - whole] += bits[whole:]
    return sums


def kept(
    place: MutableMapping[Any, tuple[Any, Any, T]],
    key: Any,
    settings: Any,
    marks: Sequence[Any],
    make: Callable[[], T],
) -> T:
    """Return what was made for these settings and marks (as of `fingerprint`), or make it."""
    old: Any = place.get(key)
    fits = old is not None and old[0] == settings and len(old[1]) == len(marks)
    if not (fits and all(map(_same, old[1], marks))):
        place[key] = settings, marks, make()
    return place[key][2]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
