"""Pieces of a large read: the currents of one tile, one pulse and one run of lines at a time.

In comes a `Job` and the levels of a block of vectors. Out go its pieces, one after the other, each
small enough for the cache, and what the converters make of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import random
from mho.crossbar import currents, pulses
from mho.crossbar.blocks import Run
from mho.crossbar.job import Job
from mho.periphery import ADC


class Piece(NamedTuple):
    """Currents of one tile, one pulse (or all of them) and one run of lines.

    Attributes:
        rows: word lines of the tile.
        run: its bit lines.
        sent: the pulses.
        current: ``[groups, pulses, vectors, lines of the run]``.
        tile: number of the tile.
        rng: stream of the converters' own noise; None where they have none.
    """

    rows: slice
    run: Run
    sent: Pulses
    current: Tensor
    tile: int = 0
    rng: Tensor | None = None


class Pulses(NamedTuple):
    """What word lines of one tile are driven with: one pulse, or all of a vector side by side.

    Attributes:
        levels: of the word lines ``[groups, pulses · vectors, height]``.
        power: what noise goes by, shaped alike.
        weights: of each pulse in the digital sum.
        shares: of the gradient of the inputs' levels, what goes through each pulse.
    """

    levels: Tensor
    power: Tensor
    weights: tuple[float, ...]
    shares: tuple[float, ...]


class Clipped(NamedTuple):
    """Those currents of a piece that some converter clipped.

    Attributes:
        rows, run: as of a `Piece`.
        pulse: levels of the word lines ``[groups, currents, height]``.
        vector: which vector of the block each is of, ``[currents]``.
        weight, share: of its pulse, ``[currents, 1]``; see `Pulses`. A weight of 0 is of none.
        current: ``[groups, currents, lines of the run]``.
    """

    rows: slice
    run: Run
    pulse: Tensor
    vector: Tensor
    weight: Tensor
    share: Tensor
    current: Tensor


def pieces_of(level: Tensor, job: Job, rng: Tensor | None) -> Iterator[Piece]:
    """Yield the pieces of a block, tile by tile, pulse by pulse, run by run.

    Args:
        level: of the drivers ``[groups, vectors, rows]``.
        job: the read.
        rng: stream for read noise; None: torch's own generator.
    """
    noise = job.readout.noise
    for rows, sent in _sent(level, job):
        for run in job.plan.runs:
            current = _product(sent.levels, rows, run, job)
            if isinstance(noise, Tensor):
                own = _of_run(noise, rows, run)
                current = currents.with_noise(current, currents.variance_of(sent.power, own), rng)
            current = current.unflatten(1, (len(sent.weights), -1))
            yield _driven(Piece(rows, run, sent, current), job, rng)


def clipped_of(
    level: Tensor, masks: list[Tensor], job: Job, rng: Tensor | None
) -> Iterator[Clipped]:
    """Yield again what was clipped of a block's pieces, with the noise it had.

    Args:
        level: of the drivers ``[groups, vectors, rows]``.
        masks: as `Job` keeps them.
        job: the read.
        rng: stream for read noise, where it was.
    """
    if not masks:
        return
    noise, groups, count = job.readout.noise, len(level), level.shape[1]
    some = torch.stack(masks)
    found = some.flatten(1).any(1).tolist()
    vectors = some.flatten(0, 1).any(0).nonzero()[:, 0]
    pieces = iter(zip(found, some.index_select(2, vectors).flatten(1), strict=True))
    for rows, sent in _sent(level.index_select(1, vectors), job):
        weights, shares = (level.new_tensor(v).unsqueeze(1) for v in (sent.weights, sent.shares))
        for run in job.plan.runs:
            here, mask = next(pieces)
            if not here:
                if noise is not None and rng is not None:
                    random.skip(rng, 1)
                continue
            which = mask.nonzero()[:, 0]
            number = len(which)
            # Of few sizes: oneDNN keeps a program for every one (measured: 0.2 MB each).
            more = (1 << (number - 1).bit_length()) - number
            which = torch.cat((which, which[:1].expand(more)))
            vector = vectors[which % len(vectors)]
            pulse = sent.levels.index_select(1, which)
            current = _product(pulse, rows, run, job)
            if isinstance(noise, Tensor):
                like = current.new_empty(groups, count, current.shape[2])
                drawn = random.normal_like(like, rng).index_select(1, vector)
                power = sent.power.index_select(1, which)
                variance = currents.variance_of(power, _of_run(noise, rows, run))
                current = currents.with_noise(current, variance, rng, drawn)
            if job.readout.bias is not None:
                current.add_(_bias(rows, run, job))
            plane = which // len(vectors)
            weight = weights[plane]
            weight[number:] = 0.0
            yield Clipped(rows, run, pulse, vector, weight, shares[plane], current)


def _product(levels: Tensor, rows: slice, run: Run, job: Job) -> Tensor:
    drive = job.hardware.drive
    folded = isinstance(job.readout.unit, float) and job.readout.unit == 1.0
    serial = drive.mode == "bit_serial" and drive.planes_sent > 1 and not drive.converts_once
    matrix = job.readout.matrix[:, rows, run.lines]
    return currents.multiply(levels, matrix, bits=folded and serial)


def _driven(piece: Piece, job: Job, rng: Tensor | None) -> Piece:
    """Return a piece with what drivers add to its currents, and its converters' own stream."""
    converters = job.readout.converters
    if job.readout.bias is not None:
        piece.current.add_(_bias(piece.rows, piece.run, job).unsqueeze(1))
    draws = converters is not None and converters.noisy
    own = random.fork(rng, piece.current.device) if draws else None
    return piece._replace(tile=_tile(piece.rows, job), rng=own)


