"""Matrix-free conjugate gradients, for arrays too large to factorise and few voltages.

The unknowns are the cell currents ``J``, and lines enter through their resistance, not their
conductance: ``J = g (V - R J)``, where ``R J`` (drops along both lines) costs four running sums.
With ``z = J / sqrt(g)`` this is ``(I + sqrt(g) R sqrt(g)) z = sqrt(g) V``: symmetric, all
eigenvalues >= 1, and well posed for zero conductances and zero resistances alike. The condition
number is about ``1 + (wire resistance) / (cell resistance)``, so good wires need a handful of
sweeps, where a fixed-point iteration ``J <- g (V - R J)`` needs more, or diverges. Since no
eigenvalue is below 1, the residual bounds the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mho.circuit.grid import Grid

TOLERANCE = 1e-14
"""Residual at which an iteration ends, relative to the right-hand side."""

LIMIT = 5000
"""Most iterations before giving up."""


def most_iterations(grid: Grid) -> float:
    """Return how many iterations suffice: ``sqrt(kappa) / 2 * ln(2 / tolerance)``.

    The matrix ``sqrt(g) R sqrt(g)`` has no negative entry, so its largest eigenvalue is at most its
    largest row sum, which costs one sweep.
    """
    with torch.no_grad():
        root = grid.cells.sqrt()[:, None]
        kappa = 1 + float((root * _drop(grid, root)).max())
    return math.sqrt(kappa) / 2 * math.log(2 / TOLERANCE)


def cell_currents(grid: Grid, drivers: Tensor, sinks: Tensor, limit: int = LIMIT) -> Tensor:
    """Return the current through every cell (once differentiable).

    Args:
        grid: canonical arrays.
        drivers: driver voltages ``[N, V, m]`` [V].
        sinks: sink voltages ``[N, V, n]`` [V].
        limit: most iterations.

    Returns:
        Currents ``[N, V, m, n]`` [A].

    Raises:
        RuntimeError: if ``limit`` iterations do not suffice.
    """
    across = drivers[..., :, None] - sinks[..., None, :]
    cells = grid.cells[:, None]
    with torch.no_grad():
        currents = _solved(grid, across, limit)
    if not (torch.is_grad_enabled() and _needs_grad(grid, across)):
        return currents
    # The residual is zero, but not its gradient: one implicit correction carries that through.
    residual = cells * (across - _drop(grid, currents)) - currents
    return currents + _Correction.apply(residual, grid, limit)


def effective(grid: Grid, limit: int = LIMIT) -> Tensor:
    """Return the effective conductance matrices ``[N, m, n]``, one iteration per shorter-side line.

    By reciprocity the sinks may be driven and the drivers sensed, so the shorter side is driven.
    """
    count, m, n = grid.cells.shape
    eye = torch.eye(min(m, n), dtype=grid.cells.dtype, device=grid.cells.device)
    unit = eye.expand(count, -1, -1)
    if m <= n:
        return cell_currents(grid, unit, unit.new_zeros(1, 1, n), limit).sum(-2)
    return cell_currents(grid, unit.new_zeros(1, 1, m), -unit, limit).sum(-1).mT


def _needs_grad(grid: Grid, across: Tensor) -> bool:
    parts = (grid.cells, grid.word, grid.bit, grid.end, across)
    return any(part is not None and part.requires_grad for part in parts)


def _drop(grid: Grid, currents: Tensor) -> Tensor:
    return grid.word_drop(currents) + grid.bit_rise(currents)


def _solved(grid: Grid, across: Tensor, limit: int) -> Tensor:
    root = grid.cells.sqrt()[:, None]
    right = root * across
    goal = TOLERANCE**2 * square(right)
    z, residual = conjugate_gradients(
        lambda d: d + root * _drop(grid, root * d), right, lambda _, r: square(r) > goal, limit
    )
    missing = square(residual)
    if bool((missing > goal).any()):
        worst = float((missing / goal.clamp_min(1e-300)).max().sqrt()) * TOLERANCE
        raise RuntimeError(
            f"conjugate gradients stopped after {limit} iterations at a residual of {worst:.1e}, "
            f"wanted {TOLERANCE:.0e}: the lines' resistance is too far above the cells'; "
            f"use method='merge'"
        )
    return root * z


def conjugate_gradients(
    image: Callable[[Tensor], Tensor],
    right: Tensor,
    going: Callable[[Tensor, Tensor], Tensor],
    limit: int,
) -> tuple[Tensor, Tensor]:
    """Solve ``image(z) = right`` by conjugate gradients, every right-hand side on its own.

    Args:
        image: a symmetric positive linear map of ``[N, V, m, n]``.
        right: right-hand sides ``[N, V, m, n]``.
        going: of ``z`` and its residual, says which of them to go on with ``[N, V, 1, 1]``.
        limit: most iterations.

    Returns:
        ``z`` and its residual ``right - image(z)``.
    """
    z = torch.zeros_like(right)
    residual, direction = right.clone(), right.clone()
    size = square(residual)
    for _ in range(limit):
        active = going(z, residual)
        if not bool(active.any()):
            break
        moved = image(direction)
        # Right-hand sides that are done stay where they are.
        step = torch.where(active, _ratio(size, (direction * moved).sum((-2, -1), True)), 0.0)
        z += step * direction
        residual -= step * moved
        newer = square(residual)
        direction = residual + _ratio(newer, size) * direction
        size = newer
    return z, residual


def square(values: Tensor) -> Tensor:
    """Return the sum of squares of each ``[m, n]``, ``[..., 1, 1]``."""
    return values.square().sum((-2, -1), keepdim=True)


def _ratio(top: Tensor, bottom: Tensor) -> Tensor:
    return torch.where(bottom > 0, top / torch.where(bottom > 0, bottom, 1.0), 0.0)


class _Correction(torch.autograd.Function):
    """``(I + g R)^-1 r`` at ``r = 0``: forward nothing, backward the adjoint solution."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, grid: Grid, limit: int) -> Tensor:
        ctx.grid = Grid(
            grid.cells.detach(),
            grid.word.detach(),
            grid.bit.detach(),
            None if grid.end is None else grid.end.detach(),
        )
        ctx.limit = limit
        return torch.zeros_like(residual)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        # (I + R g)^-1 v = v - R (I + g R)^-1 g v, and the second factor is the forward problem.
        return grad - _drop(ctx.grid, _solved(ctx.grid, grad, ctx.limit)), None, None
