"""The power that drivers deliver into the cells of a crossbar."""

from __future__ import annotations

import torch
from torch import Tensor

from mho import circuit
from mho.crossbar.crossbar import Crossbar
from mho.hardware import Array

_MOST_VECTORS = 64  # solved on wires, or cell by cell; the others are taken to be like them


def array_power(crossbar: Crossbar, voltages: Tensor) -> float:
    """Return the power delivered (W), summed over all drives.

    Exact, ``Σ V I``, where cells are bare: ohmic cells by their row sums, others (nominal) by
    their currents. With wires the circuit is solved, for the cells' low-voltage conductances. For
    cells that are not ohmic, and with wires, 64 (at most 127) of the drives, evenly spaced, stand
    for all.

    Args:
        crossbar: what is driven.
        voltages: of all drives, ``[drives, groups · rows]`` (V).
    """
    g = crossbar.G.double()
    voltages = voltages.double()
    wires = crossbar.hardware.array.wires
    if crossbar.hardware.device.ohmic and wires.ideal:
        return float(voltages.square().sum(0) @ g.sum((0, 2)))
    sample = voltages[:: max(1, len(voltages) // _MOST_VECTORS)]
    share = len(voltages) / max(len(sample), 1)
    if wires.ideal:
        return share * _bare(crossbar, g, sample)
    return share * _wired(g, sample, crossbar)


def _bare(crossbar: Crossbar, g: Tensor, voltages: Tensor) -> float:
    device = crossbar.hardware.device
    if device.separable:
        return float((voltages * device.transfer(voltages)).sum(0) @ g.sum((0, 2)))
    low, high = device.window
    power = 0.0
    # One drive a pass, of at most 127: it is a whole array of cells, and all at once would be as
    # many arrays in memory.
    for v in voltages:
        current = device.current_of(v[:, None], g.clamp(low, high))
        power += float((v[:, None] * current).sum())
    return power


def _wired(g: Tensor, voltages: Tensor, crossbar: Crossbar) -> float:
    array, groups = crossbar.hardware.array, crossbar.groups
    split = g.unflatten(1, (groups, -1))  # [slices, groups, rows, cols]
    driven = voltages.unflatten(1, (groups, -1)).transpose(0, 1)  # [groups, drives, rows]
    width = array.cols
    if array.interleaved:
        width = array.cols // len(g) * len(g)
        split = split.permute(1, 2, 3, 0).flatten(2)[None]
    # At most four sorts of tiles: whole ones, and the shorter ones at two edges and the corner.
    power = 0.0
    for top, high in _pieces(split.shape[2], array.rows):
        for left, wide in _pieces(split.shape[3], width):
            power += _tiles(
                split[:, :, top : top + high[0], left : left + wide[0]],
                driven[..., top : top + high[0]],
                array,
                high[1],
                wide[1],
            )
    return power


def _pieces(size: int, tile: int) -> list[tuple[int, tuple[int, int]]]:
    """Where whole tiles begin and the shorter rest: ``(start, (length, length of one tile))``."""
    whole = size // tile * tile
    parts = [(0, (whole, tile)), (whole, (size - whole, size - whole))]
    return [part for part in parts if part[1][0]]


def _tiles(g: Tensor, driven: Tensor, array: Array, high: int, wide: int) -> float:
    tiles = g.unflatten(3, (-1, wide)).unflatten(2, (-1, high)).transpose(3, 4)
    # [slices, groups, down, across, high, wide] meets [1, groups, down, 1, drives, high]
    lines = driven.unflatten(2, (-1, high)).movedim(2, 1)[None, :, :, None]
    arrays = tiles.flatten(0, 3)
    vectors = lines.expand(*tiles.shape[:4], *lines.shape[-2:]).flatten(0, 3)
    if not bool(arrays.any()):
        return 0.0
    solution = circuit.solve(arrays, array.wires, vectors)
    return float(torch.as_tensor(solution.source_power).sum())
