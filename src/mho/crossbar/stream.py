"""Large reads in bounded memory: block by block of vectors, tile by tile, pulse by pulse.

    for each block: for each tile: for each bit plane: currents ──ADC──▶ added up, in the cache

Nothing but outputs outlives its block (and, for gradients, which currents were clipped in it).
Ranges that follow the currents are measured first; a block whose currents fit in the cache is held
for that, a larger one is worked out twice. All bit planes of a few vectors are one product.

Gradients pass a converter on a grid as they are unless it clips. So those of all tiles and planes
are one product, less those of the few currents that were clipped: which, the read has noted; these
are worked out anew, with the noise they had (the stream is read again from where it was). Of other
converters all currents are.

What a read gives is what `mho.crossbar.read` defines, up to rounding and the order in which noise
is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from mho.core import random
from mho.core.constants import constant
from mho.core.precision import exactly
from mho.crossbar import blocks, pulses
from mho.crossbar.blocks import Slab, Vectors
from mho.crossbar.currents import in_units, multiply
from mho.crossbar.pieces import (
    Clipped,
    Job,
    Piece,
    by_converter,
    clipped_of,
    digital,
    in_steps,
    pieces_of,
    step_of,
)
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.periphery import quantize
from mho.periphery.adc import NO_CURRENT, rounding_of


def suits(readout: Readout, hardware: Hardware) -> bool:
    """Whether an array is one product a tile, with white noise and nothing before the ADC."""
    plain = readout.cells is None and not isinstance(readout.noise, tuple)
    plain = plain and pulses.plain(hardware, noisy=False)
    return plain and hardware.device.ohmic and hardware.amplified is None


def learns_more(readout: Readout, limit: Tensor | float | None, full_scale: Tensor | None) -> bool:
    """Whether gradients are asked for in more than the inputs and the matrix."""
    noise = readout.noise if isinstance(readout.noise, Tensor) else None
    own = (noise, readout.step, readout.scale, readout.unit, readout.digital, readout.bias)
    more = (*own, limit, full_scale)
    return any(isinstance(value, Tensor) and value.requires_grad for value in more)


def read(
    x: Tensor,
    readout: Readout,
    hardware: Hardware,
    vectors: Vectors,
    *,
    limit: Tensor | float | None,
    full_scale: Tensor | None,
    rng: Tensor | None,
    memory: int,
) -> Tensor:
    """Read in blocks; see `mho.crossbar.read.product`.

    Args:
        x: inputs.
        readout: the array, one that `suits`.
        hardware: what it is made of.
        vectors: where they are in ``x``.
        limit: input magnitude of the largest voltage, for all or each vector
            ``[1, vectors, 1]``; None measures each vector.
        full_scale: of the ADC (A) ``[converters]``; None measures the currents.
        rng: stream for read noise; None: torch's own generator.
        memory: what a block may take (bytes).

    Returns:
        ``[groups, batch, …, cols]``, differentiable in ``x`` and the array's matrix.
    """
    adc = hardware.adc
    measured = adc is not None and readout.step is None and full_scale is None
    by_vector = measured and adc is not None and adc.range != "per_call"
    draws = readout.noise is not None
    draws = draws or (readout.converters is not None and readout.converters.noisy)
    how = blocks.plan(readout, hardware, vectors.number, memory, measured=by_vector, draws=draws)
    stream = random.fork(rng, x.device) if draws else None
    matrix, detached = readout.matrix, readout._replace(matrix=readout.matrix.detach())
    job = Job(detached, hardware, vectors, how, limit, full_scale, stream)
    if torch.is_grad_enabled() and (x.requires_grad or matrix.requires_grad):
        found: Tensor = _Read.apply(x, matrix, job)
        return found
    return _forward(x.detach(), job)


class _Read(torch.autograd.Function):
    """Keep the inputs, and what was clipped; work out the rest anew for the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, job: Job) -> Tensor:
        ctx.save_for_backward(x, matrix)
        ctx.job, job.follows = job, True
        return _forward(x, job)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, matrix = ctx.saved_tensors
        needs = ctx.needs_input_grad
        with exactly(x.device):  # as `Reader.product` has read it
            found = _backward(x, matrix, grads[0], ctx.job, needs[0], needs[1])
        return *found, None


