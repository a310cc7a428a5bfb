"""What wires make of a crossbar's tiles: effective conductances, all tiles at once."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.circuit import effective_conductance
from mho.hardware import Array


def wired(g: Tensor, array: Array, groups: int = 1) -> Tensor:
    """Return the effective conductances of all tiles, as their converters see them.

    A tile that the matrix fills only in part has lines only as long as it needs.

    Args:
        g: conductances ``[slices, groups · rows, cols]`` (S).
        array: tile size, wires, and whether the slices share word lines.
        groups: how many matrices lie side by side, each on tiles of its own.

    Returns:
        ``T``, shaped like ``g`` (S); ``g`` itself where wires are ideal. Differentiable.
    """
    if array.wires.ideal or not bool(g.any()):
        return g
    slices = g.shape[0]
    split = g.unflatten(1, (groups, -1))
    if not array.interleaved:
        return _by_tile(split.flatten(0, 1), array.cols, array).view_as(split).flatten(1, 2)
    # The slices of an output are neighbouring columns on the same word lines.
    together = split.permute(1, 2, 3, 0).flatten(2)
    T = _by_tile(together, array.cols // slices * slices, array)
    return T.unflatten(2, (-1, slices)).permute(3, 0, 1, 2).flatten(1, 2)


def _by_tile(g: Tensor, width: int, array: Array) -> Tensor:
    """Solve ``[arrays, rows, cols]`` in tiles: whole ones as one batch, then the shorter edges."""

    def pieces(x: Tensor, size: int, dim: int) -> tuple[Tensor, ...]:
        whole = x.shape[dim] // size * size
        return tuple(p for p in x.split((whole, x.shape[dim] - whole), dim) if p.shape[dim])

    def solved(block: Tensor) -> Tensor:
        h, w = min(array.rows, block.shape[1]), min(width, block.shape[2])
        tiles = block.unflatten(2, (-1, w)).unflatten(1, (-1, h)).transpose(2, 3)
        if not bool(tiles.any()):
            return block
        return effective_conductance(tiles, array.wires).transpose(2, 3).flatten(3).flatten(1, 2)

    rows = [
        torch.cat([solved(block) for block in pieces(band, width, 2)], dim=2)
        for band in pieces(g, array.rows, 1)
    ]
    return torch.cat(rows, dim=1)


class TileWires:
    """The wires of one crossbar's tiles, and what they were last solved for.

    Args:
        array: tile size and wires.
        groups: how many matrices lie side by side.
    """

    def __init__(self, array: Array, groups: int) -> None:
        self.array, self.groups = array, groups
        self._cells: Tensor | None = None
        self._version: int | None = None
        self._solved: Tensor | None = None
        self._attenuation: Tensor | None = None
        self._age = 0

    def knows(self, g: Tensor) -> bool:
        """Whether `stored` would answer at once."""
        # Loading a checkpoint, or a user's hand, changes the cells in the very same tensor.
        version = _version(g)
        same = self._cells is g and self._version == version and version is not None
        return self.array.wires.ideal or same

    def stored(self, g: Tensor) -> Tensor:
        """Return ``T`` for stored conductances: solved once for each tensor."""
        if self.array.wires.ideal:
            return g
        if self._solved is None or not self.knows(g):
            self._cells, self._version = g, _version(g)
            self._solved = wired(g, self.array, self.groups)
        return self._solved

    def fresh(self, g: Tensor) -> Tensor:
        """Return ``T`` for conductances drawn in training, differentiable in them.

        Solved exactly in every ``array.solve_every``-th call; in between each cell keeps the
        attenuation of the last solution, at most 1, as a constant.
        """
        if self.array.wires.ideal:
            return g
        self._age += 1
        if self._attenuation is not None and self._age < self.array.solve_every:
            return g * self._attenuation.to(g)
        T = wired(g, self.array, self.groups)
        # Sneak currents pass by cells that (hardly) conduct: no attenuation is to be had of them.
        ratio = T.detach() / g.detach()
        self._attenuation = torch.where(g.detach() > 0, ratio, 1.0).clamp(max=1.0)
        self._age = 0
        return T


def _version(g: Tensor) -> int | None:
    """How often a tensor was changed in place; None where torch does not count."""
    return None if g.is_inference() else g._version
