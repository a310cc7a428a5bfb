"""Clear refusals: every check names the parameter, the value found and what is allowed.

Numbers may be Python's, NumPy's, or arrays and tensors without dimensions (`plain`). What checks of
numbers return is Python's: a caller that goes on with it needs not know where it came from.
"""

from __future__ import annotations

import cmath
import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SHORT = 80  # characters of a value that an error shows

PLAIN = frozenset((bool, int, float, str, type(None)))
"""Types that `plain` leaves as they are."""


def plain(value: Any) -> Any:
    """Return a number (or truth value, or text) of NumPy or torch as Python's.

    Arrays and tensors count where they have no dimension. A tensor that requires a gradient, which
    would be lost, is returned as it is, and so is everything else.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        found = value.item()
        return float(found) if isinstance(found, np.floating) else found  # np.longdouble
    if isinstance(value, Tensor) and value.dim() == 0 and not value.requires_grad:
        return value.item()
    return value


def said(value: Any) -> str:
    """Say what was given: the value and its type; of what is long or many the type and size."""
    kind = type(value).__name__
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim:
        return f"{kind} of shape {list(value.shape)}"
    shown = repr(value)
    if len(shown) <= _SHORT and "\n" not in shown:
        return f"{shown} ({kind})"
    return f"{kind} of {len(value)}" if isinstance(value, (list, tuple, dict, str)) else kind


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Refuse what is not a finite number inside the stated bounds.

    Args:
        name: the parameter, as the user wrote it.
        value: what was given.
        above: exclusive lower bound.
        least: inclusive lower bound.
        below: exclusive upper bound.
        most: inclusive upper bound.

    Returns:
        The number, as Python's.

    Raises:
        TypeError: if ``value`` is not a real number.
        ValueError: if it is not finite or out of bounds.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {said(value)}")
    inside = (
        (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    )
    if isinstance(value, int) and abs(value) > _LONGEST:
        raise ValueError(f"{name} must be a number that a float holds, got one of {_digits(value)}")
    if not inside or not math.isfinite(value):
        bounds = ((">", above), (">=", least), ("<", below), ("<=", most))
        allowed = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
        raise ValueError(f"{name} must be {allowed or 'finite'}, got {value!r}")
    return value


SMALLEST, LARGEST = 1e-60, 1e30
"""Sizes of quantities of hardware, in SI units. Beyond them products leave what tensors hold."""


def sized(name: str, value: float) -> float:
    """Refuse a number that no quantity of hardware has (ValueError); return it.

    What is not finite, or a whole number that no float holds, is for `number` to refuse. A whole
    number that 64 bits do not hold is returned as a float.
    """
    if isinstance(value, int):
        if -(2**63) <= value < 2**63 or abs(value) > _LONGEST:
            return value
        value = float(value)
    size = abs(value)
    if LARGEST < size < math.inf or 0.0 < size < SMALLEST:
        raise ValueError(
            f"{name} must be 0, or of a size from {SMALLEST:g} to {LARGEST:g}, got {value!r}"
        )
    return value


_LONGEST = 2**1000
"""Whole numbers beyond it are no floats."""


def _digits(value: int) -> str:
    return f"about {int(abs(value).bit_length() * math.log10(2)) + 1} digits"


_LARGEST = {
    "J": (1e-2, "2 pJ are 2e-12"),
    "s": (10.0, "10 ns are 1e-8"),
    "m²": (0.1, "1 µm² is 1e-12"),
    "W": (1e3, "1 µW is 1e-6"),
    "F": (1e-6, "1 fF is 1e-15"),
    "C": (1e-6, "1 pC is 1e-12"),
    "m": (1e-4, "22 nm are 22e-9"),
    "S": (1.0, "100 µS are 1e-4"),
}
"""What no circuit of a chip reaches, by unit: who gives more has left out a prefix."""


def circuit(name: str, value: Any, unit: str, **bounds: float) -> float:
    """Refuse what is no quantity of a circuit on a chip: another number, or another unit.

    Args:
        name: the parameter, as the user wrote it.
        value: what was given.
        unit: one of J, s, m², W, F, C, m and S.
        bounds: as `number` takes them.

    Raises:
        TypeError, ValueError: as `number`; and where it is so large that a prefix is missing.
    """
    found = number(name, value, **bounds)
    most, example = _LARGEST[unit]
    if found >= most:
        raise ValueError(f"{name} must be < {most:g} {unit} (SI units: {example}), got {value!r}")
    return found


def integer(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """Refuse what is not an integer in ``[least, most]``; return it as Python's.

    Raises:
        TypeError: if ``value`` is not an integer.
        ValueError: if it is out of bounds.
    """
    if type(value) is int and most is None and least <= value < 2**63:
        return value  # what most are: nothing else is to be asked
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    number(name, value, least=least, most=most)
    return value


def sizes(name: str, value: Any, *, least: int = 1) -> int | tuple[int, ...]:
    """Refuse what is no integer >= ``least``, or a tuple of them; return it with Python's."""
    value = plain(value)
    if isinstance(value, (tuple, list)):
        return tuple(integer(f"{name}[{k}]", one, least=least) for k, one in enumerate(value))
    return integer(name, value, least=least)


