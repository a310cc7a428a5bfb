"""Gauss–Newton for many lines that share a few parameters, and the noise left over.

Each line has parameters of its own (gain, offset, its cells); some are shared (resistances,
compression). The normal equations are blocks of lines with a border:

    | H_j  C_j |        own parameters of line j, with what is known of them beforehand
    | C_jᵀ  D  |        shared ones

and the border's Schur complement ``S = D − Σ_j C_jᵀ H_j⁻¹ C_j`` gives the shared parameters' step
and, inverted, their covariance. Where parameters are drawn from a normal distribution (programming
errors, what all lines have in common at a read) the matrix has its precision on the diagonal:
Henderson's mixed-model equations (C. R. Henderson, Biometrics 1975, doi 10.2307/2529430), whose
inverse is the covariance of what is estimated, predictions of the random ones included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_SWEEPS = 30
_LEAST = 1e-12


@dataclass(frozen=True)
class Normal:
    """Weighted products of derivatives with each other and with the residuals, by line.

    Attributes:
        own: ``[lines, own, own]``.
        border: ``[lines, own, shared]``.
        shared: ``[shared, shared]``.
        own_rest: with the residuals ``[lines, own]``.
        shared_rest: likewise ``[shared]``.
        rest: weighted squares of the residuals ``[lines]``.
    """

    own: Tensor
    border: Tensor
    shared: Tensor
    own_rest: Tensor
    shared_rest: Tensor
    rest: Tensor

    @classmethod
    def of(cls, own: Tensor, shared: Tensor, rest: Tensor, weight: Tensor) -> Normal:
        """Return the products.

        Args:
            own: derivatives ``[lines, reads, own]``.
            shared: ``[lines, reads, shared]``.
            rest: residuals ``[lines, reads]``.
            weight: one over their variance ``[lines, reads]``.
        """
        root = weight.sqrt().unsqueeze(-1)
        all_ = torch.cat((own, shared, rest.unsqueeze(-1)), -1) * root
        product = all_.mT @ all_
        a, b = own.shape[-1], own.shape[-1] + shared.shape[-1]
        return cls(
            product[:, :a, :a],
            product[:, :a, a:b],
            product[:, a:b, a:b].sum(0),
            product[:, :a, b],
            product[:, a:b, b].sum(0),
            product[:, b, b],
        )

    def with_reads(
        self, own: Tensor, shared: Tensor, rest: Tensor, weight: Tensor, now: Tensor, size: float
    ) -> Normal:
        """Return these with a shared parameter more for every read: what its lines have in common.

        Args:
            own: as for `of`, and so are the next three.
            shared: likewise.
            rest: likewise.
            weight: likewise.
            now: the common part of every read ``[reads]`` (A).
            size: its standard deviation (A).
        """
        by_read = (own * weight.unsqueeze(-1)).mT  # [lines, own, reads]
        cross = (shared * weight.unsqueeze(-1)).sum(0).mT
        among = torch.diag(weight.sum(0) + size**-2)
        whole = torch.cat((torch.cat((self.shared, cross), 1), torch.cat((cross.T, among), 1)))
        common = (weight * rest).sum(0) - now * size**-2
        return replace(
            self,
            border=torch.cat((self.border, by_read), 2),
            shared=whole,
            shared_rest=torch.cat((self.shared_rest, common)),
        )

    def solved(
        self,
        free: Tensor,
        precision: Tensor,
        value: Tensor,
        reads: int = 0,
        moves: Tensor | None = None,
    ) -> Solved:
        """Return the step of all parameters, and their covariance.

        Args:
            free: which own parameters are looked for ``[lines, own]`` (bool).
            precision: what is known of them beforehand: one over the variance of a normal
                distribution about 0, 0 where nothing is.
            value: they are now.
            reads: how many of the shared parameters, the last ones, are of single reads.
            moves: which of the other shared parameters are looked for; all if not given.
        """
        few = len(self.shared_rest) - reads
        asked = torch.ones_like(self.shared_rest, dtype=torch.bool)
        if moves is not None:
            asked[:few] = moves
        size = torch.where(free, self.own.diagonal(dim1=1, dim2=2) + precision, 1.0)
        size = torch.where(size > 0, size, 1.0).rsqrt()
        kept = (free.unsqueeze(2) & free.unsqueeze(1)) * (size.unsqueeze(2) * size.unsqueeze(1))
        H = self.own * kept
        H = H + torch.diag_embed(torch.where(free, precision * size.square(), 1.0))
        scale = size * free
        C = self.border * scale.unsqueeze(-1) * asked
        b = (self.own_rest - precision * value) * scale
        inverse = torch.linalg.pinv(H, rtol=_LEAST, hermitian=True)
        volume = torch.linalg.slogdet(H).logabsdet.sum() - 2.0 * size[free].log().sum()
        through = inverse @ C  # [lines, own, shared]
        S = self.shared * (asked.unsqueeze(1) & asked)
        S = S - C.flatten(0, 1).T @ through.flatten(0, 1)
        shared_inverse, left, rest_volume = _inverted(S, self.shared.diagonal(), asked, few)
        rest = self.shared_rest * asked - (through.mT @ b.unsqueeze(-1)).sum(0).squeeze(-1)
        shared_step = shared_inverse @ rest
        own_step = (inverse @ b.unsqueeze(-1)).squeeze(-1) - through @ shared_step
        return Solved(
            own_step * scale,
            shared_step[:few],
            shared_step[few:],
            inverse * kept,
            through * scale.unsqueeze(-1),
            shared_inverse,
            left,
            float(volume + rest_volume),
        )


def _inverted(
    S: Tensor,
    before: Tensor,
    asked: Tensor,
    few: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the inverse of a Schur complement, and how much of a few parameters it leaves.

    Args:
        S: the complement ``[shared, shared]``.
        before: its diagonal before the lines' own parameters took their share.
        asked: which parameters are looked for.
        few: how many there are beside those of single reads, which have a precision of their own.

    Returns:
        Inverse ``[shared, shared]``; the few ones' complement, scaled ``[few, few]``; and the
        logarithm of the determinant.
    """
    by_reads = torch.linalg.inv(S[few:, few:])
    through = S[:few, few:] @ by_reads
    unit = before[:few].clamp_min(1e-300).rsqrt()
    left = (S[:few, :few] - through @ S[few:, :few]) * unit.unsqueeze(1) * unit
    left = left + torch.diag((~asked[:few]).to(left))
    corner = torch.linalg.pinv(left, rtol=_LEAST, hermitian=True) * unit.unsqueeze(1) * unit
    corner = corner * (asked[:few].unsqueeze(1) & asked[:few])
    beside = -corner @ through
    reads = by_reads - through.T @ beside
    whole = torch.cat((torch.cat((corner, beside), 1), torch.cat((beside.T, reads), 1)))
    volume = torch.linalg.slogdet(S[few:, few:]).logabsdet + torch.linalg.slogdet(left).logabsdet
    return whole, left, volume - 2.0 * unit.log().sum()