# ── forward ──────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def _forward(x: Tensor, job: Job) -> Tensor:
    readout, encoding = job.readout, job.hardware.encoding
    if job.by_call:
        job.ranges[-1] = _over_the_call(x, job)
    out = None
    for slab in job.vectors.slabs(job.plan.vectors):
        level, limit = _driven(job.vectors.take(x, slab.ranges), slab, job)
        if job.stream is not None:
            job.places[slab.start] = job.stream.clone()
        total = _converted(level, slab, job)
        y = encoding.assemble(total, readout.digital).mul_(_factor(limit, job))
        if out is None:
            out = job.vectors.empty(y, y.shape[0], y.shape[2])
        room = job.vectors.of(slab, out)
        room.copy_(y.view(room.shape))
    assert out is not None
    return out


def _driven(part: Tensor, slab: Slab, job: Job) -> tuple[Tensor, Tensor | float]:
    """Return levels ``[groups, vectors, rows]``, and the input that is the largest voltage."""
    drive, vectors = job.hardware.drive, job.vectors
    limit = blocks.limit_of(slab, job.limit, vectors.number)
    if not vectors.raw:
        assert limit is not None
        return vectors.unfold(drive.to_levels(part, limit)), limit
    rows = vectors.unfold(part)
    if limit is None:
        limit = drive.measure(rows, (0, 2))
    return drive.to_levels(rows, limit), limit


def _factor(limit: Tensor | float, job: Job) -> Tensor:
    """Return what assembled results are multiplied by, those of a block."""
    drive, unit = job.hardware.drive, job.hardware.drive.step_per_range
    factor = job.readout.scale * (limit * unit)
    return factor / drive.joint_step if drive.converts_once else factor


def _converted(level: Tensor, slab: Slab, job: Job) -> Tensor:
    """Return the converters' results added over tiles and planes, ``[groups, vectors, lines]``."""
    groups, count, _ = level.shape
    pieces: Iterable[Piece] = pieces_of(level, job, job.stream)
    if job.measures and not job.by_call:
        if job.plan.holds:
            pieces = held = list(pieces)
            job.ranges[slab.start] = _measured(lambda: held, count, job)
        else:

            def again() -> Iterator[Piece]:
                return pieces_of(level, job, _place(slab, job))

            job.ranges[slab.start] = _measured(again, count, job)
    limit = _limit(slab, job)
    lines = job.readout.matrix.shape[-1]
    total = level.new_zeros(groups, count, lines)
    whole = _sums_are_exact(job)
    clipped: list[Tensor] | None = [] if job.follows and job.passes and job.clips else None
    for piece in pieces:
        added = digital(piece.current, piece, limit, job, clipped)
        _add_pulses(total[..., piece.run.lines], added, piece.sent.weights, whole=whole)
    if clipped and bool(torch.stack([mask.any() for mask in clipped]).any()):
        job.clipped[slab.start] = clipped
    step = step_of(limit, job)
    return total if step is None else by_converter(total, job).mul_(step).flatten(-2)


def _sums_are_exact(job: Job) -> bool:
    """Whether converters' results of all tiles and pulses are integers, also added up."""
    adc, weights = job.adc, job.hardware.drive.plane_weights
    if adc is None or not adc.on_grid:
        return False
    most = max(map(abs, adc.levels)) * sum(map(abs, weights)) * len(job.plan.tiles)
    return most * torch.finfo(job.readout.matrix.dtype).eps < 1.0


def _add_pulses(total: Tensor, added: Tensor, weights: tuple[float, ...], *, whole: bool) -> None:
    """Add results ``[groups, pulses, vectors, lines]`` by weight, one call where order is free."""
    if whole and len(weights) > 1:
        by_weight = constant(weights, total.dtype, total.device)
        total.add_(torch.matmul(by_weight, added.flatten(2)).view(total.shape))  # one pass
        return
    for one, weight in zip(added.unbind(1), weights, strict=True):
        total.add_(one, alpha=weight)


def _place(slab: Slab, job: Job) -> Tensor | None:
    """Return the stream of noise as it was at the start of a block."""
    return None if job.stream is None else job.places[slab.start].clone()


# ── ranges ───────────────────────────────────────────────────────────────────────────────────


def _limit(slab: Slab, job: Job) -> Tensor | None:
    """Return the full scale ``[…, converters, 1]`` of a block; two ends for min–max methods."""
    if job.adc is None or job.readout.step is not None:
        return None
    if job.full_scale is not None:
        return job.full_scale.view(1, 1, -1, 1)
    return job.ranges[-1 if job.by_call else slab.start]


