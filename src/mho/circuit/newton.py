"""Arrays of cells of any current–voltage law on real wires: Newton's method on the circuit.

The state is the cell currents ``J`` that the wires carry. Kirchhoff's laws then hold for whatever
``J``: cells see the voltages ``d = E - R J`` (``E`` driver minus sink, ``R J`` the drops along both
lines), and what is wanted is that every cell carries the current of its law, ``J = f(d)``. A step
solves the linear circuit of the cells' slopes (``mho.circuit.companion``). For laws that never fall
the co-content of the circuit is convex, and its slope along a step of ``t (dJ, dd)``,

    p(t) = sum dd (f(d + t dd) - J - t dJ),

rises with ``t``: where a whole step overshoots, or stays far too short, ``t`` is found from the
sign of ``p``, at the price of evaluations of the law alone. So Newton converges from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from mho.circuit.companion import Network, respond
from mho.circuit.grid import turn_cells
from mho.circuit.wires import Wires
from mho.core.checks import instance

Law: TypeAlias = Callable[[Tensor], Tensor]

SEARCHES = 12
"""Most evaluations of the law in one line search."""

CLIMBS = 60
"""Most companion circuits solved to find where to start."""

STEEP = 10.0
"""How far currents may be from what a tangent, or the drivers' voltages, make of them."""

_ROUNDING = 64
_NAMED = 8


class NotConvergedError(RuntimeError):
    """Newton's method did not reach its tolerance.

    Attributes:
        where: indices of the solutions that did not, in the leading dimensions ``[count, dims]``.
        residual: their Kirchhoff residuals, relative to the largest current ``[count]``.
    """

    def __init__(self, message: str, where: Tensor, residual: Tensor) -> None:
        super().__init__(message)
        self.where = where
        self.residual = residual


