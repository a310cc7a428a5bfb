"""Cells whose current does not separate, read by a few matrix products.

    I(v, x) ≈ Σ_k ψ_k(v) φ_k(x)        Σ_i I(v_i, x_ij) ≈ Σ_k ψ_k(V) @ φ_k(X)

The singular value decomposition of the law on a grid gives the best such sum of any length K (in
the mean square on the grid: Eckart and Young 1936, doi 10.1007/BF02288367). Between grid points the
factors are piecewise cubic. What the sum misses is then measured, not estimated, on a grid twice
as fine, so that both truncation and interpolation count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.core.checks import finite, instance, integer, number

POINTS = 257
MOST_RANK = 32
FINER = 2

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Expansion:
    """A law as a short sum of products, with what it misses.

    Args:
        v_range: voltages covered [V].
        x_range: states covered.
        psi: the voltage factors on their grid ``[K, points]`` [A].
        phi: the state factors on their grid ``[K, points]``.
        singular_values: of the law on the grid, all of them, relative to the first.
        largest: the law's largest current in the ranges [A].
        max_error: largest error of one cell's current, relative to ``largest``.
        rms_error: root mean square error, relative to ``largest``.
    """

    v_range: Range
    x_range: Range
    psi: Tensor
    phi: Tensor
    singular_values: Tensor
    largest: float
    max_error: float
    rms_error: float

    @property
    def rank(self) -> int:
        """Number of terms, and so of matrix products in a read."""
        return self.psi.shape[0]

    def to(self, *args: torch.dtype | torch.device | str) -> Expansion:
        """Return a copy in another dtype or on another device."""
        moved = {
            name: value.to(*args) if isinstance(value, Tensor) else value  # type: ignore[call-overload]
            for name, value in vars(self).items()
        }
        return Expansion(**moved)

    def current(self, v: Tensor, x: Tensor) -> Tensor:
        """Return the current (A) of each cell, for ``v`` and ``x`` that broadcast."""
        return (self.psi_at(v) * self.phi_at(x)).sum(-1)

    def read(self, v: Tensor, x: Tensor) -> Tensor:
        """Return bit-line currents ``Σ_i I(v_i, x_ij)`` of whole arrays.

        Every bit line is off by at most ``m · max_error · largest``. Differentiable.

        Args:
            v: word-line voltages ``[m]`` or ``[..., vectors, m]`` [V].
            x: states ``[..., m, n]``.

        Returns:
            Currents ``[n]`` or ``[..., vectors, n]`` [A].

        Raises:
            ValueError: for voltages or states outside the ranges, or shapes that do not match.
        """
        return self.read_with(v, self.matrix(x))

    def matrix(self, x: Tensor) -> Tensor:
        """Return what a read multiplies by, ``[..., m·K, n]``: it changes only with the cells."""
        instance("x", x, Tensor)
        if x.ndim < 2:
            raise ValueError(f"x must have shape [..., m, n], got {list(x.shape)}")
        return self.phi_at(x).movedim(-1, -2).flatten(-3, -2)

    def read_with(self, v: Tensor, matrix: Tensor) -> Tensor:
        """Return bit-line currents as ``read`` does, for a ``matrix`` kept from before."""
        instance("v", v, Tensor)
        rows = matrix.shape[-2] // self.rank
        if v.ndim == 0 or v.shape[-1] != rows:
            raise ValueError(f"v must have shape [..., {rows}], got {list(v.shape)}")
        # The K products are one, over K times as many rows.
        return self.psi_at(v).flatten(-2) @ matrix

    def psi_at(self, v: Tensor) -> Tensor:
        """Return the voltage factors ``[..., K]`` [A]."""
        return _interpolate("v", v, self.v_range, self.psi)

    def phi_at(self, x: Tensor) -> Tensor:
        """Return the state factors ``[..., K]``."""
        return _interpolate("x", x, self.x_range, self.phi)


def expand(
    current_of: Callable[[Tensor, Tensor], Tensor],
    v_range: Range,
    x_range: Range = (0.0, 1.0),
    *,
    rank: int | None = None,
    tolerance: float | None = None,
    points: int | None = None,
) -> Expansion:
    """Expand a law into products of functions of the voltage and of the state.

    Args:
        current_of: the current (A) of voltages ``v`` (V) and states ``x``, broadcasting tensors.
        v_range: voltages to cover [V].
        x_range: states to cover.
        rank: number of terms; or
        tolerance: the largest error allowed, relative to the law's largest current: the fewest
            terms that meet it are taken.
        points: on each side of the grid; by default 257 for a given rank, and for a tolerance as
            many as it takes, up to 1025.

    Returns:
        The expansion, in float64.

    Raises:
        ValueError: if neither or both of ``rank`` and ``tolerance`` are given, a range is empty,
            the law is not finite or zero everywhere, or ``tolerance`` is not met (the message
            says what is).
        TypeError: if the law does not return a tensor.
    """
    if (rank is None) == (tolerance is None):
        raise ValueError(f"give either rank or tolerance, got rank={rank!r}, {tolerance=}")
    if points is not None:
        integer("points", points, least=8)
    if rank is not None:
        integer("rank", rank, most=points or POINTS)
    if tolerance is not None:
        number("tolerance", tolerance, above=0.0)
    for name, (low, high) in (("v_range", v_range), ("x_range", x_range)):
        number(f"{name}[0]", low)
        number(f"{name}[1]", high, above=low)
    sizes = (points,) if points else (POINTS,) if rank else (65, 129, 257, 513, 1025)
    for size in sizes:
        found = _decompose(current_of, v_range, x_range, rank, tolerance or 0.0, size)
        if rank is not None or found.max_error <= (tolerance or 0.0):
            return found
    raise ValueError(
        f"tolerance {tolerance:g} is not met with {size} points: the least error is "
        f"{found.max_error:.1e}, with {found.rank} terms. Where it is more points that help, not "
        f"more terms, give points, or narrower ranges"
    )


def _decompose(
    current_of: Callable[[Tensor, Tensor], Tensor],
    v_range: Range,
    x_range: Range,
    rank: int | None,
    tolerance: float,
    points: int,
) -> Expansion:
    """Return the terms asked for, or as few as meet the tolerance, or else the best there are."""
    table = _table(current_of, v_range, x_range, points)
    fine = _table(current_of, v_range, x_range, FINER * (points - 1) + 1)
    largest = float(fine.abs().max())
    if largest == 0.0:
        raise ValueError("current_of is 0 everywhere in the ranges: there is nothing to expand")
    U, S, Vh = torch.linalg.svd(table, full_matrices=False)
    most = min(rank or MOST_RANK, points)
    # The square root of each singular value on either side keeps both factors of one size.
    root = S[:most].sqrt()
    psi, phi = (U[:, :most] * root).mT.contiguous(), root[:, None] * Vh[:most]
    errors = [
        (worst / largest, mean / largest)
        for worst, mean in _errors(fine, psi, phi, v_range, x_range)
    ]
    if rank is None:
        meeting = (k for k, (worst, _) in enumerate(errors, 1) if worst <= tolerance)
        best = 1 + min(range(most), key=lambda k: errors[k][0])
        rank = next(meeting, best)
    return Expansion(
        v_range=v_range,
        x_range=x_range,
        psi=psi[:rank],
        phi=phi[:rank],
        singular_values=S / S[0],
        largest=largest,
        max_error=errors[rank - 1][0],
        rms_error=errors[rank - 1][1],
    )


def _table(
    current_of: Callable[[Tensor, Tensor], Tensor], v_range: Range, x_range: Range, points: int
) -> Tensor:
    v, x = (torch.linspace(*span, points, dtype=torch.float64) for span in (v_range, x_range))
    table = current_of(v[:, None], x[None, :])
    instance("what current_of returns", table, Tensor)
    table = table.detach().to(torch.float64).broadcast_to(points, points)
    finite("current_of", table)
    return table


def _errors(
    fine: Tensor, psi: Tensor, phi: Tensor, v_range: Range, x_range: Range
) -> list[tuple[float, float]]:
    """Return largest and root mean square error (A) of the first 1, 2, … terms."""
    v, x = (torch.linspace(*r, len(fine), dtype=torch.float64) for r in (v_range, x_range))
    left, right = _interpolate("v", v, v_range, psi), _interpolate("x", x, x_range, phi)
    missing, errors = fine.clone(), []
    for k in range(len(psi)):
        missing -= left[:, k, None] * right[None, :, k]
        errors.append((float(missing.abs().max()), float(missing.square().mean().sqrt())))
    return errors


def _interpolate(name: str, at: Tensor, span: Range, table: Tensor) -> Tensor:
    """Refuse places outside of the span, then `interpolate`."""
    instance(name, at, Tensor)
    low, high = span
    slack = 1e-6 * (high - low)
    if at.numel():
        least, most = (float(value) for value in at.detach().aminmax())
        if not (low - slack <= least and most <= high + slack):
            raise ValueError(
                f"{name} must be in [{low:g}, {high:g}], the range expanded over; "
                f"got values from {least:g} to {most:g}"
            )
    return interpolate(at, span, table)


def interpolate(at: Tensor, span: Range, table: Tensor) -> Tensor:
    """Return piecewise cubic (four-point Lagrange) values ``[..., K]``, differentiable in ``at``.

    Args:
        at: places, all of them inside of the span.
        span: what the table covers, evenly.
        table: ``[K, points]``.
    """
    low, high = span
    points = table.shape[-1]
    place = (at.to(table) - low) * ((points - 1) / (high - low))
    first = place.detach().floor().clamp(1, points - 3).long() - 1
    u = (place - first)[..., None]
    a, b, c, e = u, u - 1, u - 2, u - 3
    weights = torch.cat([-b * c * e / 6, a * c * e / 2, -a * b * e / 2, a * b * c / 6], -1)
    rows = table.mT.contiguous()
    near = [rows[first + step] * weights[..., step, None] for step in range(4)]
    return near[0] + near[1] + near[2] + near[3]
