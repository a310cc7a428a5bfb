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
from typing import Any

import torch
from torch import Tensor

from mho.core import random
from mho.core.constants import constant
from mho.core.precision import exactly
from mho.crossbar import blocks, pulses
from mho.crossbar.backward import backward
from mho.crossbar.blocks import Slab, Vectors
from mho.crossbar.job import Job, driven, factor, full_scale_of, place
from mho.crossbar.pieces import Piece, by_converter, digital, pieces_of, step_of
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
            found = backward(x, matrix, grads[0], ctx.job, needs[0], needs[1])
        return *found, None


# ── forward ──────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def _forward(x: Tensor, job: Job) -> Tensor:
    readout, encoding = job.readout, job.hardware.encoding
    if job.by_call:
        job.ranges[-1] = _over_the_call(x, job)
    out = None
    for slab in job.vectors.slabs(job.plan.vectors):
        level, limit = driven(job.vectors.take(x, slab.ranges), slab, job)
        if job.stream is not None:
            job.places[slab.start] = job.stream.clone()
        total = _converted(level, slab, job)
        y = encoding.assemble(total, readout.digital).mul_(factor(limit, job))
        if out is None:
            out = job.vectors.empty(y, y.shape[0], y.shape[2])
        room = job.vectors.of(slab, out)
        room.copy_(y.view(room.shape))
    assert out is not None
    return out


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
                return pieces_of(level, job, place(slab, job))

            job.ranges[slab.start] = _measured(again, count, job)
    limit = full_scale_of(slab, job)
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


# ── ranges ───────────────────────────────────────────────────────────────────────────────────


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
            level, _ = driven(job.vectors.take(x, slab.ranges), slab, job)
            yield from pieces_of(level, job, rng)

    return _measured(pieces, 1, job)
