"""The canonical array every solver works on, and the resistance of its lines as an operator.

Whatever ends are driven and sensed, arrays are turned so that drivers sit at column 0 and sinks at
row 0. Then both kinds of line look alike: a line starts at a held voltage, and the segment *before*
cell ``k`` has the resistance ``word[i, k]`` (``source`` at ``k = 0``) or ``bit[k, j]`` (``sense``).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.circuit.wires import Wires


@dataclass(frozen=True)
class Grid:
    """Arrays in canonical orientation, ``N`` of them, in float64.

    Args:
        cells: conductances ``[N, m, n]`` [S].
        word: resistance of the word-line segment before each cell ``[N, m, n]`` [ohm].
        bit: resistance of the bit-line segment before each cell ``[N, m, n]`` [ohm].
        end: resistance from the far end of each word line to its driver ``[N, m]``, or None where
            the far ends are open.
    """

    cells: Tensor
    word: Tensor
    bit: Tensor
    end: Tensor | None

    def pick(self, part: slice) -> Grid:
        """Return some of the arrays."""
        end = None if self.end is None else self.end[part]
        return Grid(self.cells[part], self.word[part], self.bit[part], end)

    def far_current(self, drop: Tensor) -> Tensor:
        """Return the current each far driver feeds in, given the drop with far ends open.

        With ``d`` the voltage the cells' currents would drop up to the last cell, the far end feeds
        ``y = d / (sum of all resistances on the line)``; a line without resistance has no drop, and
        its two drivers are one.

        Args:
            drop: drop along each word line ``[N, V, m, n]`` [V].

        Returns:
            Currents ``[N, V, m]`` [A].
        """
        assert self.end is not None
        loop = (self.word.sum(-1) + self.end)[:, None]
        return torch.where(loop > 0, drop[..., -1] / torch.where(loop > 0, loop, 1.0), 0.0)

    def word_drop(self, currents: Tensor) -> Tensor:
        """Return the voltage lost between the drivers and each word-line node.

        Args:
            currents: cell currents ``[N, V, m, n]`` [A].

        Returns:
            Drops ``[N, V, m, n]`` [V].
        """
        word = self.word[:, None]
        drop = (word * _beyond(currents, -1)).cumsum(-1)
        if self.end is None:
            return drop
        return drop - word.cumsum(-1) * self.far_current(drop)[..., None]

    def bit_rise(self, currents: Tensor) -> Tensor:
        """Return the voltage of each bit-line node above its sink, as ``word_drop`` does."""
        return (self.bit[:, None] * _beyond(currents, -2)).cumsum(-2)


def _beyond(currents: Tensor, dim: int) -> Tensor:
    # What flows through the segment before a cell: its own current and all those beyond it.
    return currents.flip(dim).cumsum(dim).flip(dim)


def canonical(
    G: Tensor, wires: Wires, source: Tensor, word: Tensor, bit: Tensor, sense: Tensor
) -> Grid:
    """Turn arrays so that drivers sit at column 0 and sinks at row 0.

    Args:
        G: conductances ``[N, m, n]``.
        wires: says which ends are driven and read.
        source: per word line ``[N, m]``.
        word: per word line ``[N, m]``.
        bit: per bit line ``[N, n]``.
        sense: per bit line ``[N, n]``.

    Returns:
        The grid.
    """
    _, m, n = G.shape
    if wires.drive == "right":
        G, bit, sense = G.flip(-1), bit.flip(-1), sense.flip(-1)
    if wires.read == "bottom":
        G, source, word = G.flip(-2), source.flip(-1), word.flip(-1)
    segments = torch.cat([source[:, :, None], word[:, :, None].expand(-1, -1, n - 1)], -1)
    risers = torch.cat([sense[:, None, :], bit[:, None, :].expand(-1, m - 1, -1)], -2)
    return Grid(G, segments, risers, source if wires.drive == "both" else None)


def turn_cells(values: Tensor, wires: Wires) -> Tensor:
    """Turn ``[..., m, n]`` values between the array as given and the canonical one."""
    return turn_cols(turn_rows(values.mT, wires).mT, wires)


def turn_rows(values: Tensor, wires: Wires) -> Tensor:
    """Turn ``[..., m]`` values between the array as given and the canonical one."""
    return values.flip(-1) if wires.read == "bottom" else values


def turn_cols(values: Tensor, wires: Wires) -> Tensor:
    """Turn ``[..., n]`` values between the array as given and the canonical one."""
    return values.flip(-1) if wires.drive == "right" else values
