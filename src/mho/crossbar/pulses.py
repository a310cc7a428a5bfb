"""PulseWidth: what inputs that are coded in the length of a pulse make of a read.

In come levels of the drivers, out go what cells take of them: means over the longest pulse, in the
unit of one level. A line is at one voltage or at rest, so that

* charges of cells that are not ohmic are in proportion to a pulse's length all the same: the law is
  asked for ``±v_max`` alone (and for the voltage of rest);
* wires, being linear, superpose: whatever the order in which pulses end, ``Q = Σ t V @ T``;
* white noise is integrated for as long as a pulse lasts: its variance grows with the length, not
  with its square. Noise of a deviation σ is that of a read of the longest pulse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from mho.cells.device import Device
from mho.circuit.lowrank import POINTS, Range, interpolate
from mho.circuit.noise import NoiseForm
from mho.core import derivatives, random
from mho.core.constants import constant
from mho.hardware import Hardware
from mho.periphery import DAC, PulseWidth

INTERVALS = 8
"""Intervals of a pulse in which the noise of smooth inputs behind wires is worked out.

Measured against all 127 of 8 bits: deviations are off by at most 0.03 % where wires take 8 % of the
currents, by 0.1 % where they take a third; the error falls with the square of the number.
"""

_F = TypeVar("_F", bound=Callable[..., Any])


def _constant(function: _F) -> _F:
    """Let graphs hold what follows from a spec alone, as it is."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def _of(drive: DAC) -> PulseWidth:
    assert drive.pulses is not None
    return drive.pulses


def sends(hardware: Hardware) -> bool:
    """Whether inputs are coded in pulses' lengths."""
    return hardware.drive.pulses is not None


def plain(hardware: Hardware, noisy: bool) -> bool:
    """Whether a read is that of amplitudes of the same levels: no noise, and nothing cut off."""
    pulses = hardware.drive.pulses
    return pulses is None or (pulses.exact and not noisy and pulses.full_charge is None)


# ── what cells take ──────────────────────────────────────────────────────────────────────────


def lengthened(level: Tensor, hardware: Hardware, rng: Tensor | None) -> Tensor:
    """Return levels of pulses whose lengths jitter; a line that sends none has none.

    Args:
        level: of the drivers.
        hardware: gives the pulses.
        rng: stream for noise; None: torch's own generator.
    """
    pulses = hardware.drive.pulses
    if pulses is None or not pulses.jitter:
        return level
    size = level.detach().abs()
    drawn = random.normal_like(size, rng) * (pulses.jitter * hardware.drive.top / pulses.t_pulse)
    return level + ((size + drawn).clamp_(min=0.0) - size) * level.detach().sign()


def driven(level: Tensor, hardware: Hardware, window: Range) -> Tensor:
    """Return what levels become at the cells; see `mho.crossbar.expansion.driven`.

    Args:
        level: of the drivers, rows in dimension 2, ``[groups, batch, rows, …]``.
        hardware: what the array is made of.
        window: conductances that laws are tabulated over (S).
    """
    drive, device = hardware.drive, hardware.device
    found = _with_edges(level, drive)
    if not device.separable:
        if terms(hardware, window) == 1:
            return found
        return torch.stack((found, derivatives.clip(found, None, 0.0)), dim=3).flatten(2, 3)
    if not device.ohmic:
        positive, negative = _ratios(device, drive.v_max)
        found = torch.where(found < 0, found * negative, found * positive)
    rest = _rest(hardware)
    return found + rest * derivatives.clip(drive.top - level.abs(), 0.0, None) if rest else found


def power(level: Tensor, hardware: Hardware) -> Tensor:
    """Return what white noise goes by, in squared levels: the mean square of what is driven.

    Args:
        level: of the drivers, any shape; for gradients it is a constant.
        hardware: what the array is made of.
    """
    drive, device = hardware.drive, hardware.device
    level = level.detach()
    size = level.abs()
    square = _edges(size, drive)[1]
    if device.separable and not device.ohmic:
        positive, negative = _ratios(device, drive.v_max)
        square = torch.where(level < 0, square * negative**2, square * positive**2)
    rest = _rest(hardware)
    if rest:
        square = square + rest**2 * (drive.top - size).clamp(min=0.0)
    return square * drive.top


