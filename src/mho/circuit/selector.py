"""Selectors: a steep two-terminal device in series with every cell (1S1R)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.circuit.newton import NotConvergedError, value_and_slope
from mho.core.checks import number
from mho.core.spec import Spec

ITERATIONS = 200


@dataclass(frozen=True)
class Selector(Spec):
    """An exponential two-way selector.

        I(v) = i_on · sinh(v/v0)/sinh(v_on/v0),    v0 = decade/ln 10

    At ``v_on`` it passes ``i_on``; below, ten times less for every ``decade`` of voltage. As mixed
    ionic–electronic and tunnel selectors do: Burr et al. 2014, doi 10.1116/1.4889999.

    Args:
        v_on: voltage at which ``i_on`` flows [V], > 0.
        i_on: [A], > 0.
        decade: voltage for a factor of ten in current [V], > 0.
    """

    v_on: float = 0.5
    i_on: float = 1e-5
    decade: float = 0.085

    def __post_init__(self) -> None:
        """Refuse what is not positive."""
        for name in ("v_on", "i_on", "decade"):
            number(name, getattr(self, name), above=0.0)

    def current(self, v: Tensor) -> Tensor:
        """Return the current (A) at voltages ``v`` (V)."""
        v0 = self.decade / math.log(10.0)
        # sinh(a)/sinh(b), in exponents that do not overflow before the ratio does.
        near = v.abs() <= v0
        small = torch.where(near, v / v0, 0.0).sinh() * 2 * math.exp(-self.v_on / v0)
        size = torch.where(near, v0, v.abs())
        large = torch.exp((size - self.v_on) / v0) * -torch.expm1(-2 * size / v0) * v.sign()
        return self.i_on / -math.expm1(-2 * self.v_on / v0) * torch.where(near, small, large)


@dataclass(frozen=True, eq=False)
class InSeries:
    """The law of cells with a selector each: ``cell(u) = selector(v - u)``, solved cell by cell.

    A law as ``solve_nonlinear`` takes it, differentiable, for whole arrays at once: Newton's method
    for ``u``, with a bisection wherever a step leaves the bracket or gains too little.

    Args:
        cell: law of the cells.
        selector: law of the selectors, such as ``Selector().current``.
    """

    cell: Callable[[Tensor], Tensor]
    selector: Callable[[Tensor], Tensor]

    def __call__(self, v: Tensor) -> Tensor:
        """Return the currents (A) at voltages ``v`` over cell and selector (V)."""
        u, cell_slope, selector_slope = self._solve(v)
        total = cell_slope + selector_slope
        # One Newton step from the solution changes no value, but carries all gradients.
        miss = self.cell(u) - self.selector(v - u)
        u = u - torch.where(total > 0, miss / torch.where(total > 0, total, 1.0), 0.0)
        # Of the two, the less steep law turns an error of u into the smaller error of the current.
        flat = cell_slope <= selector_slope
        cell, selector = self.cell(u), self.selector(v - u)
        # No more precise than the less precise of the two.
        kind = max(cell.dtype, selector.dtype, key=lambda dtype: torch.finfo(dtype).eps)
        return torch.where(flat, cell, selector).to(kind)

    def cell_share(self, v: Tensor) -> Tensor:
        """Return the part of ``v`` that is over the cells [V] (without gradient)."""
        return self._solve(v)[0]

    @torch.no_grad()
    def _solve(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v = v.detach()
        low, high = torch.zeros_like(v).minimum(v), torch.zeros_like(v).maximum(v)
        # Where a law computes in single precision, no more can be had.
        eps = torch.finfo(self.cell(v).dtype).eps
        u, last = 0.5 * v, v.abs()
        for _ in range(ITERATIONS):
            cell, cell_slope = value_and_slope(self.cell, u)
            series, series_slope = value_and_slope(self.selector, v - u)
            miss, total = cell - series, cell_slope + series_slope
            low, high = torch.where(miss < 0, u, low), torch.where(miss > 0, u, high)
            step = -miss / total
            small = 4 * eps * u.abs() + 1e-300
            done = (miss == 0) | (step.abs() <= small) | (high - low <= small)
            if bool(done.all()):
                return u, cell_slope.nan_to_num(), series_slope.nan_to_num()
            goal = u + step
            bisect = ~((goal > low) & (goal < high) & (step.abs() <= 0.5 * last))
            step = torch.where(bisect, 0.5 * (low + high) - u, step)
            u, last = torch.where(done, u, u + step), step.abs()
        raise NotConvergedError(
            f"the division of voltage between cell and selector was not found for "
            f"{int((~done).sum())} of {v.numel()} cells: do both laws rise with the voltage?",
            (~done).nonzero(),
            (miss.abs() / series.abs().clamp_min(1e-300))[~done],
        )
