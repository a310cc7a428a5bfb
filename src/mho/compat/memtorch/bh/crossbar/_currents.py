"""Currents of crossbars, tile by tile, and how they are converted and added.

Of one law ``I = g · f(v)`` for all cells, currents are products. Where cells have laws of their
own (spread parameters of the I–V curve) every cell's is evaluated, exactly, in blocks that stay in
the cache; devices of a user's own class answer one after the other.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import reduce
from types import SimpleNamespace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from mho.compat._common import fingerprint, kept
from mho.compat.memtorch.bh.Quantize import Converter, convert
from mho.crossbar.currents import partial_currents
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.periphery import ADC

# Hardware that keeps tiles apart; MemTorch's converters themselves are its own (`Quantize`).
_CONVERTED = Hardware(adc=ADC())
_NO_NOISE = torch.zeros(2, dtype=torch.int64)
# Cells evaluated at once: what a core's cache holds; a GPU wants more of them.
_BLOCK, _BLOCK_ELSEWHERE = 1 << 16, 1 << 24
# Parameters of a cell that never shape its current.
_NO_CURVE = frozenset(("r_on", "r_off", "time_series_resolution"))

Law: TypeAlias = Callable[[Any, Tensor], Tensor | None] | None
"""From a crossbar and voltages to ``f(v)``; its result None: cells answer one by one."""

Curve: TypeAlias = tuple[Any, Any]
"""Voltages (V), rising, and currents (A): arrays."""


def size(crossbar: Any) -> tuple[int, int]:
    """Return rows and columns of one tile; of the crossbar where it is not cut."""
    whole = crossbar.rows, crossbar.columns
    return whole if crossbar.tile_shape is None else crossbar.tile_shape


def joined(crossbar: Any, tiles: Tensor) -> Tensor:
    """Put one value per cell, shaped as the crossbar's tensors, together: ``[rows, columns]``."""
    if crossbar.tile_shape is None:
        return tiles
    placed = tiles[crossbar.tiles_map.long()].transpose(1, 2)  # [high, rows, wide, columns]
    return placed.flatten(2, 3).flatten(0, 1)[: crossbar.rows, : crossbar.columns]


def common(crossbar: Any, v: Tensor) -> Tensor | None:
    """Return ``f(v)`` (V) of ``I = g · f(v)``, or None where cells have laws of their own."""
    return None if crossbar.per_device or spread(crossbar) else crossbar.transfer(v)


def alike(crossbars: list[Any]) -> bool:
    """Whether the cells of all crossbars follow one I–V curve."""
    if any(crossbar.per_device or spread(crossbar) for crossbar in crossbars):
        return False
    first, *others = (_shape(crossbar) for crossbar in crossbars)
    # Tensors among them do not shape a curve, or they would be spread.
    return all(_numbers(first) == _numbers(other) for other in others)


def spread(crossbar: Any) -> bool:
    """Whether parameters that shape the I–V curve differ from cell to cell."""
    if not any(isinstance(value, Tensor) for value in _shape(crossbar).values()):
        return False
    spec, p = _laws(crossbar)
    # Other parameters may differ: those are seen that change a current.
    some = torch.full((1,), 0.1, dtype=torch.float64, device=crossbar.device)
    return spec.transfer_at(some, SimpleNamespace(**p)).numel() > 1


def tile_currents(v: Tensor, crossbar: Any, law: Law) -> Tensor:
    """Return the currents of every row of tiles, ``[tile rows, vectors, columns]`` (A).

    ``v`` are voltages ``[vectors, rows]`` (V); without a law, they are read by conductances.
    """
    height = size(crossbar)[0]
    driven = v if law is None else law(crossbar, v)
    if driven is not None:
        g = joined(crossbar, crossbar.conductance_matrix).to(driven.dtype)
        return torch.cat(products(driven[None], g[None], height))
    return (_objects if crossbar.per_device else _cells)(v, crossbar, height)