def _measured(pieces: Callable[[], Iterable[Piece]], count: int, job: Job) -> Tensor:
    """Return the range that currents ask for by themselves, as `mho.ADC.measure` defines it.

    Args:
        pieces: gives them, as often as it is asked to.
        count: vectors that have ranges of their own; 1 if all have one.
        job: the read.

    Returns:
        ``[1, count, converters, 1]``; of min–max methods two ends of these.
    """
    adc = job.adc
    assert adc is not None
    lowest, highest = _extremes(pieces(), count, job)
    if adc.method == "minmax":
        return torch.stack((lowest, highest))
    most = quantize.instead_of_zero(torch.maximum(-lowest, highest), NO_CURRENT)
    if adc.ranged:
        return most

    # What rounding leaves of a current that cancels is no current.
    def sizes(piece: Piece) -> Piece:
        own = most[..., _own(piece, job), :].unsqueeze(1)
        size = by_converter(piece.current, job, piece.run).abs()
        size = torch.where(size > rounding_of(own), size, own)
        return piece._replace(current=size.flatten(-2))

    least, _ = _extremes((sizes(piece) for piece in pieces()), count, job)
    return torch.stack((least, most))


def _extremes(pieces: Iterable[Piece], count: int, job: Job) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest current of every vector and converter, or of the whole call."""
    converters = 1 if job.by_call else job.hardware.encoding.converters
    lowest = job.readout.matrix.new_full((1, count, converters, 1), math.inf)
    highest = -lowest
    over = (0, 1, 2, 3) if job.by_call else (0, 3)
    for piece in pieces:
        lines, own = by_converter(piece.current, job, piece.run), _own(piece, job)
        least, most = lowest[..., own, :], highest[..., own, :]
        # Over all pulses and groups first: whole lines at once.
        over_pulses = lines.shape[1] > 1
        low = lines.amin(1) if over_pulses else lines.squeeze(1)
        high = lines.amax(1) if over_pulses else low
        if len(lines) > 1:
            low, high = low.amin(0, keepdim=True), high.amax(0, keepdim=True)
        torch.minimum(least, low.amin(over, keepdim=True), out=least)
        torch.maximum(most, high.amax(over, keepdim=True), out=most)
    return lowest, highest


def _own(piece: Piece, job: Job) -> slice:
    """Return where the ranges of a piece's converters are among all."""
    return slice(0, 1) if job.by_call else piece.run.converters


def _over_the_call(x: Tensor, job: Job) -> Tensor:
    """Return the range of all currents of a call, worked out for that and not kept."""

    def pieces() -> Iterator[Piece]:
        rng = None if job.stream is None else job.stream.clone()
        for slab in job.vectors.slabs(job.plan.vectors):
            level, _ = _driven(job.vectors.take(x, slab.ranges), slab, job)
            yield from pieces_of(level, job, rng)

    return _measured(pieces, 1, job)


# ── backward ─────────────────────────────────────────────────────────────────────────────────


