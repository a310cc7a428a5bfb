"""The cells of a crossbar as a numpy array of objects, which are views of its tensors."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mho.compat._common import require
from mho.compat.memtorch.bh.crossbar._views import InCrossbar


def conductance_of(device: Any) -> float:
    """Return a device's conductance (S), which may be a number, or an array or tensor of one."""
    g = device.g
    return float(g.reshape(-1)[0] if getattr(g, "ndim", 0) else g)


def views(crossbar: Any) -> Any:
    """Return new objects for all cells of a crossbar, with what they carried when it was saved."""
    kind, held = crossbar.memristor_model, crossbar._held
    made = np.empty(held.g.numel(), dtype=object)
    collecting = gc.isenabled()
    gc.disable()  # it would look through all of them again and again
    try:
        for place in range(len(made)):
            device = made[place] = object.__new__(kind)
            device._cell = InCrossbar(held, place)
    finally:
        if collecting:
            gc.enable()
    for place, (values, image, exact) in crossbar._carried.items():
        vars(made[place]).update(values)
        made[place]._cell.image, made[place]._cell.exact = image, exact
    return made.reshape(held.g.shape)


def carried(devices: Any) -> dict[int, tuple[Any, ...]]:
    """Return what devices have beside the tensors, by their place in the row of all."""
    cells = enumerate((vars(device), device._cell) for device in devices.flat)
    return {
        place: ({n: v for n, v in own.items() if n != "_cell"}, cell.image, cell.exact)
        for place, (own, cell) in cells
        if len(own) > 1 or cell.image is not None
    }


def install(crossbar: Any, devices: Iterable[tuple[int, Any]]) -> None:
    """Make devices the cells at places in the row of all."""
    there, held = crossbar._objects.reshape(-1), crossbar._held
    given = [(place, device) for place, device in devices if there[place] is not device]
    for _, device in given:
        require(hasattr(device, "g"), f"devices must be Memristor objects, got {device!r}")
    if any(type(device) is not crossbar.memristor_model for _, device in given):
        crossbar.hold_objects()
    for place, device in given:
        if crossbar.per_device:
            there[place] = device
            if device.g is not None:
                held.row[place] = conductance_of(device)
            continue
        if isinstance(device._cell, InCrossbar):  # it is a cell already, and stays it
            device = copy.copy(device)
        values, g = device._cell.values, device._cell.g
        there[place]._cell = there[place]._cell.alone()
        there[place], cell = device, InCrossbar(held, place)
        device._cell = cell
        if held.stuck is not None:
            held.stuck.view(-1)[place] = False
        for name, value in values.items():
            device._cell.set(name, value)
        device._cell.g = g


class Devices(np.ndarray[Any, np.dtype[Any]]):
    """The cells of a crossbar as a numpy array of objects, which are views of its tensors.

    A device assigned to a place becomes the cell there, with its parameters and its conductance;
    what was there is a device of its own from then on. Slices and transposes are the same cells,
    copies are arrays like any other.
    """

    @property
    def crossbar(self) -> Any:
        """The crossbar whose cells these are; None of copies."""
        held = getattr(getattr(self.item(0), "_cell", None), "held", None) if self.size else None
        crossbar = None if held is None else held.crossbar()
        mine = crossbar is not None and np.may_share_memory(self, crossbar._objects)
        return crossbar if mine else None

    def __setitem__(self, key: Any, given: Any) -> None:
        crossbar, places = self.crossbar, self[key]
        if crossbar is None:
            super().__setitem__(key, given)
        elif not isinstance(places, np.ndarray):
            install(crossbar, [(places._cell.place, given)])
        else:
            others = np.broadcast_to(np.asarray(given, dtype=object), places.shape)
            pairs = zip(places.flat, others.flat, strict=True)
            install(crossbar, [(place._cell.place, other) for place, other in pairs])

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