def _with_edges(level: Tensor, drive: DAC) -> Tensor:
    pulses = _of(drive)
    if not (pulses.rise or pulses.fall):
        return level
    own = level.detach()
    return level + (_edges(own.abs(), drive)[0] * own.sign() - own)


def _edges(size: Tensor, drive: DAC) -> tuple[Tensor, Tensor]:
    """Return the integral of a pulse of so many levels, and of its square, at a height of 1."""
    pulses = _of(drive)
    unit = drive.top / pulses.t_pulse
    rise, fall = pulses.rise * unit, pulses.fall * unit
    if not (rise or fall):
        return size, size
    sent = size > 0
    area, square = size + (fall - rise) / 2, size + (fall - 2 * rise) / 3
    if rise:  # pulses that end before they are up
        up = size / rise
        area = torch.where(up < 1, up * (size + up * fall) / 2, area)
        square = torch.where(up < 1, up**2 * (size + up * fall) / 3, square)
    return area * sent, square * sent


def _rest(hardware: Hardware) -> float:
    """Return what a line at rest drives, relative to ``v_max``."""
    v_idle, v_max = _of(hardware.drive).v_idle, hardware.drive.v_max
    if not v_idle or hardware.device.ohmic:
        return v_idle / v_max
    return _ratios(hardware.device, v_idle)[0] * v_idle / v_max


@cache
@_constant
def _ratios(device: Device, v: float) -> tuple[float, float]:
    """Return ``f(v)/v`` for a voltage and for minus that."""
    with torch.inference_mode(False), torch.no_grad():
        both = torch.tensor((v, -v), dtype=torch.float64)
        found: Any = (device.transfer(both) / both).tolist()
    return found[0], found[1]


# ── cells whose current does not separate ────────────────────────────────────────────────────


def terms(hardware: Hardware, window: Range) -> int:
    """Return how many rows stand for one row of cells: one more where both signs differ."""
    if hardware.device.separable:
        return 1
    return len(_bends(hardware.device, _voltages(hardware), window))


def stacked(T: Tensor, g: Tensor, hardware: Hardware, window: Range) -> Tensor:
    """Return what terms of inputs meet; see `mho.crossbar.expansion.stacked`."""
    device = hardware.device
    low, high = window
    place = (derivatives.clip(g, low, high) / low).log() / math.log(high / low)
    table = _table(device, _voltages(hardware), window, g.dtype, g.device)
    bend = interpolate(derivatives.clip(place, 0.0, 1.0), (0.0, 1.0), table)
    first = T.unsqueeze(-1) * (1.0 + bend[..., :1])
    if table.shape[0] == 1:
        return first.squeeze(-1)
    both = torch.cat((first, T.unsqueeze(-1) * (bend[..., 1:] - bend[..., :1])), dim=-1)
    return both.movedim(-1, 2).flatten(1, 2)


def error(hardware: Hardware, window: Range) -> float:
    """Return the largest error of a nominal cell's current relative to ``g v_max``."""
    if hardware.device.separable:
        return 0.0
    voltages = _voltages(hardware)
    table = _bends(hardware.device, voltages, window)
    x = torch.linspace(0.0, 1.0, 2 * POINTS - 1, dtype=torch.float64)
    exact = _bend_at(hardware.device, voltages, window, x)[: len(table)]
    return float((interpolate(x, (0.0, 1.0), table).mT - exact).abs().max())


def _voltages(hardware: Hardware) -> tuple[float, ...]:
    v_max = hardware.drive.v_max
    return (v_max,) if _of(hardware.drive).signs == "two_phase" else (v_max, -v_max)


def _bend_at(device: Device, voltages: tuple[float, ...], window: Range, x: Tensor) -> Tensor:
    low, high = window
    g = low * (high / low) ** x
    return torch.stack(
        [device.current_of(torch.full_like(g, v), g) / (g * v) - 1 for v in voltages]
    )


@cache
@_constant
def _bends(device: Device, voltages: tuple[float, ...], window: Range) -> Tensor:
    """Return ``I/(g v) - 1`` over the logarithm of the conductance, of each sign that differs."""
    with torch.inference_mode(False), torch.no_grad():
        x = torch.linspace(0.0, 1.0, POINTS, dtype=torch.float64)
        found = _bend_at(device, voltages, window, x)
        odd = len(found) == 2 and torch.allclose(found[0], found[1], rtol=1e-9, atol=1e-12)
        return found[:1] if odd else found


