"""Exact solution by merging sub-arrays (nested dissection with dense blocks).

Why this and not another exact method: a sparse factorisation with ``n`` adjoint solves is slow in
its constants (``benchmarks/circuit.py`` measures it), and block elimination row by row costs
``O(m n^3)`` in ``m`` steps that depend on each other. Merging equal blocks pairwise costs
``O(n^3)`` altogether for a square (about ``80 n^3`` multiplications and additions), takes
``log2(m n)`` steps, each of them batched products over all blocks of all arrays, and is made of
nothing but differentiable tensor operations, so it runs on any device and needs no adjoint by hand.

A block of ``a x b`` cells is known by its **ports**: at the *near* end of each line (towards the
driver or the sink) the voltage is given and the current into the block is the answer; at the *far*
end the injected current is given and the voltage is the answer. This choice follows the way
voltages are held in the circuit, so nothing is ever divided by a resistance or by a conductance:
zero of either is exact, and huge ones do no harm. With the answer at far ends written with a minus
sign the block is a symmetric matrix ``K`` (reciprocity), for example of one cell

    K = [[ Y, -N^T],      Y >= 0  admittance of the near ends,
         [-N,   -Z]]      Z >= 0  impedance of the far ends.

Joining block A (whose far ends) to block B (whose near ends) eliminates the joint's voltages ``x``
and currents ``y``:

    x = -p^T e_A - Z y,   y = q^T e_B + Y x,   M = (I + Z Y)^-1

with ``e`` the excitation of the remaining ports, ``p`` and ``q`` their coupling to the joint. All
eigenvalues of ``Z Y`` are >= 0, so ``I + Z Y`` is never singular.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.circuit.grid import Grid
from mho.circuit.plan import Plan, Step, plan


@dataclass(frozen=True)
class Joint:
    """What a joint remembers, to find its voltages and currents later.

    Args:
        p: coupling of A's other ports to the joint ``[N, s, k]``.
        q: coupling of B's other ports to the joint ``[N, t, k]``.
        Z: impedance of A at the joint ``[N, k, k]`` [ohm].
        Y: admittance of B at the joint ``[N, k, k]`` [S].
        M: ``(I + Z Y)^-1`` ``[N, k, k]``.
    """

    p: Tensor
    q: Tensor
    Z: Tensor
    Y: Tensor
    M: Tensor


def effective(grid: Grid) -> Tensor:
    """Return the effective conductance matrices ``[N, m, n]`` of canonical arrays."""
    _, m, n = grid.cells.shape
    way = plan(m, n, grid.end is not None)
    blocks = cell_ports(grid, way)
    for step in way.steps[:-1]:
        blocks = grow(blocks, step)
    if grid.end is not None:
        return _both_ends(grow(blocks, way.steps[-1]) if way.steps else blocks, grid, way)
    if not way.steps:
        return -blocks[:, :1, 1:2]
    transfer = _last(blocks, way.steps[-1])
    k = way.steps[-1].lines
    word, bit = way.near_word.to(transfer.device), way.near_bit.to(transfer.device)
    if way.near_word[0] < k:
        turned = transfer.index_select(-2, word).index_select(-1, bit - k)
    else:
        turned = transfer.index_select(-2, bit).index_select(-1, word - k).mT
    return -turned[:, :m, :n]


def cell_currents(grid: Grid, drivers: Tensor, sinks: Tensor) -> Tensor:
    """Return the current through every cell, by going up to the array and back down to the cells.

    Args:
        grid: canonical arrays.
        drivers: driver voltages ``[N, V, m]`` [V].
        sinks: sink voltages ``[N, V, n]`` [V].

    Returns:
        Currents ``[N, V, m, n]`` [A].
    """
    count, m, n = grid.cells.shape
    way = plan(m, n, grid.end is not None)
    blocks = cell_ports(grid, way)
    trail: list[list[Joint]] = []
    for step in way.steps:
        blocks, joints = climb(blocks, step)
        trail.append(joints)
    given = torch.zeros(
        count, blocks.shape[-1], drivers.shape[1], dtype=blocks.dtype, device=blocks.device
    )
    word, bit, far = (t.to(blocks.device) for t in (way.near_word, way.near_bit, way.far_word))
    given = given.index_copy(1, word[:m], drivers.mT).index_copy(1, bit[:n], sinks.mT)
    if grid.end is not None:
        Z, D, from_bit = _far_ends(blocks, grid, way)
        feed = D @ drivers.mT + from_bit[..., :n] @ sinks.mT
        given = given.index_copy(1, far[:m], torch.linalg.solve(Z, feed))
    for step, joints in zip(reversed(way.steps), reversed(trail), strict=True):
        given = descend(given, step, joints)
    currents = _leaf_currents(given, grid, way)
    place = way.place.to(currents.device)
    tiny = way.leaf.shape[0]
    currents = currents.view(tiny, count, way.leaf.shape[1], -1).transpose(0, 1)
    currents = currents.reshape(count, way.rows * way.cols, -1).index_select(1, place)
    return currents.view(count, way.rows, way.cols, -1)[:, :m, :n].permute(0, 3, 1, 2)


def cell_ports(grid: Grid, way: Plan) -> Tensor:
    """Return ``K`` of every cell, ``[N * cells, s, s]`` in merging order.

    A cell with the segments before it, ``I = g (u - b) / (1 + g (r_word + r_bit))``; ports are near
    word, near bit, far bit, far word. No entry is the difference of two others' sizes.
    """
    g, word, bit = _leaves(grid, way)
    share = 1 / (1 + g * (word + bit))
    through = g * share
    pass_word = -(1 + g * bit) * share
    pass_bit = -(1 + g * word) * share
    to_bit, to_word = -bit * through, -word * through
    far = -word * bit * through
    entries = [
        *(through, -through, to_bit, pass_word),
        *(-through, through, pass_bit, to_word),
        *(to_bit, pass_bit, bit * pass_bit, far),
        *(pass_word, to_word, far, word * pass_word),
    ]
    blocks = torch.stack(entries).view(4, 4, -1)
    keep = [0, 1] + ([] if way.bare[1] else [2]) + ([] if way.bare[0] else [3])
    return _inward(blocks if len(keep) == 4 else blocks[keep][:, keep])


def _leaves(grid: Grid, way: Plan) -> tuple[Tensor, Tensor, Tensor]:
    count, m, n = grid.cells.shape
    pad = (0, way.cols - n, 0, way.rows - m)  # cells that do not conduct, on wire ends: harmless
    leaf = way.leaf.to(grid.cells.device)

    def spread(values: Tensor) -> Tensor:
        if any(pad):
            values = torch.nn.functional.pad(values, pad)
        values = values.flatten(-2).index_select(-1, leaf.flatten())
        return values.view(count, *leaf.shape).transpose(0, 1).flatten()

    return spread(grid.cells), spread(grid.word), spread(grid.bit)


def climb(blocks: Tensor, step: Step) -> tuple[Tensor, list[Joint]]:
    """Join neighbouring blocks one level up; return the larger blocks and their joints."""
    joined, *others = _parts(blocks, step)
    joints = []
    for part in others:
        joint = _joint(joined, part, step)
        joined = _join(joined, part, joint, step)
        joints.append(joint)
    return joined, joints


def grow(blocks: Tensor, step: Step) -> Tensor:
    """Join neighbouring blocks one level up, where the joints are not wanted later."""
    joined, *others = _parts(blocks, step)
    for part in others:
        joined = _joined(joined, part, step)
    return joined


def _joined(A: Tensor, B: Tensor, step: Step) -> Tensor:
    if step.small:
        return _join(A, B, _joint(A, B, step), step)
    return _Join.apply(A, B, step)


def _parts(blocks: Tensor, step: Step) -> list[Tensor]:
    if step.order is not None:
        order = step.order.to(blocks.device)
        if step.small:
            blocks = _inward(_outward(blocks).index_select(0, order).index_select(1, order))
        else:
            # Selecting within rows goes number by number: several times slower than runs.
            blocks = blocks.index_select(-2, order)
            blocks = torch.cat([blocks[:, :, start:end] for start, end in step.runs], -1)
    if step.small:
        parts = list(blocks.chunk(step.parts))
    else:
        parts = list(blocks.reshape(-1, step.parts, *blocks.shape[-2:]).unbind(1))
    if step.drop:
        parts[-1] = parts[-1][:, : -step.lines, : -step.lines]
    return parts


def _joint(A: Tensor, B: Tensor, step: Step) -> Joint:
    k = step.lines
    s = A.shape[-1] - k
    Z, Y = -A[:, s:, s:], B[:, :k, :k]
    return Joint(A[:, :s, s:], B[:, k:, :k], Z, Y, _inverse(_eye(Z) + _times(Z, Y, step), step))


def _join(A: Tensor, B: Tensor, joint: Joint, step: Step) -> Tensor:
    p, q, M = joint.p, joint.q, joint.M
    s, k = p.shape[-2:]
    upper = A[:, :s, :s] + _times(_times(p, _times(joint.Y, M, step), step), p.mT, step)
    lower = B[:, k:, k:] - _times(_times(q, _times(M, joint.Z, step), step), q.mT, step)
    across = -_times(_times(q, M, step), p.mT, step)
    if step.small:
        upper, lower, across = _outward(upper), _outward(lower), _outward(across)
        rows = torch.cat([upper, across.transpose(0, 1)], 1), torch.cat([across, lower], 1)
        return _inward(torch.cat(rows, 0))
    return torch.cat([torch.cat([upper, across.mT], -1), torch.cat([across, lower], -1)], -2)


class _Join(torch.autograd.Function):
    """``_join`` written in place: three times faster, since these blocks are bound by memory.

    Only the two blocks are kept for the gradient; the joint is computed anew.
    """

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor, step: Step) -> Tensor:
        ctx.save_for_backward(A, B)
        ctx.step = step
        joint = _joint(A, B, step)
        p, q, M = joint.p, joint.q, joint.M
        (s, k), t = p.shape[-2:], q.shape[-2]
        out = A.new_empty(A.shape[0], s + t, s + t)
        torch.add(A[:, :s, :s], p @ (joint.Y @ M) @ p.mT, out=out[:, :s, :s])
        torch.sub(B[:, k:, k:], q @ (M @ joint.Z) @ q.mT, out=out[:, s:, s:])
        torch.neg((q @ M) @ p.mT, out=out[:, s:, :s])
        out[:, :s, s:] = out[:, s:, :s].mT
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        A, B = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: leave it to autograd
            A, B = A.view_as(A), B.view_as(B)
            joined = _join(A, B, _joint(A, B, ctx.step), ctx.step)
            to_A, to_B = torch.autograd.grad(joined, (A, B), grad, create_graph=True)
            return to_A, to_B, None
        return (*_join_gradient(A, B, _joint(A, B, ctx.step), grad), None)


def _join_gradient(A: Tensor, B: Tensor, joint: Joint, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of ``_join``, by the product rule and ``dM = -M d(Z Y) M``."""
    p, q, Z, Y, M = joint.p, joint.q, joint.Z, joint.Y, joint.M
    s, k = p.shape[-2:]
    upper, lower = grad[:, :s, :s], grad[:, s:, s:]
    across = grad[:, s:, :s] + grad[:, :s, s:].mT
    up, down, over = upper @ p, lower @ q, across @ p
    to_YM, to_MZ = p.mT @ up, -(q.mT @ down)
    to_M = Y.mT @ to_YM + to_MZ @ Z.mT - q.mT @ over
    to_ZY = -(M.mT @ to_M @ M.mT)
    YM, MZ = Y @ M, M @ Z
    to_A, to_B = A.new_zeros(A.shape), B.new_zeros(B.shape)
    to_A[:, :s, :s] = upper
    to_A[:, :s, s:] = up @ YM.mT + (upper.mT @ p) @ YM - across.mT @ (q @ M)
    to_A[:, s:, s:] = -(M.mT @ to_MZ + to_ZY @ Y.mT)
    to_B[:, :k, :k] = to_YM @ M.mT + Z.mT @ to_ZY
    to_B[:, k:, :k] = -(down @ MZ.mT + (lower.mT @ q) @ MZ + over @ M.mT)
    to_B[:, k:, k:] = lower
    return to_A, to_B


