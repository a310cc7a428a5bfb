"""Cells that do not conduct what they should: which of them, at a rate of false alarms.

A cell that is off by δ adds ``v_i · δ`` to its line's residual, so what is asked of every cell is
whether its input still explains something. The strongest of each line is taken first, as one
broken cell makes its neighbours look broken too; lines are judged by their own residuals, as
a broken cell inflates the noise found elsewhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mho.fit.twin_solve import Normal

_ROUNDS = 32
_NOTHING = 1e-9  # of what a cell explains alone


def suspicious(normal: Normal, cells: Tensor, free: Tensor, reads: int, rate: float) -> Tensor:
    """Return the cells whose inputs explain more of a line's residual than chance does.

    Args:
        normal: of the fit so far, with all cells among the own parameters.
        cells: mask of the own parameters that are cells ``[own]``.
        free: which own parameters are fitted already ``[lines, own]``.
        reads: how many there were.
        rate: of false ones among those found (Benjamini and Hochberg 1995, doi
            10.1111/j.2517-6161.1995.tb02031.x).

    Returns:
        Mask ``[lines, own]`` of further ones.
    """
    found = torch.zeros_like(free)
    left, rest, total = _left(normal, free)
    used = free.sum(1, keepdim=True)
    for _ in range(_ROUNDS):
        size = left.diagonal(dim1=1, dim2=2)
        asked = cells & ~free & ~found & (size > _NOTHING)
        gain = torch.where(asked, rest.square() / size.clamp_min(_NOTHING), 0.0)
        noise = (total - gain).clamp_min(1e-300) / (reads - used - 1).clamp_min(1)
        score = (gain / noise).sqrt()
        threshold = least_score(score[:, cells].flatten(), rate)
        best, at = score.max(1, keepdim=True)
        taken = best >= threshold
        if not bool(taken.any()):
            break
        found = found | torch.zeros_like(found).scatter(1, at, taken)
        used = used + taken
        # What the cells just taken explain, the others no longer have to.
        column = left.gather(2, at.unsqueeze(1).expand(-1, left.shape[1], 1))
        pivot = torch.where(taken, size.gather(1, at), torch.inf)
        share = column.squeeze(2) / pivot
        by_rest = rest.gather(1, at)
        total = total - torch.where(taken, by_rest.square() / pivot, 0.0)
        rest = rest - share * by_rest
        left = left - share.unsqueeze(2) * column.mT
    return found


def _left(normal: Normal, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what own parameters have left once the free ones are fitted, scaled to unit size.

    Products with each other ``[lines, own, own]``, with the residuals ``[lines, own]``, and the
    residuals' squares ``[lines, 1]``.
    """
    own, rest = normal.own, normal.own_rest
    size = own.diagonal(dim1=1, dim2=2)
    size = torch.where(size > 0, size, 1.0).rsqrt()
    own, rest = own * size.unsqueeze(2) * size.unsqueeze(1), rest * size
    kept = free.unsqueeze(2) & free.unsqueeze(1)
    inverse = torch.linalg.pinv(
        own * kept + torch.diag_embed((~free).to(own)), rtol=1e-12, hermitian=True
    )
    through = (inverse * kept) @ own
    left = own - own.mT @ through
    rest_left = rest - (through.mT @ rest.unsqueeze(-1)).squeeze(-1)
    total = (
        normal.rest.unsqueeze(1) - (rest.unsqueeze(1) @ (inverse * kept) @ rest.unsqueeze(2))[:, 0]
    )
    return left, rest_left, total


def least_score(score: Tensor, rate: float) -> float:
    """Return the |z| from which on standard-normal scores are more than chance.

    Args:
        score: |z| of all that are looked at ``[tests]``.
        rate: of false ones among those found, 0…1.
    """
    ordered = score.sort(descending=True).values
    chance = torch.special.erfc(ordered / math.sqrt(2.0))
    allowed = rate * torch.arange(1, len(ordered) + 1) / len(ordered)
    passed = (chance <= allowed).nonzero()
    return float(ordered[passed.max()]) if len(passed) else math.inf
