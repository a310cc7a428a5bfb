"""Arrays of cells of any current–voltage law on real wires."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from mho.circuit.companion import Network, respond
from mho.circuit.grid import Grid, turn_cols, turn_rows
from mho.circuit.lines import Ohms
from mho.circuit.newton import CellLaw, Found, Law, Verdict, cell_voltages, newton, refusal
from mho.circuit.problem import Terminals, arrays, terminals
from mho.circuit.solution import Solution, as_given, complete
from mho.circuit.wires import Wires
from mho.core.checks import instance, integer, number

CELLS_AT_ONCE = 1 << 17
"""Cells times vectors solved together where a law lets us: more leaves the cache (measured)."""


@dataclass(frozen=True)
class NonlinearSolution(Solution):
    """A solution, and how well it is one.

    Args:
        residual: largest violation of Kirchhoff's current law at a node, relative to the largest
            cell current ``[...]``.
        steps: Newton steps taken, by the slowest.
    """

    residual: Tensor
    steps: int


def solve_nonlinear(
    current: Law,
    shape: tuple[int, ...],
    wires: Wires,
    voltages: Tensor,
    *,
    slope: Law | None = None,
    sink: Tensor | float = 0.0,
    floating_words: Tensor | None = None,
    floating_bits: Tensor | None = None,
    source: Ohms | None = None,
    word: Ohms | None = None,
    bit: Ohms | None = None,
    sense: Ohms | None = None,
    tolerance: float | None = None,
    limit: int = 100,
) -> NonlinearSolution:
    """Solve arrays whose cells follow any law ``I = f(v)``, batched over arrays and vectors.

    Differentiable in voltages, resistances and whatever the law depends on (implicitly, at the
    cost of one linear solution), except with floating lines.

    Args:
        current: the law of all cells: from cell voltages [V], shaped as the solution's
            ``cell_voltages`` and float64, to their currents [A] of the same shape. Each cell's
            current depends on its own voltage alone, and does not fall with it. Where there are
            many vectors, and the law answers for fewer of them too, it is asked group by group.
        shape: of the arrays ``(..., m, n)``.
        wires: line resistances and which ends are used; not gated.
        voltages: drivers, ``[m]`` or ``[..., vectors, m]`` [V]; on floating lines, where the
            search starts.
        slope: ``df/dv`` [S], a function as ``current`` is; by default of automatic differentiation.
        sink: voltage of the sinks: one number, ``[n]`` or ``[..., vectors, n]`` [V].
        floating_words: True for word lines that no driver holds, ``[..., m]`` as ``voltages``.
        floating_bits: True for bit lines that no sink holds, ``[..., n]``.
        source: instead of ``wires.source``: one number, or one per word line ``[..., m]`` [ohm].
        word: likewise.
        bit: instead of ``wires.bit``: one number, or one per bit line ``[..., n]`` [ohm].
        sense: likewise.
        tolerance: Kirchhoff residual (A) to reach, relative to the largest cell current (or to
            rounding, ``64 ε max(g) max|E|``, where that is more). By default 1e-10; 1e-5 for a law
            that computes in single precision.
        limit: most Newton steps.

    Returns:
        The solution; its leading dimensions are those of ``voltages``, as for ``solve``.

    Raises:
        NotConvergedError: naming the arrays and vectors that did not reach the tolerance.
        ValueError: as for ``solve``, and for currents that are not finite at the drivers' voltages.
        TypeError: for a law that returns something else than a tensor of the voltages' shape, or
            has no derivative.
    """
    integer("limit", limit)
    if tolerance is not None:
        number("tolerance", tolerance, above=0.0, below=1.0)
    instance("voltages", voltages, Tensor)
    like = _arrays(shape, voltages)
    given = {"source": source, "word": word, "bit": bit, "sense": sense}
    grid = arrays(like, wires, given)
    ends = terminals(like, wires, voltages, sink)
    floating = _floating(floating_words, floating_bits, ends.lead, like, wires)
    single = ends.single and _flat(floating_words) and _flat(floating_bits)
    outer = ends.lead[:-1] if single else ends.lead
    solve = _Solve(current, slope, wires, grid, tolerance, limit)
    if single or not solve.splits(ends.lead):
        parts = [solve.part(ends, floating, outer)]
    else:
        parts = [solve.part(*group) for group in solve.groups(ends, floating)]
    # [N, V] of every group, to the shape of the answer.
    residual, done = (
        _joined([getattr(found, name) for found, _ in parts], ends.lead).reshape(outer)
        for name in ("residual", "done")
    )
    steps = max(found.steps for found, _ in parts)
    if not bool(done.all()):
        raise refusal(~done, residual, steps, parts[0][0].tolerance)
    joined = {
        field.name: _joined([getattr(solution, field.name) for _, solution in parts], ends.lead)
        for field in fields(Solution)
    }
    solution = as_given(Solution(**joined), wires, outer, like.to(voltages))
    return NonlinearSolution(**vars(solution), residual=residual.to(voltages), steps=steps)


def _flat(mask: Tensor | None) -> bool:
    return mask is None or mask.ndim < 2


@dataclass(frozen=True)
class _Solve:
    """Newton's method, on a group of vectors after the other where there are many."""

    current: Law
    slope: Law | None
    wires: Wires
    grid: Grid
    tolerance: float | None
    limit: int

    def splits(self, lead: tuple[int, ...]) -> bool:
        """Whether there are several groups, and the laws answer for one of them alone."""
        size = self._size(lead)
        if size >= lead[-1]:
            return False
        shape = (*lead[:-1], size, *self.grid.cells.shape[1:])
        probe = torch.zeros(shape, dtype=torch.float64, device=self.grid.cells.device)
        return all(_takes(law, probe) for law in (self.current, self.slope) if law is not None)

    def _size(self, lead: tuple[int, ...]) -> int:
        cells = self.grid.cells[0].numel() * math.prod(lead[:-1])
        return max(1, CELLS_AT_ONCE // cells)

    def groups(
        self, ends: Terminals, floating: Tensor | None
    ) -> Iterator[tuple[Terminals, Tensor | None, tuple[int, ...]]]:
        """Yield terminals, floating lines and leading dimensions of each group."""
        lead, size = ends.lead, self._size(ends.lead)
        for start in range(0, lead[-1], size):
            part = slice(start, min(start + size, lead[-1]))
            shape = (*lead[:-1], part.stop - start)
            drivers, sinks = (_picked(v, lead, part) for v in (ends.drivers, ends.sinks))
            masks = None if floating is None else _picked(floating, lead, part)
            yield Terminals(drivers, sinks, shape, False), masks, shape

    def part(
        self, ends: Terminals, floating: Tensor | None, outer: tuple[int, ...]
    ) -> tuple[Verdict, Solution]:
        """Return how well Newton's method did, and what it found, for one group."""
        grid, across = self.grid, ends.across
        count, m, n = grid.cells.shape
        law = CellLaw(self.current, self.slope, self.wires, (*outer, m, n), (count, -1, m, n))
        network = Network(grid, floating)
        with torch.no_grad():
            found = newton(network, law, across, self.tolerance, self.limit)
        J = found.J
        if torch.is_grad_enabled() and bool(found.verdict.done.all()):
            J = _with_gradient(network, law, across, found)
        drivers, sinks = ends.drivers, ends.sinks
        if found.shifts is not None:
            drivers = drivers + found.shifts[..., :m]
            sinks = sinks - found.shifts[..., m:]
        return found.verdict, complete(grid, drivers, sinks, J)


def _takes(law: Law, probe: Tensor) -> bool:
    # A law that tells vectors apart cannot be asked about some of them.
    with torch.no_grad():
        try:
            value = law(probe)
        except Exception:  # however it refuses
            return False
    return isinstance(value, Tensor) and value.shape == probe.shape


def _picked(values: Tensor, lead: tuple[int, ...], part: slice) -> Tensor:
    """Return some vectors of ``[N, V, …]``, whose first two dimensions are ``lead`` together."""
    whole = values.reshape(*lead, *values.shape[2:]).movedim(len(lead) - 1, 0)
    return whole[part].movedim(0, len(lead) - 1).reshape(len(values), -1, *values.shape[2:])


def _joined(parts: list[Tensor], lead: tuple[int, ...]) -> Tensor:
    """Join groups ``[N, V', …]`` of vectors: the inverse of `_picked`."""
    if len(parts) == 1:
        return parts[0]
    count, rest = len(parts[0]), parts[0].shape[2:]
    groups = [part.reshape(*lead[:-1], -1, *rest) for part in parts]
    return torch.cat(groups, len(lead) - 1).reshape(count, -1, *rest)


def _arrays(shape: tuple[int, ...], voltages: Tensor) -> Tensor:
    if len(shape) < 2:
        raise ValueError(f"shape must be (..., m, n), got {tuple(shape)}")
    for size in shape:
        integer("shape", size)
    # Stands for the arrays where only their shape is asked for.
    return torch.ones(tuple(shape), dtype=torch.float64, device=voltages.device)


def _floating(
    words: Tensor | None, bits: Tensor | None, lead: tuple[int, ...], like: Tensor, wires: Wires
) -> Tensor | None:
    m, n = like.shape[-2:]
    parts = []
    for name, mask, size in (("floating_words", words, m), ("floating_bits", bits, n)):
        mask = torch.zeros(size, dtype=torch.bool) if mask is None else mask
        instance(name, mask, Tensor)
        if mask.dtype != torch.bool:
            raise TypeError(f"{name} must be a tensor of bool, got {mask.dtype}")
        try:
            mask = mask.to(like.device).expand(*lead, size)
        except RuntimeError:
            raise ValueError(
                f"{name} must be [{size}] or fit {[*lead, size]}, got {list(mask.shape)}"
            ) from None
        count = like[..., 0, 0].numel()
        parts.append(mask.reshape(count, -1, size).to(torch.float64))
    both = torch.cat([turn_rows(parts[0], wires), turn_cols(parts[1], wires)], -1)
    return both if bool(both.any()) else None


def _with_gradient(network: Network, law: CellLaw, across: Tensor, found: Found) -> Tensor:
    # The mismatch is zero, but not its gradient: one implicit correction carries that through.
    miss = law(cell_voltages(network, across, found.J, found.shifts)) - found.J
    if not miss.requires_grad:
        return found.J
    if network.floating is not None:
        raise ValueError("floating lines have no gradient: solve them under torch.no_grad()")
    return found.J + _Correction.apply(miss, network, found.slope)


class _Correction(torch.autograd.Function):
    """``(I + g R)^-1 miss`` at ``miss = 0``: forward nothing, backward the adjoint solution.

    ``dJ = miss + g D miss``, where ``D``, from injected currents to cell voltages, is symmetric
    (reciprocity): so the adjoint is ``1 + D g``.
    """

    @staticmethod
    def forward(ctx: Any, miss: Tensor, network: Network, slope: Tensor) -> Tensor:
        ctx.network, ctx.slope = network, slope
        return torch.zeros_like(miss)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        _, dd, _ = respond(ctx.network, ctx.slope, ctx.slope * grad, 1e-13)
        return grad + dd, None, None
