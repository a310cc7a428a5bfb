"""Arrays of cells of any current–voltage law on real wires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.checks import instance, integer, number
from mho.circuit.companion import Network, respond
from mho.circuit.grid import turn_cols, turn_rows
from mho.circuit.lines import Ohms
from mho.circuit.newton import CellLaw, Found, Law, cell_voltages, newton
from mho.circuit.solver import Solution, _as_given, _excitation, _finish, _match, _prepare
from mho.circuit.wires import Wires


@dataclass(frozen=True)
class NonlinearSolution(Solution):
    """A solution, and how well it is one.

    Args:
        residual: largest violation of Kirchhoff's current law at a node, relative to the largest
            cell current ``[...]``.
        steps: Newton steps taken for the whole batch.
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
            current depends on its own voltage alone, and does not fall with it.
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
    m, n = like.shape[-2:]
    given = {"source": source, "word": word, "bit": bit, "sense": sense}
    grid = _prepare(like, wires, given)
    drivers = _excitation("voltages", voltages, m, like)
    sinks = _excitation(
        "sink", torch.as_tensor(sink, dtype=like.dtype, device=like.device), n, like
    )
    lead, drivers, sinks = _match(like, drivers, sinks)
    drivers, sinks = turn_rows(drivers, wires), turn_cols(sinks, wires)
    single = voltages.ndim == 1 and (not isinstance(sink, Tensor) or sink.ndim < 2)
    floating = _floating(floating_words, floating_bits, lead, like, wires)
    outer = lead[:-1] if single and _flat(floating_words) and _flat(floating_bits) else lead
    law = CellLaw(current, slope, wires, (*outer, m, n), (grid.cells.shape[0], -1, m, n))
    across = drivers[..., :, None] - sinks[..., None, :]
    network = Network(grid, floating)
    with torch.no_grad():
        found = newton(network, law, across, tolerance, limit, outer)
    J = found.J
    if torch.is_grad_enabled():
        J = _with_gradient(network, law, across, found)
    if found.shifts is not None:
        drivers = drivers + found.shifts[..., :m]
        sinks = sinks - found.shifts[..., m:]
    solution = _as_given(_finish(grid, drivers, sinks, J), wires, outer, like.to(voltages))
    residual = found.residual.reshape(outer).to(voltages)
    return NonlinearSolution(**vars(solution), residual=residual, steps=found.steps)


def _flat(mask: Tensor | None) -> bool:
    return mask is None or mask.ndim < 2


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
