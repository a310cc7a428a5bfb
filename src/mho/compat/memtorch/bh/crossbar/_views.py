"""Single devices as views of a crossbar's tensors, and the array of objects that they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat.memtorch.bh.memristor._model import Alone, Equations
from mho.core.checks import plain


def shared(tensor: Tensor) -> Any:
    """Return a contiguous tensor's values in a row: by NumPy where the memory can be shared.

    One value is read and written through NumPy in a tenth of the time a tensor takes.
    """
    row = tensor.detach().view(-1)
    return row.numpy() if row.device.type == "cpu" and row.dtype != torch.bfloat16 else Far(row)


class Far:
    """A tensor that NumPy cannot see, with what is needed of NumPy's arrays."""

    def __init__(self, row: Tensor) -> None:
        self.row = row

    def item(self, place: int) -> float:
        """Return a value."""
        return self.row[place].item()

    def __setitem__(self, place: int, value: float) -> None:
        self.row[place] = value


def version(tensor: Tensor) -> Any:
    """Return what changes with a tensor; of one that does not say, always something new."""
    return object() if tensor.is_inference() else tensor._version


_VERSION = attrgetter("_version")


class Parameters(dict[str, Any]):
    """Device parameters by name, each a number for all cells or a tensor with one for each.

    It notices what is assigned, so that what follows from the parameters is made only once.

    Args:
        values: the parameters.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._changed()
        self.update(values)

    def __setitem__(self, name: str, value: Any) -> None:
        value = plain(value)
        super().__setitem__(name, value.contiguous() if isinstance(value, Tensor) else value)
        self._changed()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Assign several parameters."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def _changed(self) -> None:
        self.tensors = [value for value in self.values() if isinstance(value, Tensor)]
        self.rows: dict[str, Any] = {}
        self.made: Equations | None = None  # of all cells, where all are alike
        self.born = object()
        self._tracked = not any(tensor.is_inference() for tensor in self.tensors)

    def __reduce__(self) -> Any:
        return Parameters, (dict(self),)

    def row(self, name: str) -> Any:
        """Return a parameter that is a tensor, all cells in a row."""
        row = self.rows[name] = shared(self[name])
        return row

    def stamp(self) -> Any:
        """Return what differs after every change within a tensor; `born` does after others."""
        return sum(map(_VERSION, self.tensors)) if self._tracked else object()


class InCrossbar:
    """Where the values of one cell of a crossbar are.

    Tensors may be float32; a cell keeps its exact conductance beside, as long as the tensor holds
    the image of it, so that many small steps are not rounded away.

    Args:
        crossbar: the crossbar.
        place: of the cell in the row of all.
    """

    __slots__ = ("_exact", "_image", "_made", "crossbar", "place")

    def __init__(self, crossbar: Any, place: int) -> None:
        self.crossbar, self.place = crossbar, place
        self._image: Any = None
        self._exact: Any = None
        self._made: Any = None

    def get(self, name: str) -> Any:
        """Return a parameter."""
        parameters = self.crossbar._parameters
        row = parameters.rows.get(name)
        if row is not None:
            return row.item(self.place)
        value = parameters[name]
        return parameters.row(name).item(self.place) if isinstance(value, Tensor) else value

    def set(self, name: str, value: Any) -> None:
        """Change a parameter of this cell."""
        crossbar, before = self.crossbar, self.crossbar._parameters[name]
        if not isinstance(before, Tensor):
            if value == before:
                return
            if name == "eta" or not isinstance(value, (int, float)):
                crossbar.hold_objects()  # no tensor can say this of one cell
                crossbar._objects.flat[self.place]._cell.set(name, value)
                return
            crossbar._parameters[name] = crossbar.parameter(name).double().fill_(before)
        crossbar._parameters[name].view(-1)[self.place] = value

    @property
    def g(self) -> float:
        """Conductance (S), exact as long as the tensor holds its image."""
        row = self.crossbar._row
        stored = (self.crossbar.row() if row is None else row).item(self.place)
        return self._exact if stored == self._image else stored

    @g.setter
    def g(self, value: float) -> None:
        crossbar = self.crossbar
        if crossbar.stuck is None or not bool(crossbar.stuck.reshape(-1)[self.place]):
            row = crossbar._row
            if row is None:
                row = crossbar.row()
            row[self.place] = value
            crossbar._written = True
            self._image, self._exact = row.item(self.place), value

    def equations(self) -> Equations:
        """Return mho's device and its parameters (floats)."""
        parameters = self.crossbar._parameters
        if not parameters.tensors:
            if parameters.made is None:
                parameters.made = self.crossbar.memristor_model.equations(parameters)
            return parameters.made
        made, stamp = self._made, parameters.stamp()
        if made is None or made[0] is not parameters.born or made[1] != stamp:
            found = self.crossbar.memristor_model.equations(self._values())
            made = self._made = parameters.born, stamp, found
        return made[2]

    def _values(self) -> dict[str, Any]:
        return {name: self.get(name) for name in self.crossbar._parameters}

    def alone(self) -> Alone:
        """Return the same values as a device's own."""
        return Alone(self.crossbar.memristor_model, self._values(), self.g)


class Devices(np.ndarray[Any, np.dtype[Any]]):
    """The cells of a crossbar as a numpy array of objects, which are views of its tensors.

    A device assigned to a place becomes the cell there, with its parameters and its conductance;
    what was there is a device of its own from then on. Slices and transposes are the same cells,
    copies are arrays like any other.
    """

    @property
    def crossbar(self) -> Any:
        """The crossbar whose cells these are; None of copies."""
        cell = getattr(self.item(0), "_cell", None) if self.size else None
        crossbar = getattr(cell, "crossbar", None)
        mine = crossbar is not None and np.may_share_memory(self, crossbar._objects)
        return crossbar if mine else None

    def __setitem__(self, key: Any, given: Any) -> None:
        crossbar, places = self.crossbar, self[key]
        if crossbar is None:
            super().__setitem__(key, given)
        elif not isinstance(places, np.ndarray):
            crossbar.install([(places._cell.place, given)])
        else:
            others = np.broadcast_to(np.asarray(given, dtype=object), places.shape)
            pairs = zip(places.flat, others.flat, strict=True)
            crossbar.install([(place._cell.place, other) for place, other in pairs])

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        # What functions make of devices are no devices.
        return array[()] if return_scalar else np.asarray(array)

    @property
    def flat(self) -> Any:
        """All cells in a row, to iterate over and to assign."""
        return Flat(self)

    @flat.setter
    def flat(self, given: Any) -> None:
        Flat(self)[:] = given

    def fill(self, value: Any) -> None:
        """Assign one device to all places."""
        self[...] = value


class Flat:
    """`numpy.flatiter` of `Devices`, which tells the crossbar of assignments."""

    def __init__(self, devices: Devices) -> None:
        self.base = devices
        self._all: Any = np.ndarray.flat.__get__(devices)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all, name)

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all)

    def __next__(self) -> Any:
        return next(self._all)

    def __getitem__(self, key: Any) -> Any:
        return self._all[key]

    def __setitem__(self, key: Any, given: Any) -> None:
        places = np.unravel_index(np.atleast_1d(np.arange(len(self))[key]), self.base.shape)
        self.base[places] = np.resize(np.asarray(given, dtype=object), places[0].shape)
