"""Single devices as views of a crossbar's tensors, and reads of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar.Tile import check_converter, gen_tiles, multiply
from mho.compat.memtorch.bh.Quantize import convert

if TYPE_CHECKING:
    from mho.compat.memtorch.bh.crossbar._cells import CellTensors as Crossbar

Index = tuple[int, ...]


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


def matmul(
    v: Tensor,
    crossbar: Crossbar,
    linear: bool,
    max_input_voltage: float | None,
    bits: int | None,
    overflow_rate: float,
    quant_method: str | None,
) -> Tensor:
    """Read a crossbar; see `simulate_matmul`."""
    require(
        v.dim() == 2 and v.shape[1] == crossbar.rows,
        f"input must have shape [vectors, {crossbar.rows}], got {list(v.shape)}",
    )
    if quant_method is not None:
        check_converter(bits, overflow_rate, quant_method)
    if max_input_voltage is not None:
        v = v.clamp(-max_input_voltage, max_input_voltage)
    if crossbar.per_device and not linear:
        current = object_currents(v, crossbar)
        return (
            current
            if quant_method is None
            else _converted(current, bits, overflow_rate, quant_method)
        )
    driven = v if linear else crossbar.transfer(v)
    g = crossbar.conductance_matrix.to(driven)
    if crossbar.tile_shape is None:
        current = driven @ g
        return (
            current
            if quant_method is None
            else _converted(current, bits, overflow_rate, quant_method)
        )
    assert crossbar.tiles_map is not None
    tiles, _ = gen_tiles(driven, crossbar.tile_shape, input=True)
    placed = g[crossbar.tiles_map.long()]
    return multiply(tiles, placed, bits, overflow_rate, quant_method, crossbar.columns)


def _converted(current: Tensor, bits: int | None, overflow_rate: float, method: str) -> Tensor:
    assert bits is not None
    return convert(current, bits, overflow_rate, method, each_row=True)


def object_currents(v: Tensor, crossbar: Crossbar) -> Tensor:
    """Return currents ``[vectors, columns]`` (A) of a user's own devices, one after the other.

    A copy of each device answers each voltage, so that reads move no state.
    """
    objects = matrix_of(crossbar)
    out = np.zeros((v.shape[0], crossbar.columns))
    volts = v.detach().cpu().double().numpy()
    for (row, column), device in np.ndenumerate(objects):
        out[:, column] += [_object_current(device, float(volt)) for volt in volts[:, row]]
    return torch.from_numpy(out).to(v)


def reference_currents(v: Tensor, crossbar: Crossbar, g: float) -> Tensor:
    """Return currents ``[vectors, 1]`` (A) of a column of a user's own devices at ``g`` (S)."""
    device = copy.deepcopy(crossbar.devices.flat[0])
    device.set_conductance(g)
    volts = v.detach().cpu().double().tolist()
    sums = [[sum(_object_current(device, volt) for volt in row)] for row in volts]
    return torch.tensor(sums, dtype=v.dtype, device=v.device).reshape(len(v), 1)


def _object_current(device: Any, volt: float) -> float:
    answer = copy.deepcopy(device).simulate(torch.tensor([volt]), return_current=True)
    return float(np.asarray(answer).reshape(-1)[0])


def matrix_of(crossbar: Crossbar) -> np.ndarray[Any, Any]:
    """Return a user's own devices as one array ``[rows, columns]``, without padding."""
    objects = crossbar.devices
    if crossbar.tile_shape is not None:
        assert crossbar.tiles_map is not None
        high, wide = crossbar.tiles_map.shape
        rows, columns = crossbar.tile_shape
        tiles = objects.reshape(high, wide, rows, columns).swapaxes(1, 2)
        objects = tiles.reshape(high * rows, wide * columns)
    matrix: np.ndarray[Any, Any] = objects[: crossbar.rows, : crossbar.columns]
    return matrix