def products(v: Tensor, matrices: Tensor, height: int) -> list[Tensor]:
    """Multiply voltages ``[arrays, vectors, rows]`` with conductances ``[arrays, rows, columns]``.

    Rows of tiles stay apart: ``[arrays · tile rows, vectors, columns]`` (A), in one or two pieces.
    """
    readout = Readout(matrices, None, None, matrices.new_ones(()))
    parts = partial_currents(v, readout, _CONVERTED, _NO_NOISE, tile_rows=height)
    return [part.flatten(0, 1) for part in parts]


def added(parts: list[Tensor], width: int, ready: Converter | None) -> Tensor:
    """Convert every tile's currents, each vector with a full scale of its own, and add the tiles.

    Pieces are ``[tile rows, vectors, columns]`` (A), and overwritten. Padding has no converter, so
    that no fault in it changes a full scale: the last tile may have fewer columns than ``width``.
    """
    return reduce(torch.add, (_column_sums(part, width, ready) for part in parts))


def _column_sums(part: Tensor, width: int, ready: Converter | None) -> Tensor:
    if ready is None:
        return part.sum(0)
    whole = max(part.shape[-1] // width, 1) * width
    sides = (side.unflatten(-1, (-1, min(width, side.shape[-1]))) for side in part.split(whole, -1))
    sums = [convert(side, ready, fresh=True).sum(0).flatten(1) for side in sides]
    return sums[0] if len(sums) == 1 else torch.cat(sums, -1)


def reference(v: Tensor, crossbar: Any, law: Law) -> Tensor:
    """Return the currents of a column of cells at the middle of the window, as `tile_currents`.

    They are what a single column's currents are less, ``[tile rows, vectors, 1]`` (A).
    """
    driven = v if law is None else law(crossbar, v)
    if driven is None and crossbar.per_device:
        currents = _answers(middle(crossbar), v, curves(crossbar)[-1])
    else:
        g = (1 / crossbar.r_on_mean + 1 / crossbar.r_off_mean) / 2
        currents = g * (crossbar.transfer(v) if driven is None else driven)
    return torch.stack([part.sum(1, keepdim=True) for part in currents.split(size(crossbar)[0], 1)])


# ---- cells with laws of their own ----------------------------------------------------------------


def _laws(crossbar: Any) -> tuple[Any, dict[str, Any]]:
    """Return mho's device of a crossbar, and its parameters by name: numbers, or one per cell."""
    tensors = [p for p in crossbar.parameters.values() if isinstance(p, Tensor)]

    def laws() -> Any:
        cells = crossbar.cells()
        return cells.spec, vars(cells.spec.parameters(cells.parameters_drawn()))

    sources = [crossbar._held.mark(), *map(fingerprint, tensors)]
    return kept(_kept, crossbar, _numbers(crossbar.parameters), sources, laws)


_kept: WeakKeyDictionary[Any, tuple[Any, ...]] = WeakKeyDictionary()


def _shape(crossbar: Any) -> dict[str, Any]:
    """Return the parameters that may shape a cell's current."""
    return {name: p for name, p in crossbar.parameters.items() if name not in _NO_CURVE}


def _numbers(named: dict[str, Any]) -> list[Any]:
    return [value for value in named.values() if not isinstance(value, Tensor)]


def _cells(v: Tensor, crossbar: Any, height: int) -> Tensor:
    """Add ``g f(v)`` of cells that each have an ``f`` of their own, in blocks."""
    spec, values = _laws(crossbar)
    p = {n: joined(crossbar, x).to(v) if isinstance(x, Tensor) else x for n, x in values.items()}
    g = joined(crossbar, crossbar._g).to(v)
    block = _BLOCK if v.device.type == "cpu" else _BLOCK_ELSEWHERE
    deep = max(1, min(height, block // crossbar.columns))
    many = max(1, block // (deep * crossbar.columns))
    tiles = []
    for top in range(0, crossbar.rows, height):
        end = min(top + height, crossbar.rows)
        total: Any = 0.0
        for start in range(top, end, deep):
            rows = slice(start, min(start + deep, end))
            own = SimpleNamespace(
                **{n: x[rows] if isinstance(x, Tensor) else x for n, x in p.items()}
            )
            lots = (x.unsqueeze(-1) for x in v[:, rows].split(many))
            total = total + torch.cat([(spec.transfer_at(x, own) * g[rows]).sum(1) for x in lots])
        tiles.append(total)
    return torch.stack(tiles)


def _objects(v: Tensor, crossbar: Any, height: int) -> Tensor:
    """Add the currents of a user's own devices, one after the other."""
    g = crossbar.conductance_matrix
    places = joined(crossbar, torch.arange(g.numel(), device=g.device).view(g.shape)).tolist()
    devices, found = np.asarray(crossbar.devices).reshape(-1), curves(crossbar)
    out = v.new_zeros(-(-crossbar.rows // height), len(v), crossbar.columns)
    for row, line in enumerate(places):
        for column, place in enumerate(line):
            out[row // height, :, column] += _answers(devices[place], v[:, row], found[place])
    return out


def _answers(device: Any, v: Tensor, curve: Curve | None = None) -> Tensor:
    """Return a device's currents (A). Copies answer, so that reads move no state."""
    volts = v.detach().cpu().double().numpy()
    if curve is not None:
        return torch.from_numpy(np.interp(volts, *curve)).to(v)
    found = np.empty(volts.shape)
    for place, volt in np.ndenumerate(volts):
        answer = copy.deepcopy(device).simulate(torch.tensor([volt]).float(), return_current=True)
        found[place] = np.asarray(answer).reshape(-1)[0]
    return torch.from_numpy(found).to(v)


# ---- I–V curves that a user's class sweeps by its own ``plot_hysteresis_loop`` -------------------


def curves(crossbar: Any) -> list[Curve | None]:
    """Return every device's swept curve, and last that of one at the middle of the window.

    None stands for those whose class has no sweep of its own, or whose crossbar has no ``sweep``
    (settings by name). Sweeps are of copies, and made again once a conductance has changed.
    """
    settings = getattr(crossbar, "sweep", None)
    if settings is None or not crossbar.per_device:
        return [None] * (crossbar.conductance_matrix.numel() + 1)

    def swept() -> list[Curve | None]:
        return [_swept(device, settings) for device in (*crossbar.devices.flat, middle(crossbar))]

    return kept(vars(crossbar), "curves", settings, [crossbar._held.mark()], swept)


def middle(crossbar: Any) -> Any:
    """Return a device like the first one of a crossbar, at the middle of the window."""
    device = copy.deepcopy(crossbar.devices.flat[0])
    device.set_conductance((1 / crossbar.r_on_mean + 1 / crossbar.r_off_mean) / 2)
    return device


def _swept(device: Any, settings: dict[str, Any]) -> Curve | None:
    device = copy.deepcopy(device)
    sweep = getattr(device, "plot_hysteresis_loop", None)
    if sweep is None or str(getattr(sweep, "__module__", "")).startswith("mho.compat.memtorch."):
        return None
    given = {**settings, "return_result": True}
    known = inspect.signature(sweep).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        given |= {"memristor": device, "memristor_model": device}
        given = {p.name: given[p.name] for p in known if p.name in given}
    found = sweep(**given)
    if found is None:  # it only draws
        return None
    voltages, currents = (np.asarray(values, np.float64).reshape(-1) for values in found)
    # The mean of the loop's branches, each from one turn of the voltage to the next.
    turns = np.flatnonzero(np.diff(np.sign(np.diff(voltages)))) + 1
    grid, branches = np.unique(voltages), []
    for first, last in zip([0, *turns], [*turns, len(voltages) - 1], strict=True):
        order = first + np.argsort(voltages[first : last + 1])
        branches.append(np.interp(grid, voltages[order], currents[order], np.nan, np.nan))
    return grid, np.nanmean(branches, axis=0)