@dataclass(frozen=True)
class Solved:
    """A step, and the covariance of the parameters in blocks.

    Attributes:
        own: step ``[lines, own]``.
        shared: step ``[shared]``, of those of single reads apart:
        reads: ``[reads]``.
        inverse: of the lines' own blocks ``[lines, own, own]``.
        through: of these with the border ``[lines, own, shared]``.
        shared_covariance: ``[shared, shared]``.
        left: share of what the data say of each shared parameter that the lines' own leave: the
            Schur complement over ``D``, scaled to its diagonal ``[shared, shared]``.
        volume: logarithm of the determinant of the whole matrix.
    """

    own: Tensor
    shared: Tensor
    reads: Tensor
    inverse: Tensor
    through: Tensor
    shared_covariance: Tensor
    left: Tensor
    volume: float

    def own_variance(self) -> Tensor:
        """Return the variance of the lines' own parameters ``[lines, own]``."""
        by_shared = ((self.through @ self.shared_covariance) * self.through).sum(-1)
        return self.inverse.diagonal(dim1=1, dim2=2) + by_shared

    def covariance(self, which: Tensor) -> Tensor:
        """Return the covariance of some of the lines' own parameters and all shared ones.

        Args:
            which: mask ``[lines, own]``; they come line by line. Those of single reads are not
                among the shared ones.
        """
        few = len(self.shared)
        line, own = which.nonzero(as_tuple=True)
        through = self.through[line, own]
        among = through @ self.shared_covariance @ through.T
        same = line.unsqueeze(1) == line
        block = self.inverse[line.unsqueeze(1), own.unsqueeze(1), own.unsqueeze(0)]
        among = among + torch.where(same, block, 0.0)
        cross = (-through @ self.shared_covariance)[:, :few]
        corner = self.shared_covariance[:few, :few]
        return torch.cat((torch.cat((among, cross), 1), torch.cat((cross.T, corner), 1)))


def variance_components(
    squares: Tensor, shapes: Tensor, known: Tensor | float
) -> tuple[Tensor, Tensor, float]:
    """Fit ``Var = known + Σ_k τ_k shape_k`` to squared residuals by maximum likelihood, τ >= 0.

    Fisher scoring: least squares of the squares with weights ``1 / (2 Var²)``; a component that
    would be negative is 0.

    Args:
        squares: of normal residuals, any shape.
        shapes: ``[components, …]``, >= 0.
        known: variance that is known.

    Returns:
        τ ``[components]``; its covariance; and the log-likelihood (without constants).
    """
    flat, shapes = squares.flatten(), shapes.flatten(1)
    known = torch.as_tensor(known, dtype=flat.dtype).expand_as(squares).flatten()
    unit = torch.where(shapes.mean(1) > 0, shapes.mean(1), 1.0)
    size = float(flat.mean()) or 1.0
    shapes, flat, known = shapes / unit.unsqueeze(1), flat / size, known / size
    tau = torch.full((len(shapes),), 1.0 / max(len(shapes), 1), dtype=flat.dtype)
    information = torch.zeros(len(shapes), len(shapes), dtype=flat.dtype)
    for _ in range(_SWEEPS if len(shapes) else 0):
        weight = (known + tau @ shapes).clamp_min(_LEAST).pow(-2) / 2
        information = (shapes * weight) @ shapes.T
        found = _non_negative(information, (shapes * weight) @ (flat - known))
        done = bool(((found - tau).abs() <= 1e-6 * (found + 1e-9)).all())
        tau = found
        if done:
            break
    variance = (known + tau @ shapes).clamp_min(_LEAST)
    likelihood = -0.5 * float((variance.log() + flat / variance).sum())
    scale = size / unit
    covariance = torch.linalg.pinv(information, hermitian=True) * scale.unsqueeze(1) * scale
    return tau * scale, covariance, likelihood


def _non_negative(matrix: Tensor, target: Tensor) -> Tensor:
    """Solve small least squares with solutions >= 0, dropping the most negative each time."""
    kept = torch.ones_like(target, dtype=torch.bool)
    found = torch.zeros_like(target)
    while bool(kept.any()):
        part = torch.linalg.pinv(matrix[kept][:, kept], hermitian=True) @ target[kept]
        found = torch.zeros_like(target)
        found[kept] = part
        if bool((part >= 0).all()):
            break
        kept &= found != found.min()
    return found.clamp_min(0.0)