def _times(X: Tensor, Y: Tensor, step: Step) -> Tensor:
    # Products of 2 x 2 matrices by the ten thousand: one elementwise product per term is several
    # times faster than a matrix product per block.
    if not step.small:
        return X @ Y
    terms = [X[:, :, line, None] * Y[:, line, None, :] for line in range(X.shape[-1])]
    return functools.reduce(torch.add, terms)


def _outward(blocks: Tensor) -> Tensor:
    return blocks.permute(1, 2, 0)


def _inward(blocks: Tensor) -> Tensor:
    return blocks.permute(2, 0, 1)


def _last(blocks: Tensor, step: Step) -> Tensor:
    # Of the whole array only the transfer from one kind of near end to the other is wanted.
    A, *others, B = _parts(blocks, step)
    k = step.lines
    for part in others:
        A = _joined(A, part, step)
    s = A.shape[-1] - k
    p, Z, Y, q = A[:, :s, s:], -A[:, s:, s:], B[:, :k, :k], B[:, k:, :k]
    right = torch.cat([Y @ p[:, k:].mT, -q.mT], -1)
    transfer = p[:, :k] @ torch.linalg.solve(_eye(Z) + Y @ Z, right)
    return transfer + torch.nn.functional.pad(A[:, :k, k:s], (0, q.shape[-2]))


