"""Hadamard matrices: square, of entries ±1, with orthogonal columns, the first of them all ones."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

LARGEST = 1024


@functools.lru_cache(maxsize=16)
def hadamard(order: int) -> Tensor:
    """Return a Hadamard matrix ``H [order, order]`` (float64): ``Hᵀ H = order · 1``.

    A product of Sylvester's doubling with matrices of Paley's two kinds (R. E. A. C. Paley, J.
    Math. Phys. 12, 311 (1933), doi 10.1002/sapm1933121311). The first column is all ones, so that
    every other column adds up to zero.

    Args:
        order: 1, 2, or a multiple of 4 that these make (all up to 48).

    Raises:
        ValueError: if there is none of this order, or it is above 1024.
    """
    if not 1 <= order <= LARGEST or not constructible(order):
        near = [n for n in range(1, LARGEST + 1) if constructible(n)]
        beside = (
            max([n for n in near if n < order], default=None),
            min([n for n in near if n > order], default=None),
        )
        known = [str(n) for n in beside if n is not None]
        raise ValueError(
            f"hadamard must be an order of a Hadamard matrix (1, 2, 4, 8, 12, 16, 20, … "
            f"{LARGEST}); the nearest to {order} {'is' if len(known) == 1 else 'are'} "
            + " and ".join(known)
        )
    found = _built(order)
    assert found is not None
    return found * found[:, :1]  # signs of rows are free: the first column becomes all ones


def constructible(order: int) -> bool:
    """Whether `hadamard` knows a matrix of this order."""
    if order in (1, 2):
        return True
    if order < 1 or order % 4:
        return False
    return _paley_prime(order) is not None or constructible(order // 2)


def _built(order: int) -> Tensor | None:
    if order == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    prime = _paley_prime(order) if order % 4 == 0 else None
    if prime is not None and order & (order - 1):  # powers of two are Sylvester's
        return _paley(prime)
    half = _built(order // 2)
    assert half is not None
    return torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), half)


def _paley_prime(order: int) -> int | None:
    """Return the prime of which Paley makes a matrix of this order."""
    if order >= 4 and (order - 1) % 4 == 3 and _is_prime(order - 1):
        return order - 1
    half = order // 2 - 1
    return half if half % 4 == 1 and _is_prime(half) else None


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, math.isqrt(n) + 1))


def _paley(q: int) -> Tensor:
    # Jacobsthal's matrix of quadratic residues, bordered.
    residue = torch.full((q,), -1.0, dtype=torch.float64)
    residue[(torch.arange(1, q) ** 2) % q] = 1.0
    residue[0] = 0.0
    index = torch.arange(q)
    inner = residue[(index[:, None] - index[None, :]) % q]
    bordered = torch.zeros(q + 1, q + 1, dtype=torch.float64)
    bordered[1:, 1:] = inner
    bordered[0, 1:] = 1.0
    eye = torch.eye(q + 1, dtype=torch.float64)
    if q % 4 == 3:
        bordered[1:, 0] = -1.0
        return bordered + eye
    bordered[1:, 0] = 1.0
    plus = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    minus = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    return torch.kron(bordered, plus) + torch.kron(eye, minus)
