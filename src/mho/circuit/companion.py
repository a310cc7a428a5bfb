"""The linear circuit of one Newton step: what an array of given slopes answers to a mismatch.

Near an operating point a cell of any law is a conductance ``g`` (its slope) beside a source, so the
step is one linear circuit per array and vector, each with conductances of its own. As in
``mho.circuit.cg`` lines enter by their resistance ``R``, never by a conductance, and nothing is
divided by a slope: with ``rho`` the current by which cells miss their laws,

    dJ = rho + g dd,   dd = lift(s) - R dJ,   leak(dJ) = 0

where floating lines move by ``s`` (``lift`` spreads it over the cells) and leak nothing. The
unknown ``q = g dd = sqrt(g) z`` obeys ``(I + sqrt(g) R sqrt(g)) z = -sqrt(g) R rho``, whose
eigenvalues are >= 1: conjugate gradients, inside the space where floating lines leak nothing. The
projection on that space costs one small Cholesky factor per vector, so floating lines are exact
and not lines with a very large resistor. Why not merging (``mho.circuit.merge``): it costs as much
as 50 to 200 sweeps for every vector and step, which buys a Newton solution by iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.circuit.cg import conjugate_gradients, square
from mho.circuit.grid import Grid

SWEEPS = 3000
"""Most conjugate-gradient sweeps in one step; Newton then goes on from what was reached."""

JITTER = 1e-14
"""Added to the scaled projection matrix: where a whole part of the array floats, it is singular."""


@dataclass(frozen=True)
class Network:
    """Lines of canonical arrays, and which of them float.

    Args:
        grid: the arrays ``N``; its ``cells`` are not used.
        floating: 1 where a line floats, else 0, words then bits ``[N, V, m + n]``; or None.
    """

    grid: Grid
    floating: Tensor | None

    def drop(self, currents: Tensor) -> Tensor:
        """Return what cell currents ``[N, V, m, n]`` drop along both lines, ``R J`` [V]."""
        return self.grid.word_drop(currents) + self.grid.bit_rise(currents)

    def lift(self, shifts: Tensor) -> Tensor:
        """Return what shifts of the lines ``[N, V, m + n]`` add to cell voltages [V]."""
        m, n = self.grid.cells.shape[-2:]
        word, bit = shifts.split([m, n], -1)
        return word[..., :, None] + bit[..., None, :]

    def leak(self, currents: Tensor) -> Tensor:
        """Return the sum of currents over every floating line, 0 for others ``[N, V, m + n]``."""
        assert self.floating is not None
        return self.floating * torch.cat([currents.sum(-1), currents.sum(-2)], -1)


def respond(
    network: Network,
    slope: Tensor,
    rho: Tensor,
    tolerance: Tensor | float,
    emf: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return how currents, cell voltages and floating lines answer to currents and voltages.

    Args:
        network: the lines.
        slope: of the cells' laws, >= 0 ``[N, V, m, n]`` [S].
        rho: currents injected along the cells ``[N, V, m, n]`` [A].
        tolerance: by how much (A) cells may still miss, relative to ``rho``, or with ``emf`` to
            ``dJ`` (both as norms); one or ``[N, V, 1, 1]``.
        emf: voltages in series with the cells ``[N, V, m, n]`` [V]; None for none.

    Returns:
        ``dJ`` and ``dd`` ``[N, V, m, n]`` [A, V], and ``s`` ``[N, V, m + n]`` [V] or None, of
        ``dJ = rho + g dd``, ``dd = emf + lift(s) - R dJ``, ``leak(dJ) = 0``.
    """
    root = slope.sqrt()

    def fall(q: Tensor) -> Tensor:
        drop = network.drop(rho + q)
        return -drop if emf is None else emf - drop

    def going(z: Tensor, residual: Tensor) -> Tensor:
        # sqrt(g) times the residual is the current by which the cells still miss.
        against = rho if emf is None else rho + root * z
        return square(root * residual) > tolerance**2 * square(against)

    def image(z: Tensor) -> Tensor:
        return z + root * network.drop(root * z)

    if network.floating is None:
        right = root * fall(torch.zeros_like(rho))
        q = root * conjugate_gradients(image, right, going, SWEEPS)[0]
        return rho + q, fall(q), None
    plane = _Plane(network, slope)
    # A first answer that leaks what it must; the rest then leaks nothing.
    first = slope * network.lift(plane.solve(-network.leak(rho)))
    right = plane.into(root, root * fall(first))
    z, _ = conjugate_gradients(lambda z: plane.into(root, image(z)), right, going, SWEEPS)
    q = first + root * z
    fallen = fall(q)
    shifts = plane.solve(network.leak(q - slope * fallen))
    return rho + q, fallen + network.lift(shifts), shifts


class _Plane:
    """Where floating lines leak nothing: ``leak(sqrt(g) z) = 0``."""

    def __init__(self, network: Network, slope: Tensor) -> None:
        assert network.floating is not None
        self.network, mask = network, network.floating
        sums = torch.cat([slope.sum(-1), slope.sum(-2)], -1)
        self.scale = mask * torch.where(sums > 0, sums, 1.0).rsqrt()
        m = slope.shape[-2]
        matrix = torch.diag_embed(torch.full_like(sums, 1 + JITTER))
        across = self.scale[..., :m, None] * slope * self.scale[..., None, m:]
        matrix[..., :m, m:] = across
        matrix[..., m:, :m] = across.mT
        # Rounding may leave a singular matrix a hair below zero: raise the diagonal until it works.
        jitter = JITTER
        while True:
            self.factor, failed = torch.linalg.cholesky_ex(matrix)
            if not bool(failed.any()) or jitter > 1e-6:
                break
            jitter *= 10
            matrix.diagonal(dim1=-2, dim2=-1).add_(jitter)

    def solve(self, leaks: Tensor) -> Tensor:
        """Return the shifts ``s`` with ``leak(g lift(s)) = leaks``."""
        scaled = (self.scale * leaks)[..., None]
        found: Tensor = torch.cholesky_solve(scaled, self.factor)[..., 0]
        return self.scale * found

    def into(self, root: Tensor, z: Tensor) -> Tensor:
        """Project onto the plane (twice, so that rounding leaks nothing either)."""
        for _ in range(2):
            z = z - root * self.network.lift(self.solve(self.network.leak(root * z)))
        return z
