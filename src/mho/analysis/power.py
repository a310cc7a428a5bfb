"""The power that drivers deliver into the cells of a crossbar."""

from __future__ import annotations

import torch
from torch import Tensor

from mho import circuit
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.tiling import Tiling

_MOST_VECTORS = 64  # computed cell by cell; the others are taken to be like them


def pulse_power(crossbar: Crossbar, voltages: Tensor, lasting: Tensor) -> float:
    """Return the power delivered by pulses (W), its mean over the longest, summed over all drives.

    Lines that are done rest at ``v_idle``, and draw what that takes, or float, and draw nothing.
    Behind wires what lines do together goes by the geometric mean of their lengths, in place of the
    shorter one (a per cent where wires take a tenth of the currents).

    Args:
        crossbar: what is driven.
        voltages: of all pulses, ``[drives, groups · rows]`` (V).
        lasting: for which share of the longest, likewise.
    """
    pulses = crossbar.hardware.drive.pulses
    rest = 0.0 if pulses is None else pulses.v_idle
    wired, ohmic = not crossbar.hardware.array.wires.ideal, crossbar.hardware.device.ohmic
    if wired or ohmic:
        square = voltages.square() * lasting + rest**2 * (1.0 - lasting)
        return array_power(crossbar, square.sqrt().copysign(voltages))
    power = array_power(crossbar, voltages, lasting)
    if rest:
        power += array_power(crossbar, torch.full_like(voltages, rest), 1.0 - lasting)
    return power


def array_power(crossbar: Crossbar, voltages: Tensor, share: Tensor | None = None) -> float:
    """Return the power delivered (W), summed over all drives.

    Exact, ``Σ V I``, where cells are ohmic: by their row sums where they are bare, with wires by
    the conductance that drivers see (`mho.circuit.driver_conductance`), a quadratic form in the
    voltages that is found once for each tile. Cells that are not ohmic (nominal) count by their
    currents where they are bare, by their low-voltage conductances with wires. Where voltage and
    conductance do not separate, 64 (at most 127) of the drives, evenly spaced, stand for all.

    Args:
        crossbar: what is driven.
        voltages: of all drives, ``[drives, groups · rows]`` (V).
        share: of the time for which they last, likewise, where cells are not ohmic and bare; None
            is all of it.
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
        power = voltages * device.transfer(voltages)
        power = power if share is None else power * share
        return float(power.sum(0) @ g.sum((0, 2)))
    step = max(1, len(voltages) // _MOST_VECTORS)
    share = torch.ones_like(voltages) if share is None else share.to(voltages)
    sample = voltages[::step]
    return len(voltages) / max(len(sample), 1) * _cell_by_cell(crossbar, g, sample, share[::step])


def _cell_by_cell(crossbar: Crossbar, g: Tensor, voltages: Tensor, share: Tensor) -> float:
    device = crossbar.hardware.device
    low, high = device.window
    power = 0.0
    # One drive a pass, of at most 127: it is a whole array of cells, and all at once would be as
    # many arrays in memory.
    for v, part in zip(voltages, share, strict=True):
        current = device.current_of(v[:, None], g.clamp(low, high))
        power += float(((v * part)[:, None] * current).sum())
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
