"""The power that drivers deliver into the cells of a crossbar."""

from __future__ import annotations

import torch
from torch import Tensor

from mho import circuit
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.tiling import Tiling

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
    tiling = Tiling.of(g, crossbar.groups, crossbar.hardware.array)
    inputs = tiling.cut_inputs(voltages.unflatten(1, (crossbar.groups, -1)).transpose(0, 1))
    array = crossbar.hardware.array
    return sum(
        _tiles(tiles, lines, array.wires_of(*tiles.shape[-2:]))
        for lines, band in zip(inputs, tiling.cut(g), strict=True)
        for tiles in band
    )


def _tiles(tiles: Tensor, lines: Tensor, wires: circuit.Wires) -> float:
    if not bool(tiles.any()):
        return 0.0
    # [arrays, groups, down, across, rows, lines] meets [1, groups, down, 1, drives, rows]
    vectors = lines[None, :, :, None].expand(*tiles.shape[:4], -1, -1).flatten(0, 3)
    solution = circuit.solve(tiles.flatten(0, 3), wires, vectors)
    return float(torch.as_tensor(solution.source_power).sum())
