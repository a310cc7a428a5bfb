"""Plan: a read of equal tiles, with all that does not depend on the inputs worked out before.

Small reads cost what their calls cost. Where one product, one range and one step say it all, a
read is here the few operations that touch the inputs: the same, and in the same order, as those of
`mho.crossbar.read.product`, to the bit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import random
from mho.crossbar import blocks, pulses
from mho.crossbar.blocks import COPIES, KEPT
from mho.crossbar.currents import BULK, multiply, variance_of, with_noise
from mho.crossbar.readout import Readout
from mho.encoding.base import Encoding
from mho.hardware import Hardware
from mho.periphery import quantize
from mho.periphery.errors import Errors

MOST = 1 << 20
"""Currents of a read by a plan, at most: more are cut into blocks (`mho.crossbar.read.product`)."""


class Single(NamedTuple):
    """What is particular of one tile between drivers and converters; names are those of `Plan`.

    Attributes:
        driven: levels of the drivers.
        matrix: ``[rows, lines]``.
        noise: of cells, ``[rows, lines]``; None where they are alike, or there is none.
        converted: levels of the converters.
        step: the ADC's.
    """

    driven: tuple[int, int]
    matrix: Tensor
    noise: Tensor | None
    converted: tuple[int, int]
    step: Tensor


class Plan(NamedTuple):
    """What a read of equal tiles needs.

    Attributes:
        steps: by what inputs are multiplied to be in units of one level; of an ideal driver by
            what they are divided, the range.
        driven: lowest and highest level of the drivers; None of ideal ones.
        tiles: how many there are.
        matrix: ``[tiles, rows of a tile, lines]``, see `Readout`.
        unit: what a level is multiplied by before ``matrix``; None for 1.
        noise: variance of white read noise, as in `Readout`, of cells shaped like ``matrix``;
            or None.
        converted: lowest and highest level of the converters; None where there are none.
        step: the ADC's step, as in `Readout`; None without one.
        out: from currents (A) to outputs.
        single: of one tile between drivers and converters, with a unit of 1; else None.
        most: inputs that are read at once.
        learned: whether gradients may reach any of these.
        factor: from results in steps to outputs, where more follows than ``step`` and ``out``.
        offset: added to those, ``[cols]``; or None.
        rng: stream for read noise; None is torch's own generator.
        errors: of the converters; None where they have none.
        bias: current that offsets of the drivers cause ``[tiles, 1, lines]``; or None.
    """

    steps: Tensor | float
    driven: tuple[int, int] | None
    tiles: int
    matrix: Tensor
    unit: Tensor | float | None
    noise: Tensor | None
    converted: tuple[int, int] | None
    step: Tensor | None
    out: Tensor
    rng: Tensor | None
    single: Single | None
    most: int
    learned: bool
    factor: Tensor | None = None
    offset: Tensor | None = None
    errors: Errors | None = None
    bias: Tensor | None = None

    def fits(self, x: Tensor) -> bool:
        """Whether inputs ``[..., rows]`` are few enough to be read at once."""
        return x.numel() <= self.most

    def then(self, gain: Tensor | None, offset: Tensor | None) -> Plan:
        """Return the plan of reads whose outputs are multiplied by a gain, and added to.

        All factors are one, so rounding is another than that of `read` and what follows it.

        Args:
            gain: ``[cols]``, or None.
            offset: ``[cols]``, or None.
        """
        factor = self.out if self.step is None else self.step * self.out
        factor = factor if gain is None else factor * gain
        return self._replace(factor=factor, offset=offset)

    def noise_for(self, vectors: int) -> Tensor | None:
        """Draw the noise of so many vectors at once, flat: many small draws cost more.

        None where there is none, or it would be more than is read at once.
        """
        tiles, rows, lines = self.matrix.shape
        if self.noise is None or vectors * tiles * rows > self.most or blocks.followed_by_torch():
            return None
        return random.normal_like(self.matrix.new_empty(vectors * tiles * lines), self.rng)

    def read(self, x: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Read inputs ``[vectors, rows]``; outputs ``[vectors, cols]``.

        Args:
            x: the inputs.
            drawn: their noise, flat; see `noise_for`.
        """
        if self.single is not None and x.dtype == self.out.dtype and not self._followed(x):
            return self._quickly(x, self.single, drawn)
        if self.driven is None:
            level = quantize.over(x, self.steps)
        else:
            level = quantize.to_grid(x * self.steps, *self.driven, fresh=True)
        if self.unit is not None:
            level = level * self.unit
        # A batch of products, be it of one: gradients are then added up as ever, to the bit.
        level = level.reshape(-1, self.tiles, self.matrix.shape[1]).transpose(0, 1)
        current = multiply(level, self.matrix)
        if self.noise is not None:
            variance = variance_of(level.detach().square(), self.noise)
            drawn = drawn if drawn is None else drawn.view(current.shape)
            current = with_noise(current, variance, self.rng, drawn)
        if self.bias is not None:
            current = current + self.bias
        if self.errors is not None:
            current = self.errors.codes(current.unsqueeze(0), self.rng).squeeze(0)
        elif self.converted is not None:
            current = quantize.to_grid(current, *self.converted, fresh=True)
        total = current.squeeze(0) if self.tiles == 1 else current.sum(0)
        if self.factor is None:
            return (total if self.step is None else total * self.step) * self.out
        if self.offset is None:
            return total * self.factor
        return torch.addcmul(self.offset, total, self.factor)

    def _followed(self, x: Tensor) -> bool:
        """Whether gradients are to go through the converters."""
        if not torch.is_grad_enabled():
            return False
        return self.learned or x.requires_grad or blocks.followed_by_torch()

    def _quickly(self, x: Tensor, single: Single, drawn: Tensor | None) -> Tensor:
        """As `read` of one tile between converters, without gradients: in place, no call more."""
        level = x.mul(self.steps).round_().clamp_(*single.driven)
        if level.numel() * single.matrix.shape[1] < BULK:
            current = torch.mm(level, single.matrix)
        else:
            current = multiply(level.unsqueeze(0), self.matrix).squeeze(0)
        if self.noise is not None:
            noise = self.noise if single.noise is None else single.noise
            drawn = drawn if drawn is None else drawn.view(current.shape)
            current = with_noise(current, variance_of(level.square_(), noise), self.rng, drawn)
        current.round_().clamp_(*single.converted)
        if self.factor is not None:
            if self.offset is None:
                return current * self.factor
            return torch.addcmul(self.offset, current, self.factor)
        if current.dtype != self.out.dtype:  # of torch.autocast
            return current * single.step * self.out
        return current.mul_(single.step).mul_(self.out)


