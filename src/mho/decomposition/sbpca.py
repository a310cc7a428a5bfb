"""Streaming batch principal components of a gradient: samples seen once, nothing large kept."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from mho.core import checks, random
from mho.decomposition.base import Decomposition, Factors, Memory, check_rank, stream, working

Components = tuple[Tensor, Tensor, Tensor]
"""``Δ [out, r]``, ``σ [r]`` (per sample, never negative), ``X [in, r]``; orthonormal columns."""


class StreamingBatchPCA(Decomposition):
    """Stochastic power iterations over sub-batches of samples ``(input, delta)``.

    The gradient per sample is followed as ``Δ diag(σ) Xᵀ``, a running mean over samples. With
    ``s`` samples counted so far, a sub-batch of ``n`` more, ``X_n`` their inputs and ``D_n`` their
    deltas, ``a = s/(s + n)`` and ``c = 1/(s + n)``::

        X ← qr₊(a X σ + c X_nᵀ(D_n Δ))
        Δ ← qr₊(a Δ σ + c D_nᵀ(X_n X))
        σ ← a σ + c Σ_n (D_n Δ ∘ X_n X)

    with qr₊ the orthonormal factor whose columns point the way of what it is made from. The
    gradient of a batch of B samples is then ``≈ B Δ diag(σ) Xᵀ``. A short last sub-batch counts by
    its samples; a batch smaller than ``sub_batch`` is one short sub-batch.

    Each batch starts from the last one's components, which weigh as much as ``carry`` sub-batches
    of it: at 1 ``a = (i + 1)/(i + 2)`` at sub-batch i, counted from 0. At 0 the old vectors are
    where the power iterations start from, and the mean is over the batch alone. At ``math.inf`` the
    mean is over all samples ever seen: for a stream that does not change. The first batch has no
    past.

    Without samples there is nothing to stream: the gradient's rows are taken all at once, and the
    past gives only the vectors to start from. Convolutions have a sample per output position, and
    every sub-batch is one step: give them a larger ``sub_batch``.

    (Published with a division by σ inside of qr₊, which scales columns and so changes nothing,
    but fails where a component vanishes.)

    Source: Hoskins et al. 2019, doi 10.3389/fnins.2019.00793; Huang et al. 2023,
    doi 10.1145/3577214.

    Args:
        rank: number of components.
        sub_batch: samples per step.
        carry: what the past weighs when a batch begins, in sub-batches, >= 0.
        seed: of the first batch's vectors.
    """

    streams = True
    rank: int

    def __init__(
        self, rank: int, sub_batch: int = 32, *, carry: float = 1.0, seed: int = 0
    ) -> None:
        rank = checks.integer("StreamingBatchPCA rank", rank)
        sub_batch = checks.integer("StreamingBatchPCA sub_batch", sub_batch)
        if carry != float("inf"):
            carry = checks.number("StreamingBatchPCA carry", carry, least=0.0)
        seed = checks.integer("StreamingBatchPCA seed", seed, least=0)
        self.rank = rank
        self.sub_batch = sub_batch
        self.carry = carry
        self.seed = seed

    def factors(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, key: Hashable
    ) -> Factors:
        """See `Decomposition.factors`; with samples, the gradient gives shape and dtype only."""
        check_rank(self.rank, gradient.shape)
        gradient = working(gradient)
        memory = self.memory(key)
        components = self._recall(memory, gradient)
        streamed = input is not None
        input, delta = stream(input, delta, gradient)
        batch = len(input)
        step = self.sub_batch if streamed else batch
        seen = memory.get("samples", 0)
        count = min(seen, self.carry * min(step, batch)) if streamed else 0
        for x, d in zip(input.split(step), delta.split(step), strict=True):
            if not len(x):
                continue  # a batch of no samples tells nothing
            components = advance(components, x, d, count)
            count += len(x)
        memory.update(zip(("delta", "sigma", "x"), components, strict=True))
        memory["samples"] = seen + batch
        left, sigma, right = components
        root = (sigma * batch).sqrt()
        return Factors(left * root, right * root)

    def _recall(self, memory: Memory, gradient: Tensor) -> Components:
        """The last batch's components, or a first guess without weight."""
        if not memory:
            source = random.generator(random.derive(self.seed, *gradient.shape))
            guesses = (
                torch.randn(side, self.rank, generator=source, dtype=torch.float64)
                for side in gradient.shape
            )
            delta, x = (torch.linalg.qr(guess)[0].to(gradient) for guess in guesses)
            return delta, gradient.new_zeros(self.rank), x
        delta, sigma, x = (memory[name].to(gradient) for name in ("delta", "sigma", "x"))
        expected, found = (*gradient.shape, self.rank), (len(delta), len(x), len(sigma))
        if expected != found:
            raise ValueError(
                f"what is remembered is of shape [{found[0]}, {found[1]}] and rank {found[2]}, but "
                f"the gradient is of shape {list(gradient.shape)} and rank {self.rank}: give every "
                "layer a key of its own, or reset()"
            )
        return delta, sigma, x


def advance(components: Components, x: Tensor, d: Tensor, count: float) -> Components:
    """Count one more sub-batch into the components of the mean gradient.

    Args:
        components: so far.
        x: inputs ``[n, in]``.
        d: deltas ``[n, out]``.
        count: samples counted so far.

    Returns:
        The components after ``count + n`` samples.
    """
    delta, sigma, right = components
    n = len(x)
    old = sigma * (count / (count + n))
    share = 1.0 / (count + n)
    right = _qr_plus(torch.addmm(right * old, x.T, d @ delta, alpha=share), right)
    seen = x @ right
    delta = _qr_plus(torch.addmm(delta * old, d.T, seen, alpha=share), delta)
    sigma = torch.add(old, (d @ delta).mul_(seen).sum(0), alpha=share)
    # A component may be found with the other sign: turn it, so that sigma stays a length.
    return delta.mul_(_sign(sigma)), sigma.abs_(), right


def _qr_plus(columns: Tensor, before: Tensor) -> Tensor:
    """Orthonormal columns along the given ones; what these leave open stays as it was before."""
    # A trace of the old vectors, above rounding: it decides where columns vanish or coincide.
    largest = columns.abs().amax()  # a third of what torch's norm takes
    limits = torch.finfo(columns.dtype)
    trace = largest.mul_(8 * limits.eps).clamp_min_(limits.tiny / limits.eps)
    q, r = torch.linalg.qr(columns.addcmul_(trace, before))
    return q.mul_(_sign(r.diagonal()))


def _sign(values: Tensor) -> Tensor:
    # Of 0 and of -0, too, it is 1.
    return torch.where(values < 0, -1.0, 1.0).to(values)