def descend(given: Tensor, step: Step, joints: list[Joint]) -> Tensor:
    """Turn the excitation of blocks into that of their parts, one level down.

    Args:
        given: excitation of the ports ``[N, s, V]``.
        step: the level that was climbed.
        joints: its joints.

    Returns:
        Excitation of the parts' ports ``[N * parts, s', V]``.
    """
    k = step.lines
    parts: list[Tensor] = []
    for joint in reversed(joints):
        s, t = joint.p.shape[-2], joint.q.shape[-2]
        above, below = given[:, :s], given[:, s : s + t]
        enter = joint.q.mT @ below
        x = -(joint.M @ (joint.p.mT @ above + joint.Z @ enter))
        y = enter + joint.Y @ x
        part = torch.cat([x, below], 1)
        if step.drop and not parts:
            part = torch.nn.functional.pad(part, (0, 0, 0, k))
        parts.append(part)
        given = torch.cat([above, -y], 1)
    parts.append(given)
    parts.reverse()
    stacked = torch.cat(parts) if step.small else torch.stack(parts, 1).flatten(0, 1)
    return stacked if step.back is None else stacked.index_select(1, step.back.to(given.device))


def _leaf_currents(given: Tensor, grid: Grid, way: Plan) -> Tensor:
    g, word, bit = (values[:, None] for values in _leaves(grid, way))
    drive = given[:, 0] - given[:, 1]
    at = 2
    if not way.bare[1]:
        drive, at = drive - bit * given[:, at], at + 1
    if not way.bare[0]:
        drive = drive + word * given[:, at]
    return g / (1 + g * (word + bit)) * drive


