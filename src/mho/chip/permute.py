"""Which word line and bit line each row and column of a matrix takes, so that defects hurt least.

A matrix may lie in its region with rows and columns in any order: inputs and outputs are routed
accordingly. The order of rows that minimises the squared error of the weights is a linear
assignment problem, solved exactly; small weights come to lie on cells stuck low.
"""

from __future__ import annotations

from collections.abc import Sequence

import scipy
import torch
from torch import Tensor

from mho.core import checks

WHICH = ("rows", "cols", "both")
_ROUNDS = 2


def row_costs(
    target: Tensor, stuck: Tensor, stuck_g: Tensor, combination: Sequence[float]
) -> Tensor:
    """Return the squared error ``[rows, places]`` of every row of weights in every place.

    With ``m`` the mask of broken cells and ``A = Σ_s c_s m_s stuck_s`` what they add, row ``i`` in
    place ``p`` errs by ``e = A[p] - Σ_s c_s m_s[p] t_s[i]`` in every column. Its square, summed
    over columns, is a sum of products of something of ``i`` with something of ``p``: a few matrix
    products.

    Args:
        target: conductances planned ``[slices, rows, cols]`` (S).
        stuck: which cells are broken, of the same shape.
        stuck_g: what these read (S).
        combination: ``c``, one number a slice.
    """
    c = torch.tensor(combination, dtype=target.dtype, device=target.device).view(-1, 1, 1)
    broken = c * stuck.to(target.dtype)
    added = (broken * stuck_g).sum(0)
    # e² = A² - 2 A Σ_s b_s t_s + Σ_{s,r} b_s b_r t_s t_r, with b = c m
    wide = [(added * broken).transpose(0, 1).flatten(1) * -2.0]
    tall = [target.transpose(0, 1).flatten(1)]
    first, second = torch.triu_indices(len(target), len(target), device=target.device)
    twice = torch.where(first == second, 1.0, 2.0).to(target).view(-1, 1, 1)
    wide.append((twice * broken[first] * broken[second]).transpose(0, 1).flatten(1))
    tall.append((target[first] * target[second]).transpose(0, 1).flatten(1))
    return torch.cat(tall, 1) @ torch.cat(wide, 1).T + added.square().sum(1)


def best_order(
    target: Tensor, stuck: Tensor, stuck_g: Tensor, combination: Sequence[float]
) -> Tensor:
    """Return the place of every row, ``[rows]``, that minimises the squared error of all weights.

    Arguments are those of `row_costs`.
    """
    # Squares of conductances would vanish in single precision: in units of the largest.
    unit = target.abs().amax().clamp(min=torch.finfo(target.dtype).tiny)
    held = torch.where(stuck, stuck_g, 0.0) / unit
    cost = row_costs(target / unit, stuck, held, combination).cpu().numpy()
    return torch.from_numpy(scipy.optimize.linear_sum_assignment(cost)[1]).to(target.device)


def best_orders(
    target: Tensor,
    stuck: Tensor,
    stuck_g: Tensor,
    combination: Sequence[float],
    which: str = "rows",
) -> tuple[Tensor, Tensor]:
    """Return the places of all rows and of all columns.

    Both together are improved in turns, each exactly for the other as it stands; that need not be
    the best pair there is, but never gets worse.

    Args:
        target: see `row_costs`.
        stuck: see `row_costs`, by place.
        stuck_g: see `row_costs`, by place.
        combination: see `row_costs`.
        which: ``"rows"``, ``"cols"`` or ``"both"``.

    Returns:
        ``[rows]`` and ``[cols]``: row ``i`` lies on word line ``rows[i]`` of the region.
    """
    checks.one_of("permute", which, WHICH)
    rows = torch.arange(target.shape[1], device=target.device)
    cols = torch.arange(target.shape[2], device=target.device)
    for _ in range(_ROUNDS if which == "both" else 1):
        if which != "cols":
            mask, value = stuck.index_select(2, cols), stuck_g.index_select(2, cols)
            rows = best_order(target, mask, value, combination)
        if which != "rows":
            mask, value = stuck.index_select(1, rows).mT, stuck_g.index_select(1, rows).mT
            cols = best_order(target.mT, mask, value, combination)
    return rows, cols
