"""Numbers in the forms people have them: arrays, lists, tables and series become tensors."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import torch
from numpy import typing as npt
from torch import Tensor

_WIDER = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
"""What torch computes with in the place of kinds that it only stores."""
_MOST = 2**63 - 1


def is_array(value: Any) -> bool:
    """Whether something is an array, a table or a series: no tensor, no list and no number.

    Of NumPy, pandas, polars, xarray, Arrow, JAX: what says itself how it becomes a NumPy array.
    """
    if isinstance(value, Tensor | np.generic | type):
        return False
    return hasattr(value, "__array__") or hasattr(value, "to_numpy")


def is_number(value: Any) -> bool:
    """Whether something is one real number, of Python or of NumPy."""
    return isinstance(value, numbers.Real | np.number | np.bool_)


def is_numbers(value: Any) -> bool:
    """Whether something is a list or tuple of numbers, at any depth, by what is first in it."""
    return isinstance(value, list | tuple) and is_number(_innermost(value))


def _innermost(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value


def tensor(name: str, value: Any) -> Tensor:
    """Return numbers as a tensor, of the kind they are of; a tensor as it is.

    Args:
        name: of the argument, for errors.
        value: a tensor, an array, a table or series (pandas, polars), a number, or a list of
            numbers, of lists, of arrays or of tensors that are equally long. Memory is shared
            where it can be.

    Raises:
        TypeError: if it holds something else than real numbers.
        ValueError: if lists in it are not equally long.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list | tuple) and isinstance(_innermost(value), Tensor):
        return _stacked(name, value)
    found = _numpy(name, value)
    if found.dtype == np.uint64 and found.size and int(found.max()) > _MOST:
        raise ValueError(f"{name} must hold whole numbers <= {_MOST} (int64), got {found.max()}")
    found = found.astype(_WIDER.get(found.dtype.name, found.dtype.newbyteorder("=")), copy=False)
    if found.dtype.itemsize > 8:  # of long doubles
        found = found.astype(np.float64)
    shareable = found.flags.writeable and all(step >= 0 for step in found.strides)
    return torch.from_numpy(found if shareable else found.copy())


def array(name: str, values: Any) -> npt.NDArray[np.float64]:
    """Return numbers as an array of float64, whatever form they are in.

    Args:
        name: of the argument, for errors.
        values: as `tensor` takes them; of tensors the device and whether they require gradients do
            not matter.

    Raises:
        TypeError, ValueError: as `tensor`.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.float64:
        return values
    found = tensor(name, values)
    return found.detach().to("cpu", torch.float64).resolve_conj().numpy()


def labels(values: Any) -> npt.NDArray[Any]:
    """Return what things are called, texts or numbers, as one vector."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    return np.asarray(values).ravel()


def _stacked(name: str, parts: list[Any] | tuple[Any, ...]) -> Tensor:
    found = [tensor(name, part) for part in parts]
    shapes = {tuple(part.shape) for part in found}
    if len(shapes) > 1:
        raise ValueError(f"{name} must hold tensors of one shape, got {sorted(shapes)}")
    return torch.stack(found)


def _numpy(name: str, value: Any) -> npt.NDArray[Any]:
    if not (is_array(value) or is_number(value) or isinstance(value, list | tuple)):
        raise TypeError(
            f"{name} must be numbers: a tensor, an array, a list, a table or a series of them, "
            f"got {type(value).__name__}"
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        value = np.ma.filled(value.astype(np.float64), np.nan)  # what is missing, as of pandas
    try:
        # A table of pandas may have missing entries, or columns of several kinds.
        found = np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    except ValueError as error:
        raise ValueError(f"{name} must hold lists that are equally long: {error}") from None
    if found.dtype.kind == "O":
        found = _of_objects(name, value, found)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got {found.dtype}{_where(value)}")
    return found


def _of_objects(name: str, value: Any, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what is in an array of Python objects: numbers, or arrays of one shape."""
    flat = found.ravel()
    odd = next((v for v in flat if isinstance(v, str | bytes) or v is None), _NOTHING)
    if odd is _NOTHING:
        try:
            whole = all(isinstance(v, numbers.Integral | np.integer | np.bool_) for v in flat)
            kind = np.int64 if whole else np.float64
            parts: npt.NDArray[Any] = np.array([np.asarray(v, kind) for v in flat])
            return parts.reshape(*found.shape, *parts.shape[1:])
        except (TypeError, ValueError, OverflowError) as error:
            odd = next((v for v in flat if not is_number(v)), None)
            if odd is None:
                raise ValueError(f"{name} must hold numbers: {error}") from None
    raise TypeError(f"{name} must hold numbers, got {type(odd).__name__} among them{_where(value)}")


_NOTHING = object()


def _where(value: Any) -> str:
    """Name the columns of a table that hold no numbers."""
    kinds = getattr(value, "dtypes", None)
    names = getattr(value, "columns", None)
    if kinds is None or names is None:
        return ""
    bad = [
        str(name)
        for name, kind in zip(names, kinds, strict=True)
        if getattr(kind, "kind", "O") not in "biuf"
    ]
    return f" (columns {', '.join(bad[:5])}{' …' if len(bad) > 5 else ''})" if bad else ""
