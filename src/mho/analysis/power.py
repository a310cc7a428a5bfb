"""The power that drivers deliver into the cells of a crossbar."""

from __future__ import annotations

import torch
from torch import Tensor

from mho import circuit
from mho.crossbar.crossbar import Crossbar
from mho.crossbar.tiling import Tiling

_MOST_VECTORS = 64  # computed cell by cell; the others are taken to be like them
_MOST_VALUES = 1 << 24  # of voltages at a time, where lines end one after the other


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


def pulse_power(crossbar: Crossbar, voltages: Tensor, lasting: Tensor) -> float:
    """Return what is delivered in pulses (W), in the mean over the longest, summed over all drives.

    Pulses of a drive start together, so that two lines are driven at once for the shorter of their
    pulses. Lines that rest at a voltage of their own (``PulseWidth.v_idle``) deliver as long as the
    others last; lines that float at rest are taken for lines at 0 V. Exact where cells are bare and
    voltage and conductance separate; else 64 (at most 127) of the drives, fewer of large arrays
    with wires, stand for all, and cells behind wires count by their low-voltage conductances.

    Args:
        crossbar: what is driven.
        voltages: of all drives while their pulses last, ``[drives, groups · rows]`` (V).
        lasting: for which share of the longest pulse, likewise.
    """
    pulses = crossbar.hardware.drive.pulses
    rest = 0.0 if pulses is None else pulses.v_idle
    device = crossbar.hardware.device
    if crossbar.hardware.array.wires.ideal and device.separable:
        g = crossbar.G.double()
        volts, share, sums = voltages.double(), lasting.double(), g.sum((0, 2))
        idle = volts.new_tensor(rest)
        on = volts * (volts if device.ohmic else device.transfer(volts))
        off = idle * (idle if device.ohmic else device.transfer(idle))
        return float((share * on + (1.0 - share) * off).sum(0) @ sums)
    rows = voltages.shape[1]
    few = _MOST_VECTORS if crossbar.hardware.array.wires.ideal else _MOST_VALUES // (rows + 2) ** 2
    step = max(1, len(voltages) // max(1, min(_MOST_VECTORS, few)))
    volts, share = voltages[::step].double(), lasting[::step].double()
    scale = len(voltages) / max(len(volts), 1)
    if crossbar.hardware.array.wires.ideal:
        g, idle = crossbar.G.double(), torch.full_like(volts, rest)
        return scale * (
            _cell_by_cell(crossbar, g, volts, share) + _cell_by_cell(crossbar, g, idle, 1.0 - share)
        )
    # Lines end one after the other: between two ends all are at known voltages, and power is a
    # quadratic form in them.
    ends = torch.cat([torch.zeros_like(share[:, :1]), share, torch.ones_like(share[:, :1])], 1)
    ends = ends.sort(1).values
    spans = ends.diff(dim=1).unsqueeze(2)
    at = torch.where(share.unsqueeze(1) >= ends[:, 1:].unsqueeze(2), volts.unsqueeze(1), rest)
    return scale * array_power(crossbar, (at * spans.sqrt()).flatten(0, 1))


def _cell_by_cell(
    crossbar: Crossbar, g: Tensor, voltages: Tensor, share: Tensor | None = None
) -> float:
    device = crossbar.hardware.device
    low, high = device.window
    power = 0.0
    # One drive a pass, of at most 127: it is a whole array of cells, and all at once would be as
    # many arrays in memory.
    for k, v in enumerate(voltages):
        current = device.current_of(v[:, None], g.clamp(low, high))
        lasts = v if share is None else v * share[k]
        power += float((lasts[:, None] * current).sum())
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
