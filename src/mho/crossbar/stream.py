"""Large reads in bounded memory: block by block of vectors, tile by tile, pulse by pulse.

    for each block: for each tile: for each bit plane: currents ──ADC──▶ added up, in the cache

Nothing but outputs outlives its block. Gradients work the currents of a block out anew, with the
noise they had: its stream is read again from where it was. Ranges that follow the currents are
measured first; a block whose currents fit in the cache is held for that, a larger one is worked
out twice.

What a read gives is what `mho.crossbar.read` defines, up to rounding and the order in which noise
is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mho.core import random
from mho.core.precision import exactly
from mho.crossbar import blocks
from mho.crossbar.blocks import Plan, Run, Slab, Vectors
from mho.crossbar.readout import Readout
from mho.hardware import Hardware
from mho.periphery import ADC, quantize
from mho.periphery.adc import NO_CURRENT


def suits(readout: Readout, hardware: Hardware) -> bool:
    """Whether an array is one product a tile, with white noise and nothing before the ADC."""
    plain = readout.cells is None and not isinstance(readout.noise, tuple)
    return plain and hardware.device.ohmic and hardware.amplified is None


def learns_more(readout: Readout, limit: Tensor | float | None, full_scale: Tensor | None) -> bool:
    """Whether gradients are asked for in more than the inputs and the matrix."""
    noise = readout.noise if isinstance(readout.noise, Tensor) else None
    more = (noise, readout.step, readout.scale, readout.unit, readout.digital, limit, full_scale)
    return any(isinstance(value, Tensor) and value.requires_grad for value in more)


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
    how = blocks.plan(readout, hardware, vectors.number, memory, measured=by_vector)
    stream = None if readout.noise is None else random.fork(rng, x.device)
    matrix, detached = readout.matrix, readout._replace(matrix=readout.matrix.detach())
    job = Job(detached, hardware, vectors, how, limit, full_scale, stream)
    if torch.is_grad_enabled() and (x.requires_grad or matrix.requires_grad):
        found: Tensor = _Read.apply(x, matrix, job)
        return found
    return _forward(x.detach(), job)


class _Read(torch.autograd.Function):
    """Keep the inputs alone, and work out the rest anew for the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, job: Job) -> Tensor:
        ctx.save_for_backward(x, matrix)
        ctx.job = job
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
    return factor / unit if drive.converts_once else factor


def _converted(level: Tensor, slab: Slab, job: Job) -> Tensor:
    """Return the converters' results added over tiles and planes, ``[groups, vectors, lines]``."""
    groups, count, _ = level.shape
    pieces: Iterable[_Piece] = _pieces(level, job, job.stream)
    if job.measures and not job.by_call:
        if job.plan.holds:
            pieces = held = list(pieces)
            job.ranges[slab.start] = _measured(lambda: held, count, job)
        else:

            def again() -> Iterator[_Piece]:
                return _pieces(level, job, _place(slab, job))

            job.ranges[slab.start] = _measured(again, count, job)
    limit = _limit(slab, job)
    lines = job.readout.matrix.shape[-1]
    total = level.new_zeros(groups, count, lines)
    for piece in pieces:
        added = _digital(piece.current, piece.run, limit, job)
        total[..., piece.run.lines].add_(added, alpha=piece.weight)
    step = _step(limit, job)
    return total if step is None else _split(total, job).mul_(step).flatten(-2)


def _place(slab: Slab, job: Job) -> Tensor | None:
    """Return the stream of noise as it was at the start of a block."""
    return None if job.stream is None else job.places[slab.start].clone()


class _Piece(NamedTuple):
    """Currents of one tile, one pulse and one run of lines.

    Attributes:
        rows: word lines of the tile.
        run: its bit lines.
        pulse: levels of the word lines ``[groups, vectors, height]``.
        weight: of the pulse in the digital sum.
        share: of the gradient of the inputs' levels that goes through this pulse.
        current: ``[groups, vectors, lines of the run]``.
    """

    rows: slice
    run: Run
    pulse: Tensor
    weight: float
    share: float
    current: Tensor


