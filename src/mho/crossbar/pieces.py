"""Pieces of a large read: the currents of one tile, one pulse and one run of lines at a time.

In comes a `Job` and the levels of a block of vectors. Out go its pieces, one after the other, each
small enough for the cache, and what the converters make of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import random
from mho.crossbar import currents
from mho.crossbar.blocks import Plan, Run, Vectors
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.periphery import ADC


@dataclass(eq=False)
class Job:
    """One read: all but the tensors that gradients go through.

    Attributes:
        readout: the array.
        hardware: what it is made of.
        vectors: where they are in the inputs.
        plan: the blocks.
        limit: input magnitude of the largest voltage; None: each vector's own.
        full_scale: of the ADC (A) ``[converters]``; None: measured.
        stream: of noise; None where there is none.
        ranges: what was measured, by block; or for the whole call.
        places: where the stream was at the start of each block.
    """

    readout: Readout
    hardware: Hardware
    vectors: Vectors
    plan: Plan
    limit: Tensor | float | None
    full_scale: Tensor | None
    stream: Tensor | None
    ranges: dict[int, Tensor] = field(default_factory=dict)
    places: dict[int, Tensor] = field(default_factory=dict)

    @property
    def adc(self) -> ADC | None:
        """The converters."""
        return self.hardware.adc

    @property
    def measures(self) -> bool:
        """Whether the range of the currents has to be measured."""
        return self.adc is not None and self.readout.step is None and self.full_scale is None

    @property
    def by_call(self) -> bool:
        """Whether it is measured over the whole call."""
        return self.measures and self.adc is not None and self.adc.range == "per_call"


class Piece(NamedTuple):
    """Currents of one tile, one pulse and one run of lines.

    Attributes:
        rows: word lines of the tile.
        run: its bit lines.
        pulse: levels of the word lines ``[groups, vectors, height]``.
        weight: of the pulse in the digital sum.
        share: of the gradient of the inputs' levels that goes through this pulse.
        current: ``[groups, vectors, lines of the run]``.
        tile: number of the tile.
        rng: stream of the converters' own noise; None where they have none.
    """

    rows: slice
    run: Run
    pulse: Tensor
    weight: float
    share: float
    current: Tensor
    tile: int = 0
    rng: Tensor | None = None


def pieces_of(level: Tensor, job: Job, rng: Tensor | None) -> Iterator[Piece]:
    """Yield the pieces of a block, tile by tile, pulse by pulse, run by run.

    Args:
        level: of the drivers ``[groups, vectors, rows]``.
        job: the read.
        rng: stream for read noise; None: torch's own generator.
    """
    matrix, noise = job.readout.matrix, job.readout.noise
    folded = isinstance(job.readout.unit, float) and job.readout.unit == 1.0
    bits = folded and job.hardware.drive.planes_sent > 1 and not job.hardware.drive.converts_once
    for rows in job.plan.tiles:
        for pulse, power, weight, share in _pulses(level[..., rows], job):
            if isinstance(noise, Tensor) and noise.dim() == 1:
                power = power.sum(-1, keepdim=True)
            for run in job.plan.runs:
                current = currents.multiply(pulse, matrix[:, rows, run.lines], bits=bits)
                if isinstance(noise, Tensor):
                    own = _of_run(noise, rows, run)
                    current = currents.with_noise(current, currents.variance_of(power, own), rng)
                yield _driven(Piece(rows, run, pulse, weight, share, current), job, rng)


def _driven(piece: Piece, job: Job, rng: Tensor | None) -> Piece:
    """Return a piece with what drivers add to its currents, and its converters' own stream."""
    bias, converters = job.readout.bias, job.readout.converters
    tile = piece.rows.start // job.plan.tiles[0].stop
    if bias is not None:
        piece.current.add_(bias[:, tile : tile + 1, piece.run.lines])
    draws = converters is not None and converters.noisy
    own = random.fork(rng, piece.current.device) if draws else None
    return piece._replace(tile=tile, rng=own)


