"""Singular value decompositions."""

from __future__ import annotations

from mho import decomposition as rooms
from mho.compat.xbtorch.decomposition.base import Translated
from mho.core import checks


class FullSVD(Translated):
    """All singular values: the gradient itself."""

    def __init__(self) -> None:
        self._whole = rooms.FullSVD()

    def _engine(self, largest: int) -> rooms.Decomposition:
        return self._whole


class TruncatedSVD(Translated):
    """The largest singular values.

    Args:
        rank: how many; matrices of smaller rank keep all they have.
    """

    def __init__(self, rank: int = 1) -> None:
        checks.integer("rank", rank)
        self.rank = rank

    def _engine(self, largest: int) -> rooms.Decomposition:
        return rooms.TruncatedSVD(min(self.rank, largest))
