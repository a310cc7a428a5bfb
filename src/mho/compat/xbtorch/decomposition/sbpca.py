"""Streaming batch principal components."""

from __future__ import annotations

from operator import itemgetter
from typing import ClassVar

from mho import decomposition as rooms
from mho.compat.xbtorch._numbers import whole
from mho.compat.xbtorch.decomposition.base import GenericDecomposition, Parts, Translated

__all__ = ["SBPCA", "GenericDecomposition"]


class SBPCA(Translated):
    """Principal components of a gradient, from its samples, sub-batch by sub-batch.

    All samples count, also those of a short last sub-batch.

    Args:
        rank: how many components; small matrices have fewer.
        sub_batch_size: samples per step.

    Attributes:
        info: components so far, by parameter: ``X``, ``sigma`` and ``DELTA``.

    Source: see `mho.decomposition.StreamingBatchPCA`.
    """

    _parts: ClassVar[Parts] = {name: itemgetter(name.lower()) for name in ("X", "sigma", "DELTA")}

    def __init__(self, rank: int = 1, sub_batch_size: int = 32) -> None:
        self.rank = whole("rank", rank)
        self.sub_batch_size = whole("sub_batch_size", sub_batch_size)

    def _room(self, rank: int) -> rooms.Decomposition:
        return rooms.StreamingBatchPCA(rank, self.sub_batch_size, seed=self._seed)