def _pieces(level: Tensor, job: Job, rng: Tensor | None) -> Iterator[_Piece]:
    matrix, noise = job.readout.matrix, job.readout.noise
    for rows in job.plan.tiles:
        for pulse, power, weight, share in _pulses(level[..., rows], job):
            if isinstance(noise, Tensor) and noise.dim() == 1:
                power = power.sum(-1, keepdim=True)
            for run in job.plan.runs:
                current = _product(pulse, matrix[:, rows, run.lines])
                if isinstance(noise, Tensor):
                    if noise.dim() == 1:
                        variance = power * (noise[run.lines] if noise.numel() > 1 else noise)
                    else:
                        variance = torch.bmm(power, noise[:, rows, run.lines])
                    deviation = variance.clamp_(min=0.0).sqrt_()
                    current.addcmul_(deviation, random.normal_like(current, rng))
                yield _Piece(rows, run, pulse, weight, share, current)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right`` of every group, without gradients.

    oneDNN's product is the faster one where both are there: twice on AMD processors (measured).
    """
    plain = left.dtype == torch.float32 and left.device.type == "cpu" and len(left) == 1
    if plain and _LINEAR is not None and not torch.is_autocast_enabled("cpu"):
        found: Tensor = _LINEAR(left[0], right[0].mT, None, "none", [], "")
        return found.unsqueeze(0)
    return torch.bmm(left, right)


def _onednn() -> Any:
    """Return oneDNN's linear map, which torch has for its compiler, or None."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_LINEAR = _onednn()


def _pulses(level: Tensor, job: Job) -> Iterator[tuple[Tensor, Tensor, float, float]]:
    """Yield what word lines of one tile are driven with, one pulse after the other.

    With each pulse come its power (what noise goes by), its weight in the digital sum, and the
    share of the gradient of the levels that goes through it.
    """
    drive, unit = job.hardware.drive, job.readout.unit
    folded = isinstance(unit, float) and unit == 1.0
    noisy = job.readout.noise is not None

    def sent(pulse: Tensor) -> Tensor:
        return pulse if folded else pulse * unit

    if drive.mode == "amplitude":
        pulse = sent(level)
        yield pulse, pulse.square() if noisy else pulse, 1.0, 1.0
        return
    weights, level = drive.plane_weights, level.contiguous()  # read once for each plane
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
    for weight, bits in zip(weights, drive.bits_of(level), strict=True):
        pulse = sent(bits)
        yield pulse, pulse.square() if noisy else pulse, weight, weight / whole


def _split(current: Tensor, job: Job, run: Run | None = None) -> Tensor:
    """View lines by converter: ``[groups, vectors, converters, lines]``."""
    each = slice(0, job.hardware.encoding.converters) if run is None else run.converters
    return current.unflatten(-1, (each.stop - each.start, -1))


def _digital(current: Tensor, run: Run, limit: Tensor | None, job: Job) -> Tensor:
    """Convert a piece, in place where no gradient is needed; in steps of what is on a grid."""
    adc = job.adc
    if adc is None:
        return current
    if job.readout.step is not None:
        return adc.to_levels(current)
    assert limit is not None
    own = limit[..., run.converters, :] if limit.shape[-2] > 1 else limit
    split = _split(current, job, run)
    if adc.on_grid:
        scaled = split / adc.step(own) if split.requires_grad else split.div_(adc.step(own))
        return adc.to_levels(scaled).flatten(-2)
    return adc.convert(split, own).flatten(-2)


def _step(limit: Tensor | None, job: Job) -> Tensor | None:
    """Return the steps that results are counted in, ``[…, converters, 1]``; None for amperes."""
    adc, step = job.adc, job.readout.step
    if adc is None or not adc.on_grid:
        return None
    if step is not None:
        converters = job.hardware.encoding.converters
        return step if step.numel() == 1 else step.unflatten(-1, (converters, -1))
    assert limit is not None
    return adc.step(limit)


# ── ranges ───────────────────────────────────────────────────────────────────────────────────


def _limit(slab: Slab, job: Job) -> Tensor | None:
    """Return the full scale ``[…, converters, 1]`` of a block; two ends for min–max methods."""
    if job.adc is None or job.readout.step is not None:
        return None
    if job.full_scale is not None:
        return job.full_scale.view(1, 1, -1, 1)
    return job.ranges[-1 if job.by_call else slab.start]


