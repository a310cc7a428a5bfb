"""Cells that are not ohmic behind wires: what the linearised read misses, and the exact read.

A read of such cells takes the wires' attenuation at low voltages and the bend of the voltage that
is driven (`mho.crossbar.expansion`). The circuit itself is solved here by Newton's method, tile by
tile and input by input (`mho.circuit.solve_nonlinear`): thousands of times the work of a product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.circuit import effective_conductance, solve_nonlinear
from mho.circuit.newton import Law
from mho.crossbar import expansion as nonlinear
from mho.crossbar import floating, pulses
from mho.crossbar.floating import Ports
from mho.crossbar.tiling import Tiling
from mho.hardware import Array, Hardware


def linearises(hardware: Hardware) -> bool:
    """Whether reads are those of a linearised circuit: cells that are not ohmic, with wires."""
    return not (hardware.device.ohmic or hardware.array.wires.ideal)


def currents(level: Tensor, g: Tensor | Ports, hardware: Hardware) -> list[Tensor]:
    """Return the currents (A) of all tiles, each solved for every input.

    Args:
        level: inputs in DAC steps, ``[groups, batch, rows]``.
        g: low-voltage conductances ``[slices, groups · rows, cols]`` (S); or what an array is to
            its drivers, of lines that float.
        hardware: what the array is made of.

    Returns:
        One tensor ``[groups, tiles, batch, lines]`` for each band of tiles. Differentiable in the
        inputs.
    """
    if isinstance(g, Ports):
        return floating.currents(level, g, hardware)
    array, encoding = hardware.array, hardware.encoding
    tiling = Tiling.of(g, len(level), array)
    found = []
    for part, band in zip(tiling.cut_inputs(level), tiling.cut(g), strict=True):
        solved = [_read(tiles, part, hardware) for tiles in band]
        lines = torch.cat([s.transpose(3, 4).flatten(4) for s in solved], dim=-1)
        if array.interleaved:  # [1, groups, down, batch, lines] to [slices, …, cols]
            lines = lines[0].unflatten(-1, (-1, tiling.slices)).movedim(-1, 0)
        seen = encoding.converted(lines.flatten(1, 3))
        found.append(seen.unflatten(0, lines.shape[1:4]).to(level))
    return found


def _read(tiles: Tensor, level: Tensor, hardware: Hardware) -> Tensor:
    """Solve ``[arrays, groups, down, across, h, w]`` for levels ``[groups, down, batch, h]``."""
    device, array, drive = hardware.device, hardware.array, hardware.drive
    if not pulses.sends(hardware):
        return _solved(tiles, level * drive.v_step, device, array)
    # A circuit for every interval between two ends of pulses.
    total = tiles.new_zeros((*tiles.shape[:4], level.shape[2], tiles.shape[5]))
    for v, share in pulses.patterns(level.detach(), drive):
        share = share[None, :, :, None] if isinstance(share, Tensor) else share
        total = total + _solved(tiles, v, device, array) * share
    if not (torch.is_grad_enabled() and level.requires_grad):
        return total
    # For gradients charges are in proportion to lengths, as the linearised read has them.
    T = effective_conductance(tiles.double(), array.wires).to(tiles)
    sent = level
    if device.separable:
        sent = nonlinear.driven(level, hardware)
    linear = (sent * drive.v_step)[None, :, :, None] @ T
    return total + (linear - linear.detach())


def _solved(tiles: Tensor, v: Tensor, device: Device, array: Array) -> Tensor:
    """Solve ``[arrays, groups, down, across, h, w]`` for ``[groups, down, batch, h]`` (V)."""
    vectors = v[None, :, :, None].expand(*tiles.shape[:4], -1, -1)
    wires = array.wires_of(*tiles.shape[-2:])
    return solve_nonlinear(_law(tiles, device), tuple(tiles.shape), wires, vectors).currents


def _law(g: Tensor, device: Device) -> Law:
    """Return the current of nominal cells; those outside of the window bend as at its ends."""
    g = g.detach().double().unsqueeze(-3)  # the same cells for every vector
    low, high = nonlinear.span(device)
    within = g.clamp(low, high)

    def current(v: Tensor) -> Tensor:
        if device.separable:
            return g * device.transfer(v)
        return g / within * device.current_of(v, within)

    return current


@torch.no_grad()
def linearisation_error(g: Tensor, hardware: Hardware, groups: int) -> float:
    """Return by how much the linearised read is off at full drive.

    Estimated on the whole tile that conducts most, with every line at the driver's largest
    voltage, where wires take most.

    Args:
        g: low-voltage conductances ``[slices, groups · rows, cols]`` (S).
        hardware: what the array is made of.
        groups: how many matrices lie side by side.

    Returns:
        Largest error of a bit line's current, relative to the largest current.
    """
    drive = hardware.drive
    tiles = Tiling.of(g, groups, hardware.array).cut(g.double())[0][0].flatten(0, 3)
    tile = tiles[tiles.sum((1, 2)).argmax()]
    if not bool(tile.any()):
        return 0.0
    wires = hardware.array.wires_of(*tile.shape)
    v = tile.new_full((len(tile),), drive.v_max)
    exact = solve_nonlinear(_law(tile, hardware.device), tuple(tile.shape), wires, v[None]).currents
    T = effective_conductance(tile, wires)
    matrix = nonlinear.stacked(T[None], tile[None], hardware)[0]
    driven = nonlinear.driven((v / drive.v_step)[None, None], hardware)[0]
    linear = driven @ matrix * drive.v_step
    return float((linear - exact).abs().max() / exact.abs().max())
