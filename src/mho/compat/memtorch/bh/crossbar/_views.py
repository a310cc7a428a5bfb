"""What the cells of a crossbar hold, and where the values of a single one are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mho.compat._common import fingerprint, require
from mho.compat.memtorch.bh.memristor._model import Alone, Equations, nominal
from mho.core.checks import plain


def shared(tensor: Tensor) -> Any:
    """Return a contiguous tensor's values in a row: by NumPy where the memory can be shared.

    One value is read and written through NumPy in a tenth of the time a tensor takes.
    """
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
        model: class of the cells.
        g: conductances (S), contiguous; assigned by `keep`.
        row: the same in a row, in the same memory; see `shared`.
        parameters: of the cells.
        stuck: which cells keep their conductance, or None.
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
    the image of it, so that many small steps are not rounded away.

    Args:
        held: what the crossbar's cells hold.
        place: of the cell in the row of all.
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
        held, rows, place = self.held, self.held.parameters.rows, self.place
        if not rows:
            common = held.parameters.made
            return held.equations() if common is None else common[1]
        now, made = [float(row[place]) for row in rows.values()], self._made
        if made is None or made[0] is not rows or made[1] != now:
            made = self._made = rows, now, held.model._equations(self._values())
        found: Equations = made[2]
        return found

    def _values(self) -> dict[str, Any]:
        return {name: self.get(name) for name in self.held.parameters}

    def alone(self) -> Alone:
        """Return the same values as a device's own."""
        return Alone(self.held.model, self._values(), self.g)