def _of_run(noise: Tensor, rows: slice, run: Run) -> Tensor:
    """Return the variance of a piece's cells; see `Readout`."""
    if noise.dim() > 1:
        return noise[:, rows, run.lines]
    return noise[run.lines] if noise.numel() > 1 else noise


def _pulses(level: Tensor, job: Job) -> Iterator[tuple[Tensor, Tensor, float, float]]:
    """Yield what word lines of one tile are driven with, one pulse after the other.

    With each pulse come its power (what noise goes by), its weight in the digital sum, and the
    share of the gradient of the levels that goes through it.
    """
    drive, noisy = job.hardware.drive, job.readout.noise is not None

    def sent(pulse: Tensor) -> Tensor:
        return currents.in_units(pulse, job.readout)

    if drive.mode == "amplitude":
        pulse = sent(level)
        yield pulse, pulse.square() if noisy else pulse, 1.0, 1.0
        return
    weights = drive.plane_weights
    if len(level) == 1:
        level = level.contiguous()  # read once for each plane
    if drive.converts_once:
        # One conversion of what all planes add up to: the levels themselves, and all their noise.
        one, power = drive.step_per_range, None
        if noisy:
            squares = (
                sent(bits).square_().mul_((weight * one) ** 2)
                for weight, bits in zip(weights, drive.bits_of(level), strict=True)
            )
            power = sum(squares, torch.zeros((), dtype=level.dtype, device=level.device))
        pulse = sent(level * one)
        yield pulse, pulse if power is None else power, 1.0, one
        return
    whole = sum(weight**2 for weight in weights)
    # Integers know no NaN: it goes with the first plane, and comes out of the sum as it went in.
    missing: Tensor | None = level * 0.0
    for weight, bits in zip(weights, drive.bits_of(level), strict=True):
        pulse = sent(bits if missing is None else bits.add_(missing))
        missing = None
        yield pulse, pulse.square() if noisy else pulse, weight, weight / whole


def by_converter(current: Tensor, job: Job, run: Run | None = None) -> Tensor:
    """View lines by converter: ``[groups, vectors, converters, lines]``."""
    each = slice(0, job.hardware.encoding.converters) if run is None else run.converters
    return current.unflatten(-1, (each.stop - each.start, -1))


def digital(current: Tensor, piece: Piece, limit: Tensor | None, job: Job) -> Tensor:
    """Convert a piece, in place where no gradient is needed; in steps of what is on a grid.

    Args:
        current: of the piece.
        piece: what it is of.
        limit: full scale of the block; None where currents are in steps already.
        job: the read.
    """
    adc, run = job.adc, piece.run
    if adc is None:
        return current
    errors = job.readout.converters
    if errors is not None:
        errors = errors.of_tiles(piece.tile, piece.tile + 1).of_lines(run.lines)
    if job.readout.step is not None:
        return adc.to_levels(current) if errors is None else errors.codes(current, piece.rng)
    assert limit is not None
    own = limit[..., run.converters, :] if limit.shape[-2] > 1 else limit
    lines = by_converter(current, job, run)
    if errors is not None and adc.on_grid:
        return errors.codes(adc.in_steps(lines, own).flatten(-2), piece.rng)
    if errors is not None:
        wide = own.expand(*own.shape[:-1], lines.shape[-1])
        wide = wide.expand(*wide.shape[:-2], lines.shape[-2], -1).flatten(-2)
        return errors.signs(current, wide, piece.rng)
    found = adc.to_levels(adc.in_steps(lines, own)) if adc.on_grid else adc.convert(lines, own)
    return found.flatten(-2)


def step_of(limit: Tensor | None, job: Job) -> Tensor | None:
    """Return the steps that results are counted in, ``[…, converters, 1]``; None for amperes."""
    adc, step = job.adc, job.readout.step
    if adc is None or not adc.on_grid:
        return None
    if step is not None:
        converters = job.hardware.encoding.converters
        return step if step.numel() == 1 else step.unflatten(-1, (converters, -1))
    assert limit is not None
    return adc.step(limit)
