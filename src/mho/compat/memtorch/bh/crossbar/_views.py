"""Single devices as views of a crossbar's tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from torch import Tensor

Index = tuple[int, ...]


class Crossbar(Protocol):
    """What views need of a crossbar: its tensors."""

    memristor_model: Any
    stuck: Tensor | None

    @property
    def parameters(self) -> dict[str, Any]:
        """Device parameters by name: numbers, or one value per cell."""

    def parameter(self, name: str) -> Tensor:
        """Return a device parameter, one value per cell."""

    @property
    def conductance_matrix(self) -> Tensor:
        """Conductances (S)."""


class InCrossbar:
    """Where the values of one cell of a crossbar are.

    Args:
        crossbar: the crossbar.
        index: of the cell in its tensors.
    """

    def __init__(self, crossbar: Crossbar, index: Index) -> None:
        self.crossbar, self.index = crossbar, index

    def get(self, name: str) -> Any:
        """Return a parameter."""
        value = self.crossbar.parameters[name]
        return value[self.index].item() if isinstance(value, Tensor) else value

    def set(self, name: str, value: Any) -> None:
        """Change a parameter of this cell."""
        if not isinstance(self.crossbar.parameters[name], Tensor):
            if value == self.crossbar.parameters[name]:
                return
            self.crossbar.parameters[name] = self.crossbar.parameter(name)
        self.crossbar.parameters[name][self.index] = value

    @property
    def g(self) -> float:
        """Conductance (S)."""
        return self.crossbar.conductance_matrix[self.index].item()

    @g.setter
    def g(self, value: float) -> None:
        stuck = self.crossbar.stuck
        if stuck is None or not bool(stuck[self.index]):
            self.crossbar.conductance_matrix[self.index] = value


class Devices:
    """The cells of a crossbar, indexed like a numpy array of objects.

    Objects are made when they are asked for. ``np.vectorize`` and ``np.asarray`` take it as the
    array of objects it looks like.

    Args:
        crossbar: the crossbar.
        prefix: numbers that precede every index.
    """

    def __init__(self, crossbar: Crossbar, prefix: Index = ()) -> None:
        self.crossbar, self._prefix = crossbar, prefix

    @property
    def shape(self) -> Index:
        """Of the array."""
        return tuple(self.crossbar.conductance_matrix.shape)[len(self._prefix) :]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def flat(self) -> Iterator[Any]:
        """All cells, one after the other."""
        return (self._device(index) for index in np.ndindex(self.shape))

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > self.ndim or not all(isinstance(k, (int, np.integer)) for k in keys):
            return np.asarray(self)[key]
        index = tuple(self._whole(int(k), size) for k, size in zip(keys, self.shape, strict=False))
        if len(index) == self.ndim:
            return self._device(index)
        return Devices(self.crossbar, self._prefix + index)

    def __setitem__(self, key: Any, given: Any) -> None:
        """Copy conductances and parameters from other devices."""
        places = self[key]
        if not isinstance(places, (Devices, np.ndarray)):
            places, given = [places], [given]
        flat = places.flat if isinstance(places, (Devices, np.ndarray)) else places
        others = given.flat if hasattr(given, "flat") else given
        for place, other in zip(flat, others, strict=True):
            if place._cell is not getattr(other, "_cell", None):
                for name in place.defaults:
                    setattr(place, name, getattr(other, name))
                place.g = other.g

    def _whole(self, k: int, size: int) -> int:
        if not -size <= k < size:
            raise IndexError(f"index {k} is out of range for {size} cells")
        return k % size

    def _device(self, index: Index) -> Any:
        device = object.__new__(self.crossbar.memristor_model)
        device._cell = InCrossbar(self.crossbar, self._prefix + index)
        return device

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        array = np.empty(self.shape, dtype=object)
        for index in np.ndindex(self.shape):
            array[index] = self._device(index)
        return array

    def __repr__(self) -> str:
        return f"<{self.crossbar.memristor_model.__name__} devices {list(self.shape)}>"
