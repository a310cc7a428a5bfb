"""Non-negative matrix factorisation."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from mho import decomposition as rooms
from mho.compat._common import truth
from mho.compat.xbtorch._numbers import whole
from mho.compat.xbtorch.decomposition.base import GenericDecomposition, Parts, Samples, Translated

__all__ = ["NMF", "GenericDecomposition"]

_STILL = 1e-4  # factors that move by no more than this part of the largest have converged


class NMF(Translated):
    """Increases and decreases of a gradient apart, each of a low rank.

    Args:
        rank: of each part; small matrices have smaller ones.
        streaming: start from the last batch's factors.
        max_iters: most iterations; fewer where the factors converge.

    Attributes:
        info: factors so far, by parameter: ``Wp``, ``Hp``, ``Wn``, ``Hn``.
    """

    _parts: ClassVar[Parts] = {
        "Wp": lambda memory: memory["w"][0].mT,
        "Hp": lambda memory: memory["h"][0],
        "Wn": lambda memory: memory["w"][1].mT,
        "Hn": lambda memory: memory["h"][1],
    }

    def __init__(self, rank: int = 1, streaming: bool = False, max_iters: int = 2000) -> None:
        self.rank, self.max_iters = whole("rank", rank), whole("max_iters", max_iters)
        self.streaming = truth("streaming", streaming)

    def _room(self, rank: int) -> rooms.Decomposition:
        most: Any = {"iterations": self.max_iters, "tolerance": _STILL}
        return rooms.NMF(rank, truth("streaming", self.streaming), seed=self._seed, **most)

    def decompose(
        self, input: Samples, delta: Samples, gradient: Tensor, group_param_idx: Any = None
    ) -> Tensor:
        """See `GenericDecomposition.decompose`.

        Raises:
            RuntimeError: if it streams and no parameter is named.
        """
        if self.streaming and group_param_idx is None:
            raise RuntimeError("streaming NMF remembers factors: give group_param_idx")
        return super().decompose(None, None, gradient, group_param_idx)
