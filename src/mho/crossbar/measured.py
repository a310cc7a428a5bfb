"""Measured reads: equal tiles whose converters' ranges follow what they are given.

Before calibration, while it goes on, and where a spec says so, ranges are those of every input
vector and of the currents it causes. Small reads cost what their calls cost: here they are the few
operations that touch the inputs, the same, and in the same order, as those of
`mho.crossbar.read.product`, to the bit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.crossbar import blocks
from mho.crossbar.currents import BULK, multiply, sum_tiles, variance_of, with_noise
from mho.crossbar.plan import equal_tiles, most_at_once
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.periphery import quantize
from mho.periphery.adc import ADC, NO_CURRENT
from mho.periphery.dac import DAC


class Measured(NamedTuple):
    """What such a read needs.

    Attributes:
        drive: the drivers.
        adc: the converters; None where currents are read exactly.
        limit: input magnitude that becomes the largest voltage; None measures that of each vector.
        full_scale: of the converters (A), ``[]`` or ``[1]``; None takes the largest currents.
        step: the ADC's step, where ``matrix`` is in its units; else None.
        matrix: ``[tiles, rows of a tile, lines]``, see `Readout`.
        noise: variance of white read noise, as in `Readout`, of cells shaped like ``matrix``; or
            None.
        scale: from currents (A) to outputs for inputs of one unit a level.
        rng: stream for read noise.
        most: inputs that are read at once.
    """

    drive: DAC
    adc: ADC | None
    limit: Tensor | float | None
    full_scale: Tensor | None
    step: Tensor | None
    matrix: Tensor
    noise: Tensor | None
    scale: Tensor
    rng: Tensor | None
    most: int

    def serves(self, x: Tensor) -> bool:
        """Whether inputs ``[..., rows]`` are few, and nobody asks for more than the outputs."""
        if x.dtype is not self.matrix.dtype or x.numel() > self.most or not x.numel():
            return False
        followed = torch.is_grad_enabled() and (x.requires_grad or self.scale.requires_grad)
        return not (followed or blocks.followed_by_torch())

    def with_ranges(self, limit: Tensor | float | None, full_scale: Tensor | None) -> Measured:
        """Return the same read, by ranges known before.

        Args:
            limit: input magnitude that becomes the largest voltage, one for all; None measures it.
            full_scale: of the converters (A), ``[1]``; None measures it.
        """
        return self._replace(limit=limit, full_scale=full_scale)

    def limit_of(self, x: Tensor) -> Tensor | float:
        """Return the input magnitude that becomes the largest voltage: one, or ``[vectors, 1]``."""
        return self.drive.measure(x, -1) if self.limit is None else self.limit

    def currents(self, x: Tensor, limit: Tensor | float) -> Tensor:
        """Return the currents ``[tiles, vectors, lines]`` that inputs ``[vectors, rows]`` cause."""
        level, matrix = self.drive.to_levels(x, limit), self.matrix
        tiles, height, lines = matrix.shape
        if tiles > 1:
            level = level.reshape(-1, tiles, height).transpose(0, 1)
        if tiles == 1 and level.numel() * lines < BULK:
            current = torch.mm(level, matrix[0]).unsqueeze(0)
        else:
            level = level if tiles > 1 else level.unsqueeze(0)
            current = multiply(level, matrix)
        if self.noise is None:
            return current
        power = level.square() if level.dim() == 3 else level.square().unsqueeze(0)
        return with_noise(current, variance_of(power, self.noise), self.rng)

    def read(self, x: Tensor) -> Tensor:
        """Read inputs ``[vectors, rows]``; outputs ``[vectors, cols]``."""
        limit = self.limit_of(x)
        current = self.currents(x, limit)
        if self.adc is not None:
            current = self._converted(current, self.adc)
        total = current[0] if len(current) == 1 else sum_tiles(current, whole=self.step is not None)
        if self.step is not None:
            total = total.mul_(self.step)
        return total.mul_(self.scale * (limit * self.drive.step_per_range))

    def _converted(self, current: Tensor, adc: ADC) -> Tensor:
        if self.step is not None:
            return adc.to_levels(current)
        full_scale = self.full_scale
        if full_scale is None:
            dims = 2 if len(current) == 1 else (0, 2)
            largest = current.abs().amax(dims, keepdim=True)
            full_scale = quantize.instead_of_zero(largest, NO_CURRENT)
        return adc.convert(current, full_scale)


def measured_of(
    readout: Readout, hardware: Hardware, rng: Tensor | None, memory: int
) -> Measured | None:
    """Return how an array of equal tiles is read without gradients; None where that is more.

    All ranges are measured; see `Measured.with_ranges`.

    Args:
        readout: the array.
        hardware: what it is made of.
        rng: stream for read noise.
        memory: what a read may take beside its inputs and outputs (bytes).
    """
    adc, tiled = hardware.adc, equal_tiles(readout, hardware)
    if tiled is None or not (isinstance(readout.unit, float) and readout.unit == 1.0):
        return None
    if readout.bias is not None or readout.converters is not None or hardware.drive.pulses:
        return None
    if adc is not None and (not adc.ranged or adc.range == "per_call"):
        return None
    matrix, noise = tiled
    return Measured(
        drive=hardware.drive,
        adc=adc,
        limit=None,
        full_scale=None,
        step=readout.step,
        matrix=matrix,
        noise=noise,
        scale=readout.scale,
        rng=rng,
        most=most_at_once(matrix, memory) * matrix.shape[0] * matrix.shape[1],
    )
