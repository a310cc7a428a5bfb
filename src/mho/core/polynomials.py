"""Polynomials given by their coefficients, lowest order first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mho.core import checks


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return ``Σ_k coefficients[k] · x^k``."""
    highest, *rest = reversed(coefficients)
    if not rest:
        return torch.full_like(x, highest)
    total = (x * highest).add_(rest[0])  # in place: fresh memory costs more than the sum
    for coefficient in rest[1:]:
        total = (total * x).add_(coefficient)
    return total


def coefficients(name: str, value: Any) -> tuple[float, ...]:
    """Return a number, or several, as the coefficients of a polynomial.

    Raises:
        TypeError, ValueError: if there is none, or one is no finite number.
    """
    items = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not items:
        raise ValueError(f"{name} must have at least one coefficient, got {value!r}")
    for item in items:
        checks.number(name, item)
    return tuple(float(item) for item in items)


def grid() -> Tensor:
    """Return the places from 0 to 1 at which polynomials are checked (float64)."""
    return torch.linspace(0.0, 1.0, 1001, dtype=torch.float64)
