"""Singular value decompositions."""

from __future__ import annotations

from mho import decomposition as rooms
from mho.compat.xbtorch._numbers import whole
from mho.compat.xbtorch.decomposition.base import GenericDecomposition, Translated

__all__ = ["FullSVD", "GenericDecomposition", "TruncatedSVD"]


class FullSVD(Translated):
    """All singular values: the gradient itself."""

    _kind = rooms.FullSVD


class TruncatedSVD(Translated):
    """The largest singular values.

    Args:
        rank: how many; matrices of smaller rank keep all they have.
    """

    def __init__(self, rank: int = 1) -> None:
        self.rank = whole("rank", rank)

    def _room(self, rank: int) -> rooms.Decomposition:
        return rooms.TruncatedSVD(rank)
