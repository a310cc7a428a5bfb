"""Good wires: ``T`` as the first terms of a series that converges within one or two of them.

Where lines lose little, merging (``mho.circuit.merge``) does more than is needed. Let ``D`` be the
cells' conductances, ``A`` and ``B`` the resistances of the word and of the bit lines (matrices from
cell currents to what they drop along their row, or column), so that

    T[i, j] = r_i^T (1/D + A + B)^-1 c_j,     r_i = 1 in row i, c_j = 1 in column j, else 0.

Each kind of line alone is easy: ``alpha = (1 + A D)^-1 1`` is the voltage that reaches the cells
when bit lines are ideal, ``beta = (1 + B D)^-1 1`` likewise for word lines. With
``F_A = A (1 + D A)^-1`` and ``F_B``, and the product ``(1/D + B) D (1/D + A)`` for a first guess of
the matrix above,

    T[i, j] = alpha D beta + sum over p of  r_i^T D alpha F_B (D F_A D F_B)^p D F_A beta D c_j.

No term is negative, and ``D F_A`` and ``D F_B`` shrink voltages by at least ``1 - alpha`` and
``1 - beta``, a per cent or less on good wires: so what is left out after any term is bounded from
above, not estimated. Lines are ladders, so with ``phi`` the voltage along a line whose driver takes
1 A and ``rho = phi/alpha``, ``F_A[l, l'] = alpha_l rho_min(l, l') alpha_l'``: with
``C = alpha D beta`` the series becomes products of dense blocks,

    T = C + sum over p of  C rho_B (C rho_A C rho_B)^p C rho_A C.

Since all terms after ``C`` are small, they may be computed in single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mho.circuit.grid import Grid

ACCURACY = 1e-10
"""Largest error of an entry of ``T`` that is accepted, relative to the largest entry."""

REST = 2e-11
"""What of it may be terms left out."""

EXACT = 1e-14
"""Accuracy of ``C``, which is computed in float64."""

WORST_DROP = 0.1
"""Part of the voltage that a line may lose, for this way to be worth a try."""

PRODUCTS_PER_CELL = 16_000
"""Multiplications for a cell from which merging is faster (measured, on a CPU)."""

STATES_AT_ONCE = 1 << 17
"""Numbers in a block of states: more leaves the cache (measured)."""

LEAST_AT_ONCE = 32
"""Excitations worked on together at least: products with fewer columns are slow."""

MOST_TERMS = 8

_SIGMAS = 4.0


class Loss(NamedTuple):
    """Bounds of the part of the voltage that word and bit lines lose, each without the other."""

    word: float
    bit: float

    @property
    def both(self) -> float:
        """Bound of how a term of the series compares to the one before it."""
        return self.word * self.bit


def loss(grid: Grid) -> Loss:
    """Return how much lines lose at most: ``max A D 1`` and ``max B D 1``; costs one sweep."""
    with torch.no_grad():
        cells = grid.cells[:, None]
        return Loss(float(grid.word_drop(cells).max()), float(grid.bit_rise(cells).max()))


def pays(grid: Grid, lost: Loss) -> bool:
    """Return whether the series is likely to be accurate, and faster than merging."""
    if grid.end is not None or _wires_learn(grid) or max(lost) > WORST_DROP:
        return False
    # Terms are rarely more than a fourth of their bound.
    if _rounding(grid) * lost.both > 4 * (ACCURACY - REST):
        return False
    m, n = grid.cells.shape[-2:]
    terms = 0 if lost.both == 0 else max(0, math.ceil(math.log(REST, lost.both)) - 1)
    return terms * m * n + (terms - 1) * min(m, n) ** 2 <= PRODUCTS_PER_CELL


def effective(grid: Grid, lost: Loss) -> Tensor | None:
    """Return the effective conductance matrices ``[N, m, n]``, or None if not accurate enough.

    Args:
        grid: canonical arrays, driven from one end.
        lost: by their lines (from `loss`), both below 1.

    Returns:
        ``T``, with an error of at most ``ACCURACY`` times its largest entry: the bound of the terms
        left out plus 4 standard deviations of rounding (Higham and Mary 2019,
        doi 10.1137/18M1226312). Differentiable in the cells.

    Raises:
        ValueError: for what the series is not for: both-ends drive, and gradients in resistances
            (where one kind of line loses next to nothing, terms that do not matter would matter).
    """
    if grid.end is not None:
        raise ValueError("the series is for word lines driven from one end, not from both")
    if _wires_learn(grid):
        raise ValueError("the series has no gradient in the resistances: use method='merge'")
    cells = grid.cells
    alpha = _reaching(grid.word_drop, cells, lost.word)
    beta = _reaching(grid.bit_rise, cells, lost.bit)
    C = alpha * cells * beta
    rho = _resistance(grid.word, cells, lost.word) / alpha
    ohms = _resistance(grid.bit.mT, cells.mT, lost.bit) / beta.mT
    # Of the two kinds of line, excitations are of the one there is less of.
    if C.shape[-2] < C.shape[-1]:
        more = _corrections(C.mT, ohms, rho, ((1 - alpha) * cells * beta).sum(-2), lost)
        more = None if more is None else more.mT
    else:
        more = _corrections(C, rho, ohms, ((1 - beta) * cells * alpha).sum(-1), lost)
    if more is None:
        return None
    most, largest = more.detach().amax((-2, -1)), C.detach().amax((-2, -1))
    if bool((_rounding(grid) * most > (ACCURACY - REST) * largest).any()):
        return None
    return C + more


def _reaching(drop: Callable[[Tensor], Tensor], cells: Tensor, lost: float) -> Tensor:
    """Return ``(1 + A D)^-1 1`` by as many sweeps as ``EXACT`` takes."""
    cells = cells[:, None]
    found = torch.ones_like(cells)
    for _ in range(_sweeps(lost, EXACT)):
        found = 1 - drop(cells * found)
    return found[:, 0]


def _resistance(segments: Tensor, cells: Tensor, lost: float) -> Tensor:
    """Return ``phi``, the voltages along lines ``[N, lines, cells]`` whose driver takes 1 A [ohm].

    The current in a segment is that 1 A and what the cells before it take.
    """
    found = segments.cumsum(-1)
    for _ in range(_sweeps(lost, _unit(cells))):
        taken = cells * found
        found = (segments * (1 + taken.cumsum(-1) - taken)).cumsum(-1)
    return found


def _sweeps(lost: float, accuracy: float) -> int:
    return 1 if lost <= accuracy else math.ceil(math.log(accuracy, lost))


def _corrections(C: Tensor, rho: Tensor, ohms: Tensor, weight: Tensor, lost: Loss) -> Tensor | None:
    """Return all terms after ``C``, ``[N, k, l]``, or None if they do not get small enough.

    Args:
        C: ``[N, k, l]`` [S].
        rho: of the lines along ``l``, ``[N, k, l]`` [ohm].
        ohms: of the lines along ``k``, ``[N, l, k]`` [ohm].
        weight: what bounds the effect of voltages of 1 V on row ``k`` of ``T``, ``[N, k]`` [A].
        lost: by the lines.
    """
    count, rows, cols = C.shape
    share = 1 / (1 - lost.both)
    enough = REST * C.detach().amax((-2, -1))
    heaviest = share * weight.detach().amax(-1)
    if bool(((rho * C).detach().amax((-2, -1)) * heaviest <= enough).all()):
        return torch.zeros_like(C)
    single = C.to(_kind(C))
    # What currents along one line, of unit voltages over its cells, lift its other cells by.
    words, bits = _lifts(rho.to(single), single), _lifts(ohms.to(single), single.mT)
    size = max(LEAST_AT_ONCE, STATES_AT_ONCE // (count * rows * cols))
    found = []
    for start in range(0, cols, size):
        state = words[..., start : start + size]  # [N, k, l, part]
        total = None
        for _ in range(MOST_TERMS):
            rise = bits @ state.transpose(1, 2)  # [N, l, k, part]
            total = rise if total is None else total + rise
            rest = lost.both * state.detach().amax((1, 2, 3)) * heaviest
            if bool((rest <= enough).all()):
                break
            state = words @ rise.transpose(1, 2)
        else:
            return None
        found.append((single[:, :, None] @ total.transpose(1, 2))[:, :, 0])
    return torch.cat(found, -1).to(C.dtype)


def _lifts(rho: Tensor, C: Tensor) -> Tensor:
    """Return ``rho_min(l, l') C_l'`` of each line ``[N, lines, l, l]``."""
    # ``rho`` rises along a line.
    return torch.minimum(rho[..., :, None], rho[..., None, :]).mul_(C[..., None, :])


def _wires_learn(grid: Grid) -> bool:
    return torch.is_grad_enabled() and (grid.word.requires_grad or grid.bit.requires_grad)


def _kind(like: Tensor) -> torch.dtype:
    # Elsewhere, or by a user's choice, single precision may silently be less than that.
    exact = like.device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
    return torch.float32 if exact else torch.float64


def _unit(like: Tensor) -> float:
    return torch.finfo(_kind(like)).eps / 2


def _rounding(grid: Grid) -> float:
    """Return the relative error of the terms after ``C``: of sums of ``m`` and of ``n`` numbers."""
    m, n = grid.cells.shape[-2:]
    return _SIGMAS * math.sqrt(m + n) * _unit(grid.cells)