def _measured(pieces: Callable[[], Iterable[_Piece]], count: int, job: Job) -> Tensor:
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
    def sizes(piece: _Piece) -> _Piece:
        own = most[..., _own(piece, job), :]
        size = _split(piece.current, job, piece.run).abs()
        size = torch.where(size > own * torch.finfo(own.dtype).eps, size, own)
        return piece._replace(current=size.flatten(-2))

    least, _ = _extremes((sizes(piece) for piece in pieces()), count, job)
    return torch.stack((least, most))


def _extremes(pieces: Iterable[_Piece], count: int, job: Job) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest current of every vector and converter, or of the whole call."""
    converters = 1 if job.by_call else job.hardware.encoding.converters
    shape = (1, count, converters, 1)
    lowest = job.readout.matrix.new_full(shape, math.inf)
    highest = -lowest
    over = (0, 1, 2, 3) if job.by_call else (0, 3)
    for piece in pieces:
        split, own = _split(piece.current, job, piece.run), _own(piece, job)
        low, high = split.amin(over, keepdim=True), split.amax(over, keepdim=True)
        lowest[..., own, :] = torch.minimum(lowest[..., own, :], low)
        highest[..., own, :] = torch.maximum(highest[..., own, :], high)
    return lowest, highest


def _own(piece: _Piece, job: Job) -> slice:
    """Return where the ranges of a piece's converters are among all."""
    return slice(0, 1) if job.by_call else piece.run.converters


def _over_the_call(x: Tensor, job: Job) -> Tensor:
    """Return the range of all currents of a call, worked out for that and not kept."""

    def pieces() -> Iterator[_Piece]:
        rng = None if job.stream is None else job.stream.clone()
        for slab in job.vectors.slabs(job.plan.vectors):
            level, _ = _driven(job.vectors.take(x, slab.ranges), slab, job)
            yield from _pieces(level, job, rng)

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
    matrix, limit = job.readout.matrix, _limit(slab, job)
    of_total = _assembled_back(results, job)
    step = _step(limit, job)
    if step is not None:
        of_total = _split(of_total, job).mul(step).flatten(-2)
    of_level = torch.empty_like(level) if for_x else None
    added = torch.empty_like(of_total) if for_x else None
    for rows, tile in groupby(_pieces(level, job, _place(slab, job)), lambda piece: piece.rows):
        if added is not None:
            added.zero_()
        for piece in tile:
            lines = piece.run.lines
            of_current = _through_converter(piece, of_total[..., lines], limit, job)
            if of_matrix is not None:
                _add_product(of_matrix[:, rows, lines], piece.pulse, of_current, piece.weight)
            if added is not None:  # one product for all planes: what meets them is one matrix
                added[..., lines].add_(of_current, alpha=piece.weight * piece.share)
        if of_level is not None and added is not None:
            of_level[..., rows] = _product(added, matrix[:, rows].mT)
    return of_level if of_level is None else of_level.mul_(job.readout.unit)


def _assembled_back(results: Tensor, job: Job) -> Tensor:
    """Return the gradient of converters' results for that of the assembled ones (linear)."""
    readout, encoding = job.readout, job.hardware.encoding
    shape = (*results.shape[:-1], readout.matrix.shape[-1])
    with torch.enable_grad():
        total = results.new_zeros(shape, requires_grad=True)
        outputs = encoding.assemble(total, readout.digital)
    (found,) = torch.autograd.grad(outputs, total, results)
    return found


def _through_converter(piece: _Piece, grad: Tensor, limit: Tensor | None, job: Job) -> Tensor:
    """Return the gradient of a piece's currents; it passes where nothing was clipped."""
    if job.adc is None:
        return grad
    current = piece.current.requires_grad_()
    with torch.enable_grad():
        converted = _digital(current, piece.run, limit, job)
    (found,) = torch.autograd.grad(converted, current, grad)
    return found


def _add_product(total: Tensor, pulse: Tensor, grad: Tensor, weight: float) -> None:
    """Add ``weight · pulseᵀ @ grad`` of every group, in place."""
    for out, left, right in zip(total, pulse, grad, strict=True):
        out.addmm_(left.mT.to(out.dtype), right.to(out.dtype), alpha=weight)