def probability(name: str, value: Any) -> float:
    """Refuse what is not a number in ``[0, 1]``; return it as Python's."""
    return number(name, value, least=0.0, most=1.0)


def truth(name: str, value: Any) -> bool:
    """Refuse what is no truth value, such as ``"false"`` (TypeError); return it as Python's."""
    value = plain(value)
    instance(name, value, bool)
    return value


def one_of(name: str, value: Any, allowed: Collection[Any]) -> None:
    """Refuse a value that is not among the allowed ones (ValueError)."""
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} must be one of {choices}; got {value!r}")


def instance(name: str, value: Any, types: type | tuple[type, ...]) -> None:
    """Refuse a value of another type (TypeError)."""
    if not isinstance(value, types):
        wanted = types if isinstance(types, tuple) else (types,)
        names = " or ".join(kind.__name__ for kind in wanted)
        raise TypeError(f"{name} must be {names}, got {said(value)}")


def path(name: str, value: Any) -> Path:
    """Refuse what names no file or folder, such as a number or ``""``; return it as a path.

    Raises:
        TypeError: if it is neither text nor a path.
        ValueError: if it is empty, or holds a character that no name holds.
    """
    instance(name, value, (str, os.PathLike))
    found = os.fspath(value)
    instance(name, found, str)  # some paths are bytes
    if not found or "\0" in found:
        raise ValueError(f"{name} must name a file or folder, got {value!r}")
    return Path(found)


def shape(name: str, tensor: Any, expected: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape (TypeError for non-tensors, ValueError for shapes)."""
    instance(name, tensor, Tensor)
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(f"{name} must have shape {list(expected)}, got {list(tensor.shape)}")


def columns(name: str, tensor: Any, width: int) -> None:
    """Refuse a tensor whose last dimension is not ``width`` (TypeError, ValueError)."""
    if not isinstance(tensor, Tensor):
        instance(name, tensor, Tensor)
    if tensor.dim() == 0 or tensor.shape[-1] != width:
        raise ValueError(f"{name} must have shape [..., {width}], got {list(tensor.shape)}")


def real(name: str, tensor: Tensor) -> None:
    """Refuse tensors of complex numbers, truth values, and floats below 16 bits (TypeError).

    Integers are exact numbers, and are taken.
    """
    instance(name, tensor, Tensor)
    narrow = tensor.is_floating_point() and tensor.element_size() < 2
    if narrow or tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers of 16 bits or more, got {tensor.dtype}")


def numbers(name: str, value: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return real numbers, a tensor, an array, or one alone, as a tensor of a dtype.

    Raises:
        TypeError: if they are none; see `real`.
    """
    if not isinstance(value, Tensor):
        try:
            real(name, torch.as_tensor(value))
        except (
            TypeError,
            ValueError,
            RuntimeError,
            OverflowError,
        ):  # as torch says that something is no number
            raise TypeError(f"{name} must be numbers, got {said(value)}") from None
        return torch.as_tensor(value, dtype=dtype, device=device)
    real(name, value)
    return value.to(device, dtype)


def one_each(name: str, value: Any, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return finite real numbers, one for all or one for each entry of a tensor, in its shape.

    Args:
        name: the parameter, as the user wrote it.
        value: what was given.
        like: of the shape and on the device wanted.
        dtype: wanted; that of ``like`` if not given.

    Raises:
        TypeError: if they are no real numbers.
        ValueError: if some are not finite, or their shape does not fit.
    """
    found = numbers(name, value, dtype or like.dtype, like.device)
    finite(name, found)
    try:
        return found.expand(like.shape)
    except RuntimeError:
        raise ValueError(
            f"{name} must be one number or have (or broadcast to) shape {list(like.shape)}, "
            f"got {list(found.shape)}"
        ) from None


def finite(name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinite entries, saying how many there are (ValueError)."""
    if tensor.numel() and not cmath.isfinite(tensor.detach().sum().item()):
        bad = int((~torch.isfinite(tensor.detach())).sum())
        if bad:
            raise ValueError(
                f"{name} must be finite, but {bad} of {tensor.numel()} entries are NaN or infinite"
            )