def _tile(rows: slice, job: Job) -> int:
    return int(rows.start // job.plan.tiles[0].stop)


def _bias(rows: slice, run: Run, job: Job) -> Tensor:
    """Return the current of the drivers' offsets on a tile, ``[groups, 1, lines]``."""
    assert job.readout.bias is not None
    tile = _tile(rows, job)
    return job.readout.bias[:, tile : tile + 1, run.lines]


def _of_run(noise: Tensor, rows: slice, run: Run) -> Tensor:
    """Return the variance of a piece's cells; see `Readout`."""
    if noise.dim() > 1:
        return noise[:, rows, run.lines]
    return noise[run.lines] if noise.numel() > 1 else noise


def _sent(level: Tensor, job: Job) -> Iterator[tuple[slice, Pulses]]:
    """Yield what the word lines of every tile are driven with."""
    if len(level) == 1:
        level = level.contiguous()  # read once for each plane
    noise = job.readout.noise
    summed = isinstance(noise, Tensor) and noise.dim() == 1
    planes = _planes(level, job) if job.plan.together else None
    for rows in job.plan.tiles:
        if planes is None:
            for sent in _pulses(level[..., rows], job):
                power = sent.power.sum(-1, keepdim=True) if summed else sent.power
                yield rows, sent._replace(power=power)
        else:
            levels = planes[..., rows].flatten(1, 2)
            yield rows, Pulses(levels, levels, *_weights(job))


def _weights(job: Job) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the weights of all pulses of a vector, and their shares of its gradient."""
    weights = job.hardware.drive.plane_weights
    whole = sum(weight**2 for weight in weights)
    return weights, tuple(weight / whole for weight in weights)


def _planes(level: Tensor, job: Job) -> Tensor:
    """Return all pulses of all vectors, ``[groups, pulses, vectors, rows]``."""
    drive, (groups, vectors, rows) = job.hardware.drive, level.shape
    if level.stride(-1) == 1:
        room = level.new_empty(groups, drive.planes_sent, vectors, rows)
    else:  # of a convolution in groups: the vectors of one row are neighbours
        room = level.new_empty(groups, rows, drive.planes_sent, vectors).permute(0, 2, 3, 1)
    drive.put_bits_of(level, room)
    room[:, 0].add_(level * 0.0)  # see `_pulses`
    return currents.in_units(room, job.readout)


def _pulses(level: Tensor, job: Job) -> Iterator[Pulses]:
    """Yield what word lines of one tile are driven with, one pulse after the other."""
    drive, noisy = job.hardware.drive, job.readout.noise is not None
    lasting = pulses.sends(job.hardware)

    def sent(pulse: Tensor) -> Tensor:
        return currents.in_units(pulse, job.readout)

    def power_of(level: Tensor, pulse: Tensor) -> Tensor:
        # May be overwritten, as the planes.
        return sent(sent(pulses.power(level, job.hardware))) if lasting else pulse.square()

    if not drive.serial:
        pulse = sent(level)
        yield Pulses(pulse, power_of(level, pulse) if noisy else pulse, (1.0,), (1.0,))
        return
    weights, shares = _weights(job)
    if drive.converts_once:
        # One conversion of what all planes add up to: the levels themselves, and all their noise.
        one, power = drive.joint_step, None
        if noisy:
            squares = (
                power_of(bits, sent(bits)).mul_((weight * one) ** 2)
                for weight, bits in zip(weights, drive.bits_of(level), strict=True)
            )
            power = sum(squares, torch.zeros((), dtype=level.dtype, device=level.device))
        pulse = sent(level * one)
        yield Pulses(pulse, pulse if power is None else power, (1.0,), (one,))
        return
    # Integers know no NaN: it goes with the first plane, and comes out of the sum as it went in.
    missing: Tensor | None = level * 0.0
    for weight, share, bits in zip(weights, shares, drive.bits_of(level), strict=True):
        pulse = sent(bits if missing is None else bits.add_(missing))
        missing = None
        yield Pulses(pulse, power_of(bits, pulse) if noisy else pulse, (weight,), (share,))


def by_converter(current: Tensor, job: Job, run: Run | None = None) -> Tensor:
    """View lines by converter: ``[groups, …, vectors, converters, lines]``."""
    each = slice(0, job.hardware.encoding.converters) if run is None else run.converters
    return current.unflatten(-1, (each.stop - each.start, -1))


def digital(
    current: Tensor, piece: Piece, limit: Tensor | None, job: Job, clipped: list[Tensor] | None
) -> Tensor:
    """Convert a piece, in place where no gradient is needed; in steps of what is on a grid.

    Args:
        current: of the piece.
        piece: what it is of.
        limit: full scale of the block; None where currents are in steps already.
        job: the read.
        clipped: where it is noted which currents are out of range (on a grid alone).
    """
    adc = job.adc
    if adc is None:
        return current
    if job.readout.converters is not None:
        return _erring(current.squeeze(1), piece, limit, job).unsqueeze(1)
    if not adc.on_grid:
        assert limit is not None
        lines = by_converter(current, job, piece.run)
        return adc.convert(lines, of_run(limit, piece.run).unsqueeze(-4)).flatten(-2)
    current = in_steps(current, piece.run, limit, job)
    if clipped is not None:
        clipped.append(_out_of_range(current, adc))
    return adc.to_levels(current)


def in_steps(
    current: Tensor, run: Run, limit: Tensor | None, job: Job, vector: Tensor | None = None
) -> Tensor:
    """Return currents in steps of their converters.

    Args:
        current: ``[groups, pulses, vectors, lines]``; or of some vectors each,
            ``[groups, currents, lines]``.
        run: which lines they are.
        limit: see `digital`.
        job: the read.
        vector: which those vectors are.
    """
    if job.readout.step is not None:
        return current
    assert job.adc is not None
    assert limit is not None
    own = of_run(limit, run)
    if vector is None:
        own = own.unsqueeze(-4)
    elif own.shape[-3] > 1:
        own = own.index_select(-3, vector)
    return job.adc.in_steps(by_converter(current, job, run), own).flatten(-2)


def of_run(limit: Tensor, run: Run) -> Tensor:
    """Return the full scale of a run's converters."""
    return limit[..., run.converters, :] if limit.shape[-2] > 1 else limit


def _out_of_range(current: Tensor, adc: ADC) -> Tensor:
    """Return which pulses of which vectors are clipped somewhere, ``[pulses, vectors]``."""
    low, high = adc.levels
    least = most = current
    if len(current) > 1:  # over all groups first: whole lines at once
        least, most = current.amin(0, keepdim=True), current.amax(0, keepdim=True)
    inside = (most.amax((0, 3)) < high + 0.5) & (least.amin((0, 3)) > low - 0.5)
    return ~inside  # a NaN hides what else there is


def _erring(current: Tensor, piece: Piece, limit: Tensor | None, job: Job) -> Tensor:
    """As `digital`, by converters with errors: ``[groups, vectors, lines]``."""
    adc, errors, run = job.adc, job.readout.converters, piece.run
    assert adc is not None
    assert errors is not None
    errors = errors.of_tiles(piece.tile, piece.tile + 1).of_lines(run.lines)
    if job.readout.step is not None:
        return errors.codes(current, piece.rng)
    assert limit is not None
    own, lines = of_run(limit, run), by_converter(current, job, run)
    if adc.on_grid:
        return errors.codes(adc.in_steps(lines, own).flatten(-2), piece.rng)
    wide = own.expand(*own.shape[:-1], lines.shape[-1])
    wide = wide.expand(*wide.shape[:-2], lines.shape[-2], -1).flatten(-2)
    return errors.signs(current, wide, piece.rng)


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
