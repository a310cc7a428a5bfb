"""The power that drivers deliver into the cells of a crossbar."""

from __future__ import annotations

from torch import Tensor

from mho import circuit
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.tiling import Tiling

_MOST_VECTORS = 64  # computed cell by cell; the others are taken to be like them


def array_power(crossbar: Crossbar, voltages: Tensor) -> float:
    """Return the power delivered (W), summed over all drives.

    Exact, ``Σ V I``, where cells are ohmic: by their row sums where they are bare, with wires by
    the conductance that drivers see (`mho.circuit.driver_conductance`), a quadratic form in the
    voltages that is found once for each tile. Cells that are not ohmic (nominal) count by their
    currents where they are bare, by their low-voltage conductances with wires. Where voltage and
    conductance do not separate, 64 (at most 127) of the drives, evenly spaced, stand for all.

    Args:
        crossbar: what is driven.
        voltages: of all drives, ``[drives, groups · rows]`` (V).
    """
    g = crossbar.G.double()
    voltages = voltages.double()
    wires = crossbar.hardware.array.wires
    if not wires.ideal:
        return _wired(g, voltages, crossbar)
    device = crossbar.hardware.device
    if device.ohmic:
        return float(voltages.square().sum(0) @ g.sum((0, 2)))
    if device.separable:
        return float((voltages * device.transfer(voltages)).sum(0) @ g.sum((0, 2)))
    sample = voltages[:: max(1, len(voltages) // _MOST_VECTORS)]
    return len(voltages) / max(len(sample), 1) * _cell_by_cell(crossbar, g, sample)


def _cell_by_cell(crossbar: Crossbar, g: Tensor, voltages: Tensor) -> float:
    device = crossbar.hardware.device
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
    power = 0.0
    for lines, band in zip(inputs, tiling.cut(g), strict=True):
        moments = lines.mT @ lines  # [groups, down, rows, rows], over all drives
        for tiles in band:  # [arrays, groups, down, across, rows, lines]
            if bool(tiles.any()):
                wires = array.wires_of(*tiles.shape[-2:])
                load = circuit.driver_conductance(tiles, wires).sum((0, 3))
                power += float((load * moments).sum())
    return power
