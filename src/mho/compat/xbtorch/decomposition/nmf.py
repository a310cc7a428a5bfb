"""Non-negative matrix factorisation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mho import decomposition as rooms
from mho.compat.xbtorch.decomposition.base import Translated
from mho.core import checks

_PASSES = 50  # of alternating least squares: more do not change what a step of training needs


class NMF(Translated):
    """Increases and decreases of a gradient apart, each of a low rank.

    Args:
        rank: of each part; small matrices have smaller ones.
        streaming: start from the last batch's factors.
        max_iters: most iterations; 50 always suffice for the solver.
    """

    def __init__(self, rank: int = 1, streaming: bool = False, max_iters: int = 2000) -> None:
        checks.integer("rank", rank)
        checks.integer("max_iters", max_iters)
        self.rank = rank
        self.streaming = streaming
        self.max_iters = max_iters
        self._engines: dict[int, rooms.NMF] = {}

    def _engine(self, largest: int) -> rooms.Decomposition:
        rank = min(self.rank, largest)
        if rank not in self._engines:
            self._engines[rank] = rooms.NMF(
                rank, bool(self.streaming), iterations=min(self.max_iters, _PASSES)
            )
        return self._engines[rank]

    def decompose(
        self,
        input: Tensor | None,
        delta: Tensor | None,
        gradient: Tensor,
        group_param_idx: Any = None,
    ) -> Tensor:
        """See `GenericDecomposition.decompose`.

        Raises:
            RuntimeError: if it streams and no parameter is named.
        """
        if self.streaming and group_param_idx is None:
            raise RuntimeError("streaming NMF remembers factors: give group_param_idx")
        return super().decompose(None, None, gradient, group_param_idx)

    @property
    def info(self) -> dict[str, dict[Any, Any]]:
        """Factors so far, by parameter: ``Wp``, ``Hp``, ``Wn``, ``Hn``."""
        memories = {
            key: memory
            for engine in self._engines.values()
            for key, memory in engine.state_dict()["memory"].items()
        }
        parts = {"Wp": ("w", 0), "Hp": ("h", 0), "Wn": ("w", 1), "Hn": ("h", 1)}
        return {
            ours: {k: m[name][i].mT if name == "w" else m[name][i] for k, m in memories.items()}
            for ours, (name, i) in parts.items()
        }
