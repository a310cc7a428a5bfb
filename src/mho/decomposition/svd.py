"""Singular value decompositions of a gradient: whole, and the largest few values."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from mho.core import checks, random
from mho.decomposition.base import Decomposition, Factors, check_rank, working

Triplets = tuple[Tensor, Tensor, Tensor]
"""``U [out, k]``, ``σ [k]`` falling, ``V [in, k]``."""

_DIRECT = 48  # up to this smaller side, LAPACK is as fast as anything
_OVERSAMPLE = 8  # vectors beyond the rank in a Krylov block
_LOST = 16.0  # times √eps: squares of singular values smaller than this part of the largest one
_LARGE = 1e12  # between this and its inverse, squares are far from the ends of single precision
_NOISE = 16.0  # times eps: of the largest row, what is left of a row that others hold
_MUCH = 0.02  # of the largest row: rows with more to themselves come out orthogonal at once
_SMALL = 0.05  # of the largest: rounding of what smaller ones miss would be divided by them
_FIRST_LOOK = 4  # blocks before it is worth looking at what was found


class FullSVD(Decomposition):
    """The whole singular value decomposition ``U diag(σ) Vᵀ`` (`torch.linalg.svd`).

    The factors are ``U √σ`` and ``V √σ``, in falling order of σ: the gradient is given back whole,
    and its terms may be written one by one, the largest first.
    """

    def factors(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, key: Hashable
    ) -> Factors:
        """See `Decomposition.factors`; samples are not read."""
        return _balanced(_svd(working(gradient)))


class TruncatedSVD(Decomposition):
    """The ``rank`` largest singular values and their vectors: the best approximation of its rank.

    Small matrices are given to LAPACK. Large ones are met by their products with a few vectors
    only (`top_triplets`), to the accuracy LAPACK has itself or nearly so; where that is too slow in
    coming, LAPACK does it. The result is a function of the gradient alone, nothing is remembered.

    Args:
        rank: number of singular values kept.
    """

    rank: int

    def __init__(self, rank: int) -> None:
        rank = checks.integer("TruncatedSVD rank", rank)
        self.rank = rank

    def factors(
        self, input: Tensor | None, delta: Tensor | None, gradient: Tensor, key: Hashable
    ) -> Factors:
        """See `Decomposition.factors`; samples are not read."""
        check_rank(self.rank, gradient.shape)
        return _balanced(top_triplets(working(gradient), self.rank))


def _balanced(triplets: Triplets) -> Factors:
    u, s, v = triplets
    root = s.sqrt()
    return Factors(u * root, v * root)


def _svd(matrix: Tensor) -> Triplets:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u, s, vh.mT


def top_triplets(matrix: Tensor, rank: int) -> Triplets:
    """Return the largest singular values of a matrix and their vectors.

    Block Krylov iteration (Golub & Kahan's bidiagonalisation by blocks; Musco & Musco 2015,
    arXiv:1504.05477): with ``Q`` an orthonormal basis of ``G Ω, (G Gᵀ) G Ω, …`` the triplets of
    ``Qᵀ G`` approach those of ``G``, the faster the more they stand out. It stops when every
    triplet satisfies ``|G v − σ u| <= eps^¾ · σ_max`` (``Gᵀ u = σ v`` holds by construction). A
    space grown beyond half the matrix costs more than the whole decomposition, which is then done.

    Args:
        matrix: ``[out, in]``.
        rank: number of triplets, at most the smaller side.

    Returns:
        ``U [out, rank]``, ``σ [rank]`` falling, ``V [in, rank]``.
    """
    if matrix.shape[0] > matrix.shape[1]:
        v, s, u = top_triplets(matrix.mT, rank)
        return u, s, v
    small = matrix.shape[0]
    block = rank + _OVERSAMPLE
    if small <= max(_DIRECT, 4 * block):
        u, s, v = _svd(matrix)
        return u[:, :rank], s[:rank], v[:, :rank]
    # Products of products must not leave the range of the dtype.
    low, high = torch.aminmax(matrix)  # in one pass, and in no new memory
    size = float(torch.maximum(-low, high))
    scale = 1.0 if size == 0.0 or 1 / _LARGE < size < _LARGE else size
    matrix = matrix if scale == 1.0 else matrix / scale
    found = _krylov(matrix, rank, block)
    u, s, v = _svd(matrix) if found is None else found
    return u[:, :rank], s[:rank] * scale, v[:, :rank]


class _Space(NamedTuple):
    """A space of left vectors: rows ``Q [k, out]``, their images ``Q G [k, in]``, ``Q G Gᵀ Qᵀ``."""

    basis: Tensor
    images: Tensor
    gram: Tensor

    def grown(self, new: Tensor, matrix: Tensor) -> _Space:
        """Return the space with more rows, orthonormal and orthogonal to it."""
        basis, images, gram = self
        image = new @ matrix
        beside = image @ images.mT
        above, below = torch.cat((gram, beside.mT), 1), torch.cat((beside, image @ image.mT), 1)
        joined = torch.cat((above, below))
        return _Space(torch.cat((basis, new)), torch.cat((images, image)), joined)


def _krylov(matrix: Tensor, rank: int, block: int) -> Triplets | None:
    """Iterate until ``rank`` triplets are found; None if the space grows too large before."""
    # The space's vectors are rows: products of few rows with a matrix are several times as fast
    # as those of a matrix with few columns.
    out, wide = matrix.shape
    start = _start(block, wide).to(matrix)
    none = start.new_empty
    space = _Space(none(0, out), none(0, wide), none(0, 0))
    new = _orthonormal(start @ matrix.mT, space.basis)[0]
    steps, limit = 0, torch.finfo(matrix.dtype).eps ** 0.75
    while len(new):
        if len(space.basis) + len(new) > out // 2:
            return None
        space, steps, last = space.grown(new, matrix), steps + 1, len(new)
        new, beyond = _orthonormal(space.images[-last:] @ matrix.mT, space.basis)
        if len(new) and (steps < _FIRST_LOOK or len(space.basis) < rank):
            continue
        found = _found(matrix, space, rank, beyond[-last:], limit)
        if found is not None:
            return found
    # The space holds all that the matrix has. What is left belongs to singular values of zero.
    short = rank - len(space.basis)
    if short <= 0 or len(space.basis) + short > out // 2:
        return None
    new = _orthonormal(_start(block, out)[:short].to(matrix), space.basis)[0]
    return _found(matrix, space.grown(new, matrix), rank, None, limit)


def _found(
    matrix: Tensor, space: _Space, rank: int, beyond: Tensor | None, limit: float
) -> Triplets | None:
    """Return the best triplets of the space, if they are those of the matrix; else None.

    Args:
        matrix: ``G [out, in]``.
        space: of left vectors.
        rank: how many.
        beyond: what ``Q G Gᵀ`` of the last rows of ``Q`` has outside of the space, ``[last, out]``;
            that of all others lies in it. None if that is not known.
        limit: of ``|G v − σ u|``, relative to the largest σ.
    """
    if len(space.basis) < rank:
        return None
    u, s, v, weights = _ritz(space, rank)
    if weights is None or beyond is None or bool(s[-1] < _SMALL * s[0]):
        missed = v @ matrix.mT - s.unsqueeze(1) * u
    else:  # with v = weights Q G / σ: no product more is needed
        missed = (weights[:, -len(beyond) :] @ beyond) / s.unsqueeze(1)
    residual = torch.linalg.vector_norm(missed, dim=1)
    return (u.mT, s, v.mT) if bool((residual <= limit * s[0]).all()) else None


@functools.lru_cache(maxsize=32)
def _start(rows: int, columns: int) -> Tensor:
    """A fixed Gaussian block: what the result depends on is the matrix alone."""
    return torch.randn(rows, columns, generator=random.generator(0), dtype=torch.float64)


def _orthonormal(new: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Make rows orthonormal, and orthogonal to a basis; leave out those that are only rounding.

    Returns:
        Those rows, and what the rows given have outside of the basis.
    """
    rounding = _NOISE * torch.finfo(new.dtype).eps * torch.linalg.vector_norm(new, dim=1).amax()
    beyond = _without(new, basis)
    left = _without(beyond, basis)  # of what cancelled, rounding had left some of the basis
    q, r = torch.linalg.qr(left.mT)
    lengths = r.diagonal().abs()
    much = _MUCH * torch.linalg.vector_norm(left, dim=1).amax()
    if bool(lengths.amin() > torch.maximum(much, rounding)):
        return q.mT, beyond
    kept = q.mT[lengths > rounding]
    return torch.linalg.qr(_without(kept, basis).mT)[0].mT, beyond


def _without(rows: Tensor, basis: Tensor) -> Tensor:
    """Return rows less what lies in the basis."""
    return torch.addmm(rows, rows @ basis.mT, basis, alpha=-1.0)


def _ritz(space: _Space, rank: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Best triplets of the space, vectors as rows: those of ``Q G``.

    Eigenvectors of ``Q G Gᵀ Qᵀ`` give them at a fraction of the cost, but for values so small that
    their squares are lost beside the largest one's.

    Returns:
        ``u``, ``σ``, ``v``, and u's weights on the basis where ``v`` was made of them, else None.
    """
    basis, images, gram = space
    squares, vectors = torch.linalg.eigh(gram)
    squares, vectors = squares[-rank:].flip(0), vectors[:, -rank:].flip(1).mT
    lost = _LOST * torch.finfo(gram.dtype).eps ** 0.5
    if bool(squares[-1] > lost * squares[0]):
        s = squares.sqrt()
        return vectors @ basis, s, (vectors @ images) / s.unsqueeze(1), vectors
    q, r = torch.linalg.qr(images.mT)
    u, s, vh = torch.linalg.svd(r.mT)  # Q G = rᵀ qᵀ
    return u.mT[:rank] @ basis, s[:rank], vh[:rank] @ q.mT, None
