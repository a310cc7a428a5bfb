"""Reads of cells whose current does not separate, as one product over a few terms per row.

    I(v, g) ≈ g [v + Σ_k ψ_k(v) χ_k(g)]        Σ_k ψ_k χ_k ≈ I(v, g)/g - v

What bends away from Ohm's law is expanded (`mho.circuit.expand`) for nominal parameters, once per
device and read voltage, as well as the device's ``bend_tolerance`` asks. Each row of the array
becomes ``terms`` neighbouring rows: inputs ``v, ψ_1(v), …`` meet matrices ``g, g χ_1(g), …``;
currents of one tile still add up before its converter. By construction a cell without conductance
passes no current.

Outside of what is expanded the law goes on along its chord: a cell below or above the window
(stuck, drifted, noisy) bends as one at that end of the window, scaled to its own conductance, and
a voltage beyond the driver's ``v_max`` sees the conductance that ``v_max`` sees.

What is left out: cells differ by their conductances, but all bend as nominal ones do, whatever
their spread parameters; read noise is that of conductances at low voltages, ``v² σ²(g)``; a
transposed read takes the law for odd. Wires attenuate conductances as at low voltages, and the
bend is that of the voltage driven; `mho.crossbar.exact` says by how much that is off, and reads
exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.circuit.lowrank import POINTS, Expansion, expand, interpolate
from mho.core import derivatives
from mho.crossbar import pulses
from mho.hardware import Hardware

_DECADES = 4
_F = TypeVar("_F", bound=Callable[..., Any])


def _constant(function: _F) -> _F:
    """Let graphs hold what follows from a spec alone, as it is."""
    # As torch.compiler.assume_constant_result does, which imports the compiler for it.
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def terms(hardware: Hardware) -> int:
    """Return how many rows of a product stand for one row of cells."""
    if hardware.device.separable:
        return 1
    if pulses.sends(hardware):
        return pulses.terms(hardware, span(hardware.device))
    return 1 + _rank(hardware.device, hardware.drive.v_max)


def error(hardware: Hardware) -> float:
    """Return the largest error of a nominal cell's current relative to ``g v_max``; 0 if exact.

    It is measured inside of the window and of the driver's voltages.
    """
    if hardware.device.separable:
        return 0.0
    if pulses.sends(hardware):
        return pulses.error(hardware, span(hardware.device))
    found = _expansion(hardware.device, hardware.drive.v_max)
    return found.max_error * found.largest / hardware.drive.v_max


def largest_transfer(hardware: Hardware) -> float:
    """Return the largest current per conductance (V) at the driver's full voltage."""
    device, v_max = hardware.device, hardware.drive.v_max
    v = torch.tensor(v_max, dtype=torch.float64)
    if device.separable:
        return float(device.transfer(v).abs())
    low, high = span(device)
    g = low * (high / low) ** torch.linspace(0.0, 1.0, POINTS, dtype=torch.float64)
    return float((device.current_of(v, g) / g).abs().max())


def driven(level: Tensor, hardware: Hardware, v_step: float | None = None) -> Tensor:
    """Return what levels become at the cells, in the same unit.

    Args:
        level: in DAC steps; rows are dimension 2, ``[groups, batch, rows, …]``.
        hardware: what the array is made of.
        v_step: voltage of one step (V), if not the driver's.

    Returns:
        ``f(v)`` of cells that separate, of the same shape; else the terms of each row as
        neighbours in dimension 2, ``rows · terms`` long.
    """
    device = hardware.device
    if device.ohmic and hardware.drive.proportional:
        return level
    if pulses.sends(hardware):
        return pulses.driven(level, hardware, span(device))
    step = v_step or hardware.drive.v_step
    if device.separable:
        return device.transfer(level * step) / step
    found = _moved(device, hardware.drive.v_max, level.dtype, level.device)
    within = derivatives.clip(level * step, *found.v_range)
    bend = interpolate(within, found.v_range, found.psi) / step
    size = level.abs() * (step / found.v_range[1])
    beyond = torch.where(size > 1.0, size, 1.0)  # at full drive the slope is that inside
    both = torch.cat((level.unsqueeze(-1), bend * beyond.unsqueeze(-1)), dim=-1)
    return both.movedim(-1, 3).flatten(2, 3)


def stacked(T: Tensor, g: Tensor, hardware: Hardware) -> Tensor:
    """Return what the terms of inputs are multiplied by, differentiable.

    Args:
        T: conductances as the wires let them act, ``[slices, rows, cols]`` (S); ``g`` itself
            where these are ideal.
        g: low-voltage conductances of the cells, of the same shape (S).
        hardware: what the array is made of.

    Returns:
        ``[slices, rows · terms, cols]`` (S), the terms of one row being neighbours.
    """
    device = hardware.device
    if device.separable:
        return T
    if pulses.sends(hardware):
        return pulses.stacked(T, g, hardware, span(device))
    found = _moved(device, hardware.drive.v_max, g.dtype, g.device)
    low, high = span(device)
    place = (derivatives.clip(g, low, high) / low).log() / math.log(high / low)
    bend = interpolate(derivatives.clip(place, 0.0, 1.0), found.x_range, found.phi)
    both = torch.cat((T.unsqueeze(-1), T.unsqueeze(-1) * bend), dim=-1)
    return both.movedim(-1, 2).flatten(1, 2)


def span(device: Device) -> tuple[float, float]:
    """Conductances (S) expanded over: the window, but no more than a few decades of it."""
    low, high = device.window
    return max(low, high * 10.0**-_DECADES), high


@cache
@_constant
def _expansion(device: Device, v_max: float) -> Expansion:
    """Expand ``I/g - v`` (V) over ±v_max and the logarithm of the conductance, from 0 to 1."""
    low, high = span(device)

    def bend(v: Tensor, x: Tensor) -> Tensor:
        g = low * (high / low) ** x
        return device.current_of(v, g) / g - v

    # Not an inference tensor: it is kept for reads that need gradients.
    with torch.inference_mode(False), torch.no_grad():
        try:
            return expand(bend, (-v_max, v_max), tolerance=device.bend_tolerance, points=POINTS)
        except ValueError as error:
            raise ValueError(
                f"a crossbar cannot read {device} at ±{v_max:g} V: its current is no sum of a few "
                f"products of a function of the voltage and one of the conductance ({error})"
            ) from error


@cache
@_constant
def _rank(device: Device, v_max: float) -> int:
    return _expansion(device, v_max).rank


@cache
@_constant
def _moved(device: Device, v_max: float, dtype: torch.dtype, where: torch.device) -> Expansion:
    with torch.inference_mode(False):
        return _expansion(device, v_max).to(dtype).to(where)
