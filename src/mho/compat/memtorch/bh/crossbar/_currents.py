"""Reads of one crossbar: whole tensors, or a user's own devices one after the other."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.crossbar._cells import CellTensors
from mho.compat.memtorch.bh.crossbar.Tile import check_converter, gen_tiles, multiply
from mho.compat.memtorch.bh.Quantize import convert


def matmul(
    v: Tensor,
    crossbar: CellTensors,
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


def object_currents(v: Tensor, crossbar: CellTensors) -> Tensor:
    """Return currents ``[vectors, columns]`` (A) of a user's own devices, one after the other.

    A copy of each device answers each voltage, so that reads move no state.
    """
    objects = matrix_of(crossbar)
    out = np.zeros((v.shape[0], crossbar.columns))
    volts = v.detach().cpu().double().numpy()
    for (row, column), device in np.ndenumerate(objects):
        out[:, column] += [_object_current(device, float(volt)) for volt in volts[:, row]]
    return torch.from_numpy(out).to(v)


def reference_currents(v: Tensor, crossbar: CellTensors, g: float) -> Tensor:
    """Return currents ``[vectors, 1]`` (A) of a column of a user's own devices at ``g`` (S)."""
    device = copy.deepcopy(crossbar.devices.flat[0])
    device.set_conductance(g)
    volts = v.detach().cpu().double().tolist()
    sums = [[sum(_object_current(device, volt) for volt in row)] for row in volts]
    return torch.tensor(sums, dtype=v.dtype, device=v.device).reshape(len(v), 1)


def _object_current(device: Any, volt: float) -> float:
    answer = copy.deepcopy(device).simulate(torch.tensor([volt]), return_current=True)
    return float(np.asarray(answer).reshape(-1)[0])


def matrix_of(crossbar: CellTensors) -> np.ndarray[Any, Any]:
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