@cache
@_constant
def _table(
    device: Device,
    voltages: tuple[float, ...],
    window: Range,
    dtype: torch.dtype,
    where: torch.device,
) -> Tensor:
    with torch.inference_mode(False):
        return _bends(device, voltages, window).to(dtype).to(where)


# ── time ─────────────────────────────────────────────────────────────────────────────────────


def patterns(level: Tensor, drive: DAC) -> Iterator[tuple[Tensor, Tensor | float]]:
    """Yield what lines are at between two ends of pulses, and for which share of ``t_pulse``.

    Each interval is another circuit where cells are not linear. Whole levels end at as many times
    as there are levels, others at as many as there are lines. Edges are taken for steep.

    Args:
        level: of one drive ``[..., rows]``.
        drive: the drivers.

    Returns:
        Voltages ``[..., rows]`` (V), and shares, one or ``[..., 1]``.
    """
    pulses, top = _of(drive), drive.top
    size, volts = level.abs(), level.sign() * drive.v_max

    def at(on: Tensor) -> Tensor:
        return torch.where(on, volts, pulses.v_idle)

    if drive.bits is not None and not pulses.jitter:
        last = int(size.max()) if size.numel() else 0
        for k in range(1, last + 1):
            yield at(size >= k), 1.0 / top
        if pulses.v_idle and last < top:
            yield at(size > last), (top - last) / top
        return
    ends = size.sort(-1).values
    start = torch.zeros_like(ends[..., :1])
    for end in ends.split(1, dim=-1):
        yield at(size > start), (end - start) / top
        start = end
    if pulses.v_idle:
        yield at(size > start), (top - start).clamp(min=0.0) / top


def variance(form: NoiseForm, level: Tensor, hardware: Hardware) -> Tensor:
    """Return the variance, in squared levels, of noise behind wires: its mean over a pulse.

    Each line's own part is exact. What lines do together is worked out for `INTERVALS` parts of
    the longest pulse, in each with the mean of its inputs, and their variance within it as if lines
    ended at random: exact where levels are no more than that. Edges are taken for steep.

    Args:
        form: of the tiles ``[..., rows, lines]``.
        level: of one drive ``[..., vectors, rows]``.
        hardware: what the array is made of.
    """
    drive, device = hardware.drive, hardware.device
    level = level.detach()
    size, on = level.abs(), level.sign() * drive.top
    if device.separable and not device.ohmic:
        positive, negative = _ratios(device, drive.v_max)
        on = torch.where(level < 0, on * negative, on * positive)
    off = _rest(hardware) * drive.top
    total = power(level, hardware) @ form.diagonal
    count = min(drive.top, INTERVALS) if drive.bits is not None else INTERVALS
    steps = [round(k * drive.top / count) if drive.bits else k / count for k in range(count + 1)]
    # All factors side by side: a product for each interval.
    signs = form.signs.unsqueeze(-2)
    factors = torch.cat(list(form.factors), dim=-1)
    squares, spread = torch.zeros_like(total), torch.zeros_like(size)
    for start, end in pairwise(steps):
        share = ((size - start) / (end - start)).clamp_(0.0, 1.0)
        mean = (on - off) * share + off if off else on * share
        through = (mean @ factors).square_()
        weighted = zip(through.chunk(len(signs), dim=-1), signs, strict=True)
        for part, sign in weighted:
            squares.addcmul_(part, sign, value=(end - start) / drive.top)
        spread += share.sub_(share.square()).mul_((end - start) / drive.top)
    if steps[1] - steps[0] != 1 or drive.bits is None or drive.jitters:
        alone = (signs * form.factors.square()).sum(0)
        squares += (spread * (on - off).square()) @ alone
    return total.add_(squares).clamp_(min=0.0)


# ── the integrator ───────────────────────────────────────────────────────────────────────────


def integrated(parts: list[Tensor], step: Tensor | None, hardware: Hardware) -> list[Tensor]:
    """Return what integrators hold of the charges of tiles, as mean currents.

    Args:
        parts: currents of tiles, in A or in the ADC's steps.
        step: that step (A), or None.
        hardware: what the array is made of.
    """
    pulses = hardware.drive.pulses
    most = None if pulses is None else pulses.full_current()
    if most is None:
        return parts
    full = constant(most, parts[0].dtype, parts[0].device) if step is None else most / step
    return [torch.minimum(torch.maximum(part, -full), full) for part in parts]
