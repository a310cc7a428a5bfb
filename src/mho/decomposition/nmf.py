"""Non-negative matrix factorisation of a gradient's positive and negative parts."""

from __future__ import annotations

import functools
from collections.abc import Hashable

import torch
from torch import Tensor

from mho.core import checks, random
from mho.decomposition.base import Decomposition, Factors, Memory, check_rank, working


class NMF(Decomposition):
    """Increases and decreases apart: ``relu(g) ≈ W₊ H₊``, ``relu(−g) ≈ W₋ H₋``, all entries >= 0.

    The gradient is approximated by ``W₊ H₊ − W₋ H₋``: ``2 · rank`` outer products, of which the
    first half only ever raise weights and the second half only lower them (pulses of one
    polarity). Both parts are found at once by hierarchical alternating least squares (Cichocki &
    Phan 2009, doi 10.1587/transfun.E92.A.708): column after column of W, then of H, is set to its
    best value >= 0 with all else held fixed, so the error ``|part − W H|`` never grows.

    Args:
        rank: of each part.
        streaming: start each batch from the last one's factors, rather than afresh.
        iterations: passes over all columns, per batch, at most.
        seed: of the factors started from.
        tolerance: passes end when no entry of W moves by more than this part of the largest; 0:
            never before the last.
    """

    rank: int

    def __init__(
        self,
        rank: int,
        streaming: bool = False,
        *,
        iterations: int = 20,
        seed: int = 0,
        tolerance: float = 0.0,
    ) -> None:
        rank = checks.integer("NMF rank", rank)
        streaming = checks.truth("NMF streaming", streaming)
        iterations = checks.integer("NMF iterations", iterations)
        seed = checks.integer("NMF seed", seed, least=0)
        self.rank = rank
        self.streaming = streaming
        self.iterations = iterations
        self.seed = seed
        self.tolerance = checks.number("NMF tolerance", tolerance, least=0.0)

    def factors(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, key: Hashable
    ) -> Factors:
        """See `Decomposition.factors`; samples are not read."""
        check_rank(self.rank, gradient.shape)
        gradient = working(gradient)
        low, high = torch.aminmax(gradient)  # in one pass, and in no new memory
        scale = torch.maximum(-low, high)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        parts = gradient.new_empty((2, *gradient.shape))
        torch.div(gradient, scale, out=parts[0])
        torch.neg(parts[0], out=parts[1])
        parts.relu_()
        w, h = self._recall(key, parts)
        for _ in range(self.iterations):
            before, (w, h) = w, improve(parts, w, h)
            if self.tolerance and (w - before).abs().max() <= self.tolerance * w.max():
                break
        if self.streaming:
            self.memory(key).update(w=w, h=h)
        root = scale.sqrt()
        left, right = torch.cat((w[0], -w[1])), h.flatten(0, 1)
        return Factors(left.mT * root, right.mT * root)

    def _recall(self, key: Hashable, parts: Tensor) -> tuple[Tensor, Tensor]:
        """``Wᵀ [2, r, out]`` and ``H [2, r, in]`` to start from."""
        memory: Memory = self.memory(key) if self.streaming else {}
        _, out, wide = parts.shape
        if memory:
            w, h = memory["w"].to(parts), memory["h"].to(parts)
            checks.shape("what NMF remembers of this layer", w, (2, self.rank, out))
            checks.shape("what NMF remembers of this layer", h, (2, self.rank, wide))
            return w, h
        w, h = _start(self.seed, self.rank, out, wide)
        return w.to(parts), h.to(parts)


@functools.lru_cache(maxsize=32)
def _start(seed: int, rank: int, out: int, wide: int) -> tuple[Tensor, Tensor]:
    """Factors started from afresh, in double precision; nobody may change them."""
    source = random.generator(random.derive(seed, out, wide))
    w, h = (
        torch.rand(2, rank, n, generator=source, dtype=torch.float64, device="cpu")
        for n in (out, wide)
    )
    return w, h


def improve(parts: Tensor, w: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """One pass over all columns of W, then over all rows of H.

    Args:
        parts: matrices ``[n, out, in]``, >= 0.
        w: ``Wᵀ [n, r, out]``, >= 0.
        h: ``H [n, r, in]``, >= 0.

    Returns:
        New Wᵀ and H, with ``|parts - W H|`` no larger.
    """
    w = _least_squares(torch.bmm(h, parts.mT), torch.bmm(h, h.mT), w)
    h = _least_squares(torch.bmm(w, parts), torch.bmm(w, w.mT), h)
    return w, h


def _least_squares(target: Tensor, gram: Tensor, rows: Tensor) -> Tensor:
    """Set row after row to ``max(0, row_k + (target_k − gram_k rows)/gram_kk)``.

    A row whose partner is zero has no best value and stays: it can come back later.
    """
    own = gram.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    if bool((own > 0).all()):
        target, gram = target.div_(own), gram / own
    else:  # whole rows of the gram divided by its diagonal; where that is zero nothing moves
        alive = own > 0
        target = torch.where(alive, target / own, rows)
        gram = torch.where(alive, gram / own, torch.eye(gram.shape[-1]).to(gram))
    rows = rows.clone()
    # A small matrix costs what calling costs: as few calls as it takes.
    singles = (matrix.split(1, 1) for matrix in (target, gram, rows))
    for wanted, others, row in zip(*singles, strict=True):
        row.add_(wanted.baddbmm_(others, rows, alpha=-1.0)).clamp_(min=0.0)
    return rows
