"""Streaming batch principal components."""

from __future__ import annotations

from typing import Any

from mho import decomposition as rooms
from mho.compat.xbtorch.decomposition.base import Translated
from mho.core import checks


class SBPCA(Translated):
    """Principal components of a gradient, from its samples, sub-batch by sub-batch.

    All samples count, also those of a short last sub-batch.

    Args:
        rank: how many components; small matrices have fewer.
        sub_batch_size: samples per step.

    Source: see `mho.decomposition.StreamingBatchPCA`.
    """

    def __init__(self, rank: int = 1, sub_batch_size: int = 32) -> None:
        checks.integer("rank", rank)
        checks.integer("sub_batch_size", sub_batch_size)
        self.rank = rank
        self.sub_batch_size = sub_batch_size
        self._engines: dict[int, rooms.StreamingBatchPCA] = {}

    def _engine(self, largest: int) -> rooms.Decomposition:
        rank = min(self.rank, largest)
        if rank not in self._engines:
            self._engines[rank] = rooms.StreamingBatchPCA(rank, self.sub_batch_size)
        return self._engines[rank]

    @property
    def info(self) -> dict[str, dict[Any, Any]]:
        """Components so far, by parameter: ``X``, ``sigma`` and ``DELTA``."""
        memories = {
            key: memory
            for engine in self._engines.values()
            for key, memory in engine.state_dict()["memory"].items()
        }
        names = {"X": "x", "sigma": "sigma", "DELTA": "delta"}
        return {ours: {k: m[name] for k, m in memories.items()} for ours, name in names.items()}
