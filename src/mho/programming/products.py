"""Products of random inputs with what cells hold, and the gradient of their error by the cells.

    inputs ±1 ──▶ [ arrays, wires ] ──▶ + noise ──▶ assembled outputs ──▶ minus the wanted ones

With the inputs ``X [batch, rows]`` of an array and the error ``E [batch, outputs]`` of its outputs,
``Xᵀ E / batch`` is the gradient of half the mean square error by the weights, and an estimate of
the weights' own error: in it stands, beside the error of one weight, 1/√batch of the errors of all
other rows of the array. Through the adjoint of the encoding it is the gradient by the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from mho.cells.programming import Site
from mho.core import random

if TYPE_CHECKING:
    from mho.programming.product import ProductDescent


class Lack(NamedTuple):
    """What cells lack by one batch of products (S), > 0 for too little conductance.

    Attributes:
        share: of each cell, where all cells behind an output move.
        alone: of each cell, where it alone moves.
    """

    share: Tensor
    alone: Tensor


class Products:
    """Products of random inputs with what a population holds, beside those that are wanted.

    Args:
        site: where the population lies.
        target: conductances asked for (S), of the population's shape.
        policy: gives inputs a round, noise, voltage and time of a read.
        span: what noise is a part of (S).
        generator: of inputs and noise.

    Attributes:
        error: of the last products, as they were read: root mean square, relative to that of the
            wanted ones.
        reads: readings of bit lines so far.
        time: of all reads so far (s).
        energy: dissipated in the cells by all reads so far (J).
    """

    def __init__(
        self,
        site: Site,
        target: Tensor,
        policy: ProductDescent,
        span: float,
        generator: torch.Generator | None,
    ) -> None:
        self.site, self.policy, self._generator = site, policy, generator
        self.target = target
        self._down = math.ceil(site.rows / site.height)
        self._sigma = policy.read_noise * span
        self._lines = site.converted(target)
        self._wanted = self._tiles(self._lines)
        self._adjoint = _Adjoint(self._matrix, target, site)
        self.error = math.inf
        self.reads, self.time, self.energy = 0, 0.0, 0.0

    def read(self, g: Tensor, current: Callable[[float], Tensor]) -> Lack:
        """Read a batch of products; return what cells lack by the gradient of the error.

        Args:
            g: conductances of the population (S).
            current: from a voltage (V) over all cells to their currents (A).
        """
        site, x = self.site, self._inputs(g)
        held = self._tiles(site.converted(site.wires(g)))
        lines = x @ (self._wanted - held)  # [groups, down, batch, lines]
        if self._sigma:
            noise = torch.empty_like(lines).normal_(generator=self._generator)
            lines = lines.sub_(noise, alpha=self._sigma)
        missing, wanted = site.assembled(lines), site.assembled(x @ self._wanted)
        size, error = (float(v.square().mean().sqrt()) for v in (wanted, missing))
        self.error = error / size if size else error
        self._pay(current, x)
        gradient = (x.mT @ missing / self.policy.batch).flatten(1, 2)[:, : site.rows]
        return self._adjoint.lack(gradient)

    def lacking(self, g: Tensor) -> Lack:
        """Return what cells truly lack, where they conduct ``g`` (S)."""
        held = self.site.wires(g)
        return self._adjoint.lack(self._matrix(self.target) - self._matrix(held))

    @property
    def trust(self) -> float:
        """The part of one batch's estimate that is worth taking.

        One row's error is seen among those of all others: of ``n`` rows, by ``b`` inputs, the mean
        square error falls by most with steps of ``b / (b + n - 1)`` of the estimate.
        """
        batch = self.policy.batch
        return batch / (batch + self.site.height - 1)

    def _inputs(self, like: Tensor) -> Tensor:
        # ±1 [down, batch, height]; 0 where rows end within an array.
        shape = (self.policy.batch, self.site.rows)
        signs = torch.empty(shape, dtype=like.dtype, device=like.device)
        signs = signs.bernoulli_(0.5, generator=self._generator).mul_(2.0).sub_(1.0)
        padded = pad(signs, (0, self._down * self.site.height - self.site.rows))
        return padded.unflatten(1, (self._down, self.site.height)).transpose(0, 1)

    def _tiles(self, lines: Tensor) -> Tensor:
        # From [groups · rows, lines] to [groups, down, height, lines].
        site = self.site
        split = lines.unflatten(0, (site.groups, site.rows))
        padded = pad(split, (0, 0, 0, self._down * site.height - site.rows))
        return padded.unflatten(1, (self._down, site.height))

    def _matrix(self, g: Tensor) -> Tensor:
        site = self.site
        return site.assembled(site.converted(g).unflatten(0, (site.groups, site.rows)))

    def _pay(self, current: Callable[[float], Tensor], x: Tensor) -> None:
        policy, site = self.policy, self.site
        self.reads += policy.batch * site.groups * self._down * self._lines.shape[-1]
        self.time += policy.batch * policy.read_time
        v = policy.read_voltage
        if not (v and policy.read_time):
            return
        plus = (x > 0.0).sum(1).flatten()[: site.rows]
        for volts, times in ((v, plus), (-v, policy.batch - plus)):
            power = _by_row(volts * current(volts), site)
            self.energy += policy.read_time * float((power.sum((0, 1, 3)) * times).sum())


class _Adjoint:
    """The way back from weights to cells of a linear map that is the same for every row.

    A weight's error goes to the cells behind it in equal parts, so that all together make it good;
    a cell behind several weights (an offset column) takes the mean of what they ask for.
    """

    def __init__(self, matrix: Callable[[Tensor], Tensor], like: Tensor, site: Site) -> None:
        self._pull = torch.func.vjp(matrix, like.detach())[1]
        weights = matrix(like)
        # All coefficients of one cell have one sign: these are sums of their magnitudes.
        total = self._cells(torch.ones_like(weights))
        behind = matrix(total.sign())
        self._behind = torch.where(behind > 0.0, behind, 1.0)
        self._shares = torch.where(total == 0.0, 1.0, total.abs())
        # Squares add up where signs are random: exactly for one weight, for several in the mean.
        signs = random.uniform(weights, random.generator(0, weights.device)).sub_(0.5).sign()
        squares = _by_row(self._cells(signs).square(), site).mean(2, keepdim=True)
        squares = torch.where(squares > 0.0, squares, 1.0).expand(-1, -1, site.rows, -1)
        self._squares = squares.reshape(like.shape)

    def lack(self, weights: Tensor) -> Lack:
        """Return what cells lack where weights ``[groups, rows, outputs]`` lack so much."""
        share = self._cells(weights / self._behind) / self._shares
        return Lack(share, self._cells(weights) / self._squares)

    def _cells(self, weights: Tensor) -> Tensor:
        (cells,) = self._pull(weights)
        return cells.detach()


def _by_row(cells: Tensor, site: Site) -> Tensor:
    """View cells of a population as ``[slices, groups, rows, cols]``."""
    return cells.reshape(-1, site.groups, site.rows, cells.shape[-1] if cells.dim() else 1)
