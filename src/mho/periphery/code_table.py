"""Code tables: what converters with transitions of their own make of currents.

A search among a converter's transitions costs twenty times the rounding of an ideal one. Here the
axis of currents is cut into cells of a fraction of a step, and every cell holds one number ``v``:

    code = ⌊x + v(cell of x)⌋,    v = k - T_k in a cell with the transition T_k to code k

which is exact wherever a cell has one transition or none. A code that is narrower than a cell may,
within that cell, be taken for its neighbour.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.core.constants import constant
from mho.periphery import quantize

_CELLS = 1 << 10  # of a converter; or two a step. Tables must stay in the cache: twice as many
_FINEST = 4  # cost twice the time (measured: 1024 converters of 8 bits)


class CodeTable(NamedTuple):
    """Tables of converters.

    Attributes:
        value: ``[tables · cells]``.
        first: which cell is the first of a line's table, ``[groups, tiles, lines]`` (int32).
        parts: cells in a step.
        low: current (steps) at which the first cell begins.
    """

    value: Tensor
    first: Tensor
    parts: int
    low: float

    def look_up(self, x: Tensor, first: Tensor) -> Tensor:
        """Return the codes of currents (steps), unclipped.

        Args:
            x: any shape.
            first: of its lines, broadcast to ``x``.
        """
        start = constant(-self.low * self.parts, x.dtype, x.device)
        cell = torch.add(start, x, alpha=self.parts)
        # Whatever is far out (or is no number) meets a cell of somebody: it is clipped anyway.
        at = cell.to(torch.int32).add_(first).clamp_(0, len(self.value) - 1)
        found = self.value.index_select(0, _flat(at))
        # Laid out as the currents are, which need not be contiguous: of images they are not.
        laid = found.view(x.shape) if _plain(at) else found.as_strided(at.shape, at.stride())
        return laid.add_(x).floor_()


def _plain(at: Tensor) -> bool:
    """Whether memory is in order, or a graph is made, which is to know nothing of memory."""
    followed = torch.compiler.is_compiling() or quantize._transforming()
    return at.is_contiguous() or followed or torch.jit.is_tracing()  # type: ignore[attr-defined]


def _flat(at: Tensor) -> Tensor:
    """Return the entries of a tensor that fills its memory, in any order of dimensions."""
    return at.reshape(-1) if _plain(at) else at.as_strided((at.numel(),), (1,))


def cells_in_a_step(bits: int) -> int:
    """Return how finely the axis is cut, >= 2."""
    return max(min(_FINEST, _CELLS >> bits), 2)


def tabulate(transitions: Tensor, parts: int) -> tuple[Tensor, float]:
    """Return the tables of converters, and where the first cell begins.

    Args:
        transitions: rising ``[tables, 2^bits - 1]`` (steps); what lies further from the codes than
            an eighth of full scale is taken to lie there.
        parts: cells in a step.

    Returns:
        ``[tables, cells]``.
    """
    tables, count = transitions.shape
    full = (count + 1) // 2
    beyond = max(full // 8, 4)
    low, high = -float(full + beyond), float(full + beyond)
    found = transitions.clamp(low, high).contiguous()
    edge = torch.arange(2 * (full + beyond) * parts + 1, device=found.device) / parts + low
    edge = edge.to(found.dtype)
    passed = torch.searchsorted(found, edge.expand(tables, -1).contiguous(), right=True)
    before, after = passed[:, :-1], passed[:, 1:]
    last = found.gather(1, (after - 1).clamp(min=0))
    middle = (edge[:-1] + edge[1:]) / 2
    at, code = torch.where(after > before, last, middle - 0.5), after - full
    return code - at, low