def value_and_slope(current: Law, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return currents and slopes of a law that acts on every entry alone, without their graph.

    Raises:
        TypeError: if the law has no derivative.
    """
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        value = current(v)
        if not isinstance(value, Tensor) or not value.requires_grad:
            raise TypeError(
                "current must be made of differentiable torch operations; or give slope"
            )
        (slope,) = torch.autograd.grad(value.sum(), v, allow_unused=True)
    return value.detach(), torch.zeros_like(v) if slope is None else slope


@dataclass(frozen=True)
class CellLaw:
    """The user's law on canonical arrays ``[N, V, m, n]``."""

    current: Law
    slope: Law | None
    wires: Wires
    outer: tuple[int, ...]
    inner: tuple[int, ...]

    def __call__(self, d: Tensor) -> Tensor:
        """Return the cells' currents [A]."""
        return self._in(self._checked(self.current(self._out(d)))).to(d.dtype)

    def with_slope(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return currents and slopes (>= 0), without their graph."""
        v = self._out(d)
        if self.slope is None:
            value, slope = value_and_slope(self.current, v)
        else:
            value, slope = self.current(v).detach(), self._checked(self.slope(v)).detach()
        # Where a law falls (it should not) or its slope overflows, the step is only less good.
        slope = torch.nan_to_num(slope.to(d.dtype), nan=0.0).clamp(0.0, 1e30)
        return self._in(self._checked(value)).to(d.dtype), self._in(slope)

    def precision(self, d: Tensor) -> torch.dtype:
        """Return the dtype in which the law computes."""
        return self._checked(self.current(self._out(d))).dtype

    def _out(self, d: Tensor) -> Tensor:
        return turn_cells(d, self.wires).reshape(self.outer)

    def _in(self, values: Tensor) -> Tensor:
        return turn_cells(values.reshape(self.inner), self.wires)

    def _checked(self, values: Tensor) -> Tensor:
        instance("what the law returns", values, Tensor)
        if tuple(values.shape) != self.outer or not values.dtype.is_floating_point:
            raise TypeError(
                f"the law must return floating-point currents of the voltages' shape "
                f"{list(self.outer)}, got {values.dtype} {list(values.shape)}"
            )
        return values


@dataclass(frozen=True)
class Verdict:
    """How well Newton's method did.

    Args:
        residual: largest mismatch, relative to the largest current ``[N, V]``.
        done: which solutions are within the tolerance ``[N, V]``.
        tolerance: that one.
        steps: how many were taken.
    """

    residual: Tensor
    done: Tensor
    tolerance: float
    steps: int


@dataclass(frozen=True)
class Found:
    """What Newton's method found.

    Args:
        J: cell currents ``[N, V, m, n]`` [A].
        slope: of the cells' laws there ``[N, V, m, n]`` [S].
        shifts: of floating lines ``[N, V, m + n]`` [V], or None.
        verdict: how well that solves the circuit.
    """

    J: Tensor
    slope: Tensor
    shifts: Tensor | None
    verdict: Verdict


def newton(
    network: Network,
    law: CellLaw,
    across: Tensor,
    tolerance: float | None,
    limit: int,
) -> Found:
    """Solve ``J = f(E - R J)`` for all arrays and vectors together.

    Args:
        network: the lines.
        law: of the cells.
        across: driver minus sink of every cell ``[N, V, m, n]`` [V].
        tolerance: as for ``solve_nonlinear``.
        limit: most steps.

    Returns:
        What was reached, for every solution.

    Raises:
        ValueError: if currents at ``across`` are not finite.
    """
    precision = law.precision(across)
    if tolerance is None:
        tolerance = 1e-10 if precision == torch.float64 else 1e-5
    rounding = _ROUNDING * torch.finfo(precision).eps * _largest(across)
    J, shifts = _start(network, law, across)
    d = cell_voltages(network, across, J, shifts)
    value, slope = law.with_slope(d)
    for steps in range(limit + 1):
        miss, most = _largest(J - value), _largest(J)
        done = miss <= tolerance * most + rounding * _largest(slope)
        residual = torch.where(most > 0, miss / torch.where(most > 0, most, 1.0), miss.sign())
        if steps == limit or bool(done.all()):
            break
        # As exact as Newton can use in this step, and no better than is wanted in the end.
        forcing = (0.1 * residual).clamp_max(1e-2).maximum(0.3 * tolerance / residual)
        dJ, dd, s = respond(network, slope, torch.where(done, 0.0, value - J), forcing)
        t = torch.where(done, 0.0, _length(law, J, d, value, dJ, dd))
        J = J + t * dJ
        shifts = shifts if shifts is None or s is None else shifts + t[..., 0] * s
        d = cell_voltages(network, across, J, shifts)
        value, slope = law.with_slope(d)
    verdict = Verdict(residual[..., 0, 0], done[..., 0, 0], tolerance, steps)
    return Found(J, slope, shifts, verdict)


def cell_voltages(network: Network, across: Tensor, J: Tensor, shifts: Tensor | None) -> Tensor:
    """Return what cells see of ``across`` under currents ``J`` and shifts of floating lines [V]."""
    d = across - network.drop(J)
    return d if shifts is None else d + network.lift(shifts)


def _start(network: Network, law: CellLaw, across: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return currents and shifts to start from.

    Good wires: no currents, so that cells see the drivers. Where the cells' currents there would
    drop far more than there is, or lines float, cells are brought up from near 0 V instead: each
    step solves the companion circuit, and a cell goes on either at the voltage it gets there or,
    if its law is far steeper than its tangent, where its law gives the current it gets there
    (Nagel 1975, SPICE2, ERL-M520: iterating on voltage or current, whichever moves less).
    """
    J = torch.zeros_like(across)
    value = law(across)
    if not bool(torch.isfinite(value).all()):
        raise ValueError("current must be finite at the drivers' voltages, got NaN or infinity")
    gentle = _largest(network.drop(value)) <= STEEP * _largest(across)
    if network.floating is None and bool(gentle.all()):
        return J, None
    at, shifts = 1e-3 * across, None
    for _ in range(CLIMBS):
        value, slope = law.with_slope(at)
        J, moved, shifts = respond(network, slope, value, 1e-2, across - at)
        end = at + moved
        bound = STEEP * torch.maximum(J.abs(), value.abs())
        steep = ~(law(end).abs() <= bound)
        if not bool((steep & (bound > 0)).any()):
            break
        low, high = at, end
        for _ in range(SEARCHES):
            middle = 0.5 * (low + high)
            # Past J, seen from where the cell is?
            past = ~((law(middle) - J) * moved.sign() < 0)
            low, high = torch.where(past, low, middle), torch.where(past, middle, high)
        at = torch.where(steep, low, end)
    return J, shifts


def _length(law: CellLaw, J: Tensor, d: Tensor, value: Tensor, dJ: Tensor, dd: Tensor) -> Tensor:
    """Return how far to go along a step, ``t`` ``[N, V, 1, 1]``; nearly always 1."""
    start, before = (dd * (value - J)).sum((-2, -1), keepdim=True), _largest(value - J)
    t = torch.ones_like(start)
    low, low_p = torch.zeros_like(t), start
    high, high_p = torch.full_like(t, torch.inf), torch.full_like(t, torch.inf)
    for _ in range(SEARCHES):
        miss = law(d + t * dd) - J - t * dJ
        p = (dd * miss).sum((-2, -1), keepdim=True).nan_to_num(nan=torch.inf)
        good = (p.abs() <= 0.5 * start.abs()) | (_largest(miss) <= 0.5 * before)
        if bool(good.all()):
            break
        over = p > 0
        low, low_p = torch.where(over, low, t), torch.where(over, low_p, p)
        high, high_p = torch.where(over, t, high), torch.where(over, p, high_p)
        width = high - low
        share = low_p / (low_p - high_p)
        share = torch.where(share.isfinite() & high_p.isfinite(), share, 0.5).clamp(0.1, 0.9)
        between = torch.where(width.isfinite(), low + share * width, 2 * t)
        t = torch.where(good, t, between)
    return t


def refusal(failed: Tensor, residual: Tensor, steps: int, tolerance: float) -> NotConvergedError:
    """Return the error that names the solutions that failed, by both tensors' indices."""
    where, values = failed.nonzero(), residual[failed]
    named = [
        f"{tuple(index)} (residual {value:.1e})"
        for index, value in zip(where[:_NAMED].tolist(), values[:_NAMED].tolist(), strict=True)
    ]
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return NotConvergedError(
        f"Newton's method did not converge in {steps} steps for {len(values)} of "
        f"{failed.numel()} solutions [array …, vector]: {', '.join(named)}{more}; wanted "
        f"{tolerance:.0e} of the largest current. Does the law fall with the voltage anywhere, or "
        f"jump?",
        where,
        values,
    )


def _largest(values: Tensor) -> Tensor:
    return values.abs().amax((-2, -1), keepdim=True)
