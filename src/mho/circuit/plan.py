"""Which sub-arrays are merged in which order: bookkeeping that depends on the shape alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

WORD, BIT = 1, 0
"""The two kinds of lines; a merge along ``WORD`` joins blocks that lie side by side."""

PRIMES = (5, 3, 2)

SMALL = 2
"""Joints of up to this many lines are worked on elementwise."""


@dataclass(frozen=True)
class Step:
    """One level: every ``parts`` neighbouring blocks become one.

    Args:
        parts: how many blocks are joined.
        lines: how many lines cross each joint.
        order: ports in the order ``[near, other, far]`` the merge needs, or None if they are so
            already.
        runs: the same as the runs ``[start, end)`` of neighbouring ports it consists of.
        back: the inverse of ``order``.
        drop: the joined block spans the array, so its far ports are open line ends and go.
        small: blocks are tiny and many: they are worked on elementwise, cells in the innermost
            dimension, and the parts that join are the outermost one.
    """

    parts: int
    lines: int
    order: Tensor | None
    runs: tuple[tuple[int, int], ...]
    back: Tensor | None
    drop: bool
    small: bool


@dataclass(frozen=True)
class Plan:
    """The whole way from single cells to the array.

    Args:
        rows: number of rows with padding.
        cols: number of columns with padding.
        leaf: positions of the cells in merging order, ``[tiny, rest]``: the parts of small blocks,
            then all others.
        place: the inverse of ``leaf``, flat.
        bare: word and bit ports ``(far word, far bit)`` that single cells drop at once, because
            the array is one column or one row.
        steps: the levels, smallest blocks first.
        near_word: positions of the ports the drivers hold, in row order.
        near_bit: positions of the ports the sinks hold, in column order.
        far_word: positions of the far ends of the word lines (kept for both-ends drive).
    """

    rows: int
    cols: int
    leaf: Tensor
    place: Tensor
    bare: tuple[bool, bool]
    steps: tuple[Step, ...]
    near_word: Tensor
    near_bit: Tensor
    far_word: Tensor


@dataclass(frozen=True)
class _Port:
    kind: int
    far: bool
    line: int


def padded(size: int) -> int:
    """Return the least number >= size without prime factors above 5.

    Blocks of equal size can be merged in one batch; sizes made of 2, 3 and 5 give equal blocks all
    the way down at the price of a few empty lines (none at 64, 100 or 128; 129 becomes 135).
    """
    while _factors(size)[1] != 1:
        size += 1
    return size


def _factors(size: int) -> tuple[list[int], int]:
    found = []
    for prime in PRIMES:
        while size % prime == 0:
            found.append(prime)
            size //= prime
    return found, size


@lru_cache(maxsize=64)
def plan(rows: int, cols: int, both: bool) -> Plan:
    """Return the plan for an array.

    Blocks are kept as square as they can be, because a square has the fewest ports for its cells;
    once the shorter axis is used up the longer one goes on alone.

    Args:
        rows: rows of the array, not padded.
        cols: columns of the array, not padded.
        both: keep the far ends of the word lines (both-ends drive).
    """
    rows, cols = padded(rows), padded(cols)
    size = {BIT: 1, WORD: 1}  # rows and columns of a block so far
    goal = {BIT: rows, WORD: cols}
    left = {BIT: _factors(rows)[0], WORD: _factors(cols)[0]}
    bare = (cols == 1 and not both, rows == 1)
    # Ports of one cell, in the order in which merge.cell_ports writes them.
    ports = [_Port(WORD, False, 0), _Port(BIT, False, 0)]
    ports += [] if bare[1] else [_Port(BIT, True, 0)]
    ports += [] if bare[0] else [_Port(WORD, True, 0)]
    steps: list[Step] = []
    axes: list[tuple[int, int]] = []
    while left[BIT] or left[WORD]:
        kind = WORD if left[WORD] and (size[WORD] <= size[BIT] or not left[BIT]) else BIT
        parts = left[kind].pop(0)
        lines = size[WORD if kind == BIT else BIT]
        drop = size[kind] * parts == goal[kind] and not (both and kind == WORD)
        small = lines <= SMALL and all(step.small for step in steps)
        step, ports = _step(kind, parts, lines, ports, drop, small, size[kind])
        steps.append(step)
        axes.append((kind, parts))
        size[kind] *= parts
    leaf = _merging_order(rows, cols, axes, sum(step.small for step in steps))
    return Plan(
        rows=rows,
        cols=cols,
        leaf=leaf,
        place=torch.argsort(leaf.flatten()),
        bare=bare,
        steps=tuple(steps),
        near_word=_find(ports, WORD, far=False),
        near_bit=_find(ports, BIT, far=False),
        far_word=_find(ports, WORD, far=True),
    )


def _step(
    kind: int,
    parts: int,
    lines: int,
    ports: list[_Port],
    drop: bool,
    small: bool,
    size: int,
) -> tuple[Step, list[_Port]]:
    def place(index: int) -> tuple[int, int]:
        port = ports[index]
        return (2 * port.far, port.line) if port.kind == kind else (1, 0)

    order = sorted(range(len(ports)), key=place)
    ports = [ports[index] for index in order]
    near = [port for port in ports if port.kind == kind and not port.far]
    far = [port for port in ports if port.kind == kind and port.far]
    other = [port for port in ports if port.kind != kind]
    # A line that runs across the joint keeps its number; lines that lie beside it are counted on.
    joined = list(near)
    for part in range(parts):
        joined += [_Port(p.kind, p.far, p.line + part * size) for p in other]
    joined += [] if drop else far
    forward = torch.tensor(order)
    same = order == list(range(len(order)))
    step = Step(
        parts=parts,
        lines=lines,
        order=None if same else forward,
        runs=_runs(order),
        back=None if same else torch.argsort(forward),
        drop=drop,
        small=small,
    )
    return step, joined


def _runs(order: list[int]) -> tuple[tuple[int, int], ...]:
    breaks = [at for at in range(1, len(order)) if order[at] != order[at - 1] + 1]
    edges = zip([0, *breaks], [*breaks, len(order)], strict=True)
    return tuple((order[start], order[end - 1] + 1) for start, end in edges)


def _merging_order(rows: int, cols: int, axes: list[tuple[int, int]], small: int) -> Tensor:
    # Blocks that merge are neighbours in memory at every level: the last merge splits the
    # array first.
    cells = torch.arange(rows * cols).view(1, rows, cols)
    for kind, parts in reversed(axes):
        count, high, wide = cells.shape
        if kind == WORD:
            cells = cells.view(count, high, parts, wide // parts).transpose(1, 2)
            cells = cells.reshape(count * parts, high, wide // parts)
        else:
            cells = cells.reshape(count * parts, high // parts, wide)
    # Small blocks the other way round: the first merge joins the outermost parts.
    tiny = [parts for _, parts in axes[:small]]
    cells = cells.view(-1, *reversed(tiny)).permute(*reversed(range(small + 1)))
    return cells.reshape(math.prod(tiny), -1)


def _find(ports: list[_Port], kind: int, *, far: bool) -> Tensor:
    found = [
        (port.line, at) for at, port in enumerate(ports) if (port.kind, port.far) == (kind, far)
    ]
    return torch.tensor([at for _, at in sorted(found)], dtype=torch.long)