def _backward(
    x: Tensor, matrix: Tensor, grad: Tensor, job: Job, for_x: bool, for_matrix: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of the inputs and of the matrix, where they are asked for."""
    of_x = torch.zeros_like(x) if for_x else None
    of_matrix = torch.zeros_like(matrix) if for_matrix else None
    for slab in job.vectors.slabs(job.plan.vectors):
        part = job.vectors.take(x, slab.ranges).detach().requires_grad_(for_x)
        with torch.enable_grad():
            level, limit = _driven(part, slab, job)
        results = job.vectors.of(slab, grad).flatten(1, -2) * _factor(limit, job)
        of_level = _through_block(level.detach(), slab, results, job, of_matrix, for_x=for_x)
        if of_x is not None:
            (of_part,) = torch.autograd.grad(level, part, of_level)
            job.vectors.take(of_x, slab.ranges).add_(of_part)
    return of_x, of_matrix


def _through_block(
    level: Tensor, slab: Slab, results: Tensor, job: Job, of_matrix: Tensor | None, *, for_x: bool
) -> Tensor | None:
    """Return the gradient of a block's levels; add that of the matrix to ``of_matrix``.

    Args:
        level: ``[groups, vectors, rows]``.
        slab: which vectors they are.
        results: gradient of the block's assembled results ``[groups, vectors, cols]``.
        job: the read.
        of_matrix: where the gradient of the matrix is added; None if nobody asks.
        for_x: whether that of the levels is asked for.
    """
    of_total = _assembled_back(results, job)
    if job.passes:
        return _passed(level, slab, of_total, job, of_matrix, for_x=for_x)
    matrix, limit = job.readout.matrix, _limit(slab, job)
    step = step_of(limit, job)
    if step is not None:
        of_total = by_converter(of_total, job).mul(step).flatten(-2)
    of_level = torch.empty_like(level) if for_x else None
    added = torch.empty_like(of_total) if for_x else None
    for rows, tile in groupby(pieces_of(level, job, _place(slab, job)), lambda piece: piece.rows):
        if added is not None:
            added.zero_()
        for piece in tile:
            lines = piece.run.lines
            of_current = _through_converter(piece, of_total[..., lines], limit, job)
            levels = piece.sent.levels.unflatten(1, (of_current.shape[1], -1))
            each = zip(of_current.unbind(1), levels.unbind(1), strict=True)
            weights = zip(piece.sent.weights, piece.sent.shares, strict=True)
            for (one, pulse), (weight, share) in zip(each, weights, strict=True):
                if of_matrix is not None:
                    _add_product(of_matrix[:, rows, lines], pulse, one, weight)
                if added is not None:  # one product for all planes: what meets them is one matrix
                    added[..., lines].add_(one, alpha=weight * share)
        if of_level is not None and added is not None:
            of_level[..., rows] = multiply(added, matrix[:, rows].mT)
    return of_level if of_level is None else of_level.mul_(job.readout.unit)


def _passed(
    level: Tensor, slab: Slab, of_total: Tensor, job: Job, of_matrix: Tensor | None, *, for_x: bool
) -> Tensor | None:
    """As `_through_block`, where gradients pass all that was not clipped.

    Args:
        level: ``[groups, vectors, rows]``.
        slab: which vectors they are.
        of_total: gradient of what converters' results add up to, ``[groups, vectors, lines]``.
        job: the read.
        of_matrix: where the gradient of the matrix is added; None if nobody asks.
        for_x: whether that of the levels is asked for.
    """
    matrix, unit, drive = job.readout.matrix, job.readout.unit, job.hardware.drive
    if job.readout.step is not None:  # results are counted in steps, currents are in them
        step = step_of(None, job)
        assert step is not None
        of_total = by_converter(of_total, job).mul(step).flatten(-2)
    share = drive.joint_step if drive.converts_once else 1.0
    if of_matrix is not None:
        _add_product(of_matrix, in_units(level, job.readout), of_total, share)
    of_level = multiply(of_total, matrix.mT).mul_(share) if for_x else None
    for found in clipped_of(level, job.clipped.get(slab.start, []), job, _place(slab, job)):
        lost = _lost(found, of_total, slab, job)
        lines = found.run.lines
        if of_matrix is not None:
            _add_product(of_matrix[:, found.rows, lines], found.pulse, lost, -1.0)
        if of_level is not None:
            back = multiply(lost * found.share, matrix[:, found.rows, lines].mT)
            of_level[..., found.rows].index_add_(1, found.vector, back, alpha=-1.0)
    return of_level if of_level is None else of_level.mul_(unit)


def _lost(found: Clipped, of_total: Tensor, slab: Slab, job: Job) -> Tensor:
    """Return the gradients that clipped currents did not pass, by the weights of their pulses."""
    assert job.adc is not None
    low, high = job.adc.levels
    current = in_steps(found.current, found.run, _limit(slab, job), job, found.vector)
    lost = of_total[..., found.run.lines].index_select(1, found.vector)
    clipped = (current <= low - 0.5) | (current >= high + 0.5)
    return torch.where(clipped, lost, 0.0).mul_(found.weight)


def _assembled_back(results: Tensor, job: Job) -> Tensor:
    """Return the gradient of converters' results for that of the assembled ones (linear)."""
    readout, encoding = job.readout, job.hardware.encoding
    shape = (*results.shape[:-1], readout.matrix.shape[-1])
    with torch.enable_grad():
        total = results.new_zeros(shape, requires_grad=True)
        outputs = encoding.assemble(total, readout.digital)
    (found,) = torch.autograd.grad(outputs, total, results)
    return found


def _through_converter(piece: Piece, grad: Tensor, limit: Tensor | None, job: Job) -> Tensor:
    """Return the gradient of a piece's currents from that of its results."""
    grad = grad.unsqueeze(1).expand(piece.current.shape)
    if job.adc is None:
        return grad
    current = piece.current.requires_grad_()
    with torch.enable_grad():
        converted = digital(current, piece, limit, job, None)
    (found,) = torch.autograd.grad(converted, current, grad)
    return found


def _add_product(total: Tensor, pulse: Tensor, grad: Tensor, weight: float) -> None:
    """Add ``weight · pulseᵀ @ grad`` of every group, in place."""
    for out, left, right in zip(total, pulse, grad, strict=True):
        out.addmm_(left.mT.to(out.dtype), right.to(out.dtype), alpha=weight)