def plan_of(
    readout: Readout,
    hardware: Hardware,
    limit: Tensor | float,
    rng: Tensor | None,
    memory: int,
) -> Plan | None:
    """Return the plan of a tiled read, or None where a read is more than one.

    Args:
        readout: the array.
        hardware: what it is made of.
        limit: input magnitude that becomes the largest voltage, one for all inputs.
        rng: stream for read noise; None: torch's own generator.
        memory: what a read may take beside its inputs and outputs (bytes).
    """
    drive, adc, tiled = hardware.drive, hardware.adc, equal_tiles(readout, hardware)
    if tiled is None or (isinstance(limit, Tensor) and limit.dim()):
        return None
    if adc is not None and readout.step is None:
        return None
    own = (readout.matrix, readout.noise, readout.unit, readout.step, readout.scale, readout.bias)
    given = (*own, limit)
    matrix, noise = tiled
    folded = isinstance(readout.unit, float) and readout.unit == 1.0
    single = None
    erring = readout.bias is not None or readout.converters is not None
    if len(matrix) == 1 and folded and not drive.ideal and adc is not None and not erring:
        each = noise[0] if noise is not None and noise.dim() == 3 else None
        assert readout.step is not None
        single = Single(drive.levels, matrix[0], each, adc.levels, readout.step)
    return Plan(
        steps=limit if drive.ideal else drive.steps_in(limit),
        driven=None if drive.ideal else drive.levels,
        tiles=len(matrix),
        matrix=matrix,
        unit=None if folded else readout.unit,
        noise=noise,
        converted=None if adc is None else adc.levels,
        step=readout.step,
        out=readout.scale * (limit * drive.step_per_range),
        rng=rng,
        single=single,
        most=most_at_once(matrix, memory) * readout.matrix.shape[1],
        errors=readout.converters,
        bias=None if readout.bias is None else readout.bias[0].unsqueeze(1),
        learned=any(isinstance(used, Tensor) and used.requires_grad for used in given),
    )


def equal_tiles(readout: Readout, hardware: Hardware) -> tuple[Tensor, Tensor | None] | None:
    """Return the tiles of an array where one product of levels and cells says what flows.

    Returns:
        The matrix ``[tiles, rows of a tile, lines]``, and its noise as in `Readout`, of cells
        shaped alike; None where tiles differ, or more happens between drivers and converters.
    """
    drive, encoding = hardware.drive, hardware.encoding
    groups, rows, _ = readout.matrix.shape
    height = min(hardware.array.rows, rows) if hardware.by_tile else rows
    one_bit = drive.bits == 1 and drive.signed
    if groups > 1 or rows % height or drive.serial or drive.curved or one_bit:
        return None
    if not pulses.plain(hardware, noisy=readout.noise is not None):
        return None
    if readout.cells is not None or readout.lines is not None or not hardware.device.ohmic:
        return None
    if readout.digital is not None or encoding.digital != (1.0,) or _adds(encoding):
        return None
    matrix, noise = readout.matrix.unflatten(1, (-1, height))[0], readout.noise
    if isinstance(noise, tuple):
        return None
    if noise is not None and noise.dim() == 3:
        noise = noise.unflatten(1, (-1, height))[0]
    return matrix, noise


def most_at_once(matrix: Tensor, memory: int) -> int:
    """Return how many vectors are read at once on ``[tiles, rows of a tile, lines]``."""
    tiles, _, lines = matrix.shape
    return min(MOST, int(memory * KEPT) // (COPIES * matrix.element_size())) // (tiles * lines)


def _adds(encoding: Encoding) -> bool:
    """Whether an encoding does something of its own with the converters' results."""
    kind = type(encoding)
    return kind.outputs is not Encoding.outputs or kind.assemble is not Encoding.assemble