def _both_ends(blocks: Tensor, grid: Grid, way: Plan) -> Tensor:
    _, m, n = grid.cells.shape
    Z, D, _ = _far_ends(blocks, grid, way)
    word, bit, far = (t.to(blocks.device) for t in (way.near_word, way.near_bit, way.far_word))
    rows = blocks.index_select(1, bit[:n])
    direct, fed = rows.index_select(2, word[:m]), rows.index_select(2, far[:m])
    return -(direct + fed @ torch.linalg.solve(Z, D)).mT


def _far_ends(blocks: Tensor, grid: Grid, way: Plan) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``Z, D, F`` of ``Z y = D v + F b``: what far drivers at ``v`` feed in.

    ``D`` is the drop between the two ends of each line per volt of driver. Its diagonal, 1 minus
    nearly 1 on good wires, is taken from charge conservation instead: with every terminal at 1 V
    nothing flows, so each row of ``[D, F]`` sums to zero, and all terms but the diagonal have one
    sign. Lines without any resistance have one driver, not two: they feed nothing here.
    """
    assert grid.end is not None
    m = grid.cells.shape[-2]
    word, bit, far = (t.to(blocks.device) for t in (way.near_word, way.near_bit, way.far_word))
    rows = blocks.index_select(1, far[:m])
    Z = torch.diag_embed(grid.end) - rows.index_select(2, far[:m])
    D, F = rows.index_select(2, word[:m]), rows.index_select(2, bit)
    D = D - torch.diag_embed(D.diagonal(dim1=-2, dim2=-1))
    D = D - torch.diag_embed(D.sum(-1) + F.sum(-1))
    loop = ((grid.word.sum(-1) + grid.end) > 0)[..., None]
    Z = torch.where(loop & loop.mT, Z, _eye(Z))
    return Z, torch.where(loop, D, 0.0), torch.where(loop, F, 0.0)


def _inverse(matrix: Tensor, step: Step) -> Tensor:
    # LAPACK costs microseconds per call, which is most of the time for the many smallest joints.
    if matrix.shape[-1] == 1:
        return 1 / matrix
    if matrix.shape[-1] == 2:
        a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
        adjugate = torch.stack([d, -b, -c, a]) / (a * d - b * c)
        return _inward(adjugate.view(2, 2, -1))
    inverse: Tensor = torch.linalg.inv(matrix)
    return _inward(_outward(inverse).contiguous()) if step.small else inverse


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
