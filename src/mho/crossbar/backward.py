"""Gradients of large reads in bounded memory, block by block; see `mho.crossbar.stream`."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from mho.crossbar.blocks import Slab
from mho.crossbar.currents import in_units, multiply
from mho.crossbar.job import Job, driven, factor, full_scale_of, place
from mho.crossbar.pieces import (
    Clipped,
    Piece,
    by_converter,
    clipped_of,
    digital,
    in_steps,
    pieces_of,
    step_of,
)


def backward(
    x: Tensor, matrix: Tensor, grad: Tensor, job: Job, for_x: bool, for_matrix: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of the inputs and of the matrix, where they are asked for."""
    of_x = torch.zeros_like(x) if for_x else None
    of_matrix = torch.zeros_like(matrix) if for_matrix else None
    for slab in job.vectors.slabs(job.plan.vectors):
        part = job.vectors.take(x, slab.ranges).detach().requires_grad_(for_x)
        with torch.enable_grad():
            level, limit = driven(part, slab, job)
        results = job.vectors.of(slab, grad).flatten(1, -2) * factor(limit, job)
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
    matrix, limit = job.readout.matrix, full_scale_of(slab, job)
    step = step_of(limit, job)
    if step is not None:
        of_total = by_converter(of_total, job).mul(step).flatten(-2)
    of_level = torch.empty_like(level) if for_x else None
    added = torch.empty_like(of_total) if for_x else None
    for rows, tile in groupby(pieces_of(level, job, place(slab, job)), lambda piece: piece.rows):
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
    for found in clipped_of(level, job.clipped.get(slab.start, []), job, place(slab, job)):
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
    current = in_steps(found.current, found.run, full_scale_of(slab, job), job, found.vector)
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
