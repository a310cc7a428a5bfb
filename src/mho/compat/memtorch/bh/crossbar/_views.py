"""What the cells of a crossbar hold, and objects for single ones, which are views of that."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import fingerprint, require
from mho.compat.memtorch.bh.memristor._model import Alone, Equations, nominal
from mho.core.checks import plain


def shared(tensor: Tensor) -> Any:
    """Return a contiguous tensor's values in a row: by NumPy, ten times as quick, if it can."""
    row = tensor.detach().view(-1)
    return row.numpy() if row.device.type == "cpu" and row.dtype != torch.bfloat16 else row


class Parameters(dict[str, Any]):
    """Device parameters by name, each a number for all cells or a tensor with one for each.

    It notices what is assigned, so that what follows from the parameters is made only once.

    Attributes:
        rows: those that are tensors (see `shared`); another object after every assignment.
        made: mho's device of the mean cell, and the means that it was made of.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self.update(values)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Assign several parameters."""
        for name, value in dict(*args, **kwargs).items():
            value = plain(value)
            value = value.contiguous() if isinstance(value, Tensor) else value
            super().__setitem__(name, value)
        self.rows = {name: shared(v) for name, v in self.items() if isinstance(v, Tensor)}
        self.made: tuple[list[float], Equations] | None = None

    def __reduce__(self) -> Any:
        return Parameters, (dict(self),)


class Held:
    """What the cells of a crossbar hold, without the crossbar: single cells live on by it.

    Attributes:
        g: conductances (S), contiguous; assigned by `keep`.
        row: the same in a row, in the same memory; see `shared`.
        lent: whether others may hold the tensor or its cells, and write to it past torch's notice.
        crossbar: weak reference to it.
    """

    crossbar: Callable[[], Any]
    lent = False
    _taken = 0

    def __init__(self, model: Any, g: Tensor) -> None:
        self.model, self.parameters = model, Parameters({})
        self.stuck: Tensor | None = None
        self.keep(g)

    def keep(self, g: Tensor) -> None:
        """Take new conductances (S)."""
        self.g = g.contiguous()
        self.row, self._memory = shared(self.g), self.g.data_ptr()
        self._taken += 1

    def look(self) -> None:
        """Follow a tensor that was given other memory, as by ``conductance_matrix.data = …``."""
        if self.g.data_ptr() != self._memory:
            self.keep(self.g)

    def mark(self) -> Any:
        """Return what is another as soon as a conductance is."""
        if self.lent or self.g.is_inference():
            self.look()
            return fingerprint(self.g)
        return self._taken, self.g._version

    def equations(self) -> Equations:
        """Return mho's device of the mean cell, and its parameters (floats)."""
        known = self.parameters
        means = [nominal(known[name]) for name in known.rows]
        if known.made is None or known.made[0] != means:
            values = {**known, **dict(zip(known.rows, means, strict=True))}
            known.made = means, self.model._equations(values)
        return known.made[1]

    def __getstate__(self) -> dict[str, Any]:
        return {n: v for n, v in vars(self).items() if n not in ("row", "crossbar")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.keep(self.g)


class InCrossbar:
    """Where the values of one cell of a crossbar are.

    Tensors may be float32; a cell keeps its exact conductance beside, as long as the tensor holds
    the image of it, so that many small steps are not rounded away. Its place is in the row of all.
    """

    __slots__ = ("_made", "exact", "held", "image", "place")

    def __init__(self, held: Held, place: int) -> None:
        self.held, self.place = held, place
        self.image: Any = None
        self.exact: Any = None
        self._made: Any = None

    def get(self, name: str) -> Any:
        """Return a parameter."""
        parameters = self.held.parameters
        row = parameters.rows.get(name)
        return parameters[name] if row is None else float(row[self.place])

    def set(self, name: str, value: Any) -> None:
        """Change a parameter of this cell."""
        held, before = self.held, self.held.parameters[name]
        if not isinstance(before, Tensor):
            if value == before:
                return
            if name == "eta" or not isinstance(value, (int, float)):
                crossbar = held.crossbar()  # no tensor can say this of one cell
                require(crossbar is not None, f"{name} of one cell needs its crossbar: it is gone")
                crossbar.hold_objects()
                crossbar._objects.flat[self.place]._cell.set(name, value)
                return
            held.parameters[name] = torch.full_like(held.g, before, dtype=torch.float64)
        held.parameters[name].view(-1)[self.place] = value

    @property
    def g(self) -> float:
        """Conductance (S), exact as long as the tensor holds its image."""
        stored = float(self.held.row[self.place])
        return self.exact if stored == self.image else stored

    @g.setter
    def g(self, value: float) -> None:
        held = self.held
        if held.stuck is None or not bool(held.stuck.reshape(-1)[self.place]):
            row = held.row
            row[self.place] = value
            self.image, self.exact = float(row[self.place]), value

    def equations(self) -> Equations:
        """Return mho's device and its parameters (floats)."""
        held, parameters = self.held, self.held.parameters
        rows = parameters.rows
        if not rows:  # the same for all cells: asked for at every step
            common = parameters.made
            return held.equations() if common is None else common[1]
        now, made = [float(row[self.place]) for row in rows.values()], self._made
        if made is None or made[0] is not rows or made[1] != now:
            made = self._made = rows, now, held.model._equations(self._values())
        return made[2]

    def _values(self) -> dict[str, Any]:
        return {name: self.get(name) for name in self.held.parameters}

    def alone(self) -> Alone:
        """Return the same values as a device's own."""
        return Alone(self.held.model, self._values(), self.g)


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
