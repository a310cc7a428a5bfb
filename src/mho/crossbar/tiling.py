"""Tiling: how a matrix lies on tiles of one size. The only place that cuts matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from mho.core import checks
from mho.hardware import Array


def spans(size: int, tile: int) -> list[int]:
    """Return how many lines lie on whole tiles, and how many on a last, shorter one.

    Args:
        size: lines to place, >= 1.
        tile: lines of a tile, >= 1.

    Returns:
        One or two numbers, none of them 0, that add up to ``size``.
    """
    rest = size % tile
    return [size - rest, rest] if rest and size > tile else [size]


@dataclass(frozen=True)
class Tiling:
    """A matrix of cells on tiles, each an array with lines, drivers and converters of its own.

    Every slice and every group starts on tiles of its own; interleaved slices share theirs, the
    slices of one output being neighbouring columns. Tiles at the right and lower edge are filled
    only in part.

    Attributes:
        slices: cells of one weight.
        groups: how many matrices lie side by side.
        rows: word lines of one group.
        cols: columns of one slice.
        array: size of a tile, and whether slices share word lines.
    """

    slices: int
    groups: int
    rows: int
    cols: int
    array: Array

    def __post_init__(self) -> None:
        for name in ("slices", "groups", "rows", "cols"):
            checks.integer(f"Tiling {name}", getattr(self, name))
        if self.array.interleaved and self.slices > self.array.cols:
            raise ValueError(
                f"interleaved needs Array cols >= {self.slices} slices, got {self.array.cols}"
            )

    @classmethod
    def of(cls, g: Tensor, groups: int, array: Array) -> Tiling:
        """Return the tiling of cells ``[slices, groups · rows, cols]``."""
        slices, rows, cols = g.shape
        return cls(slices, groups, rows // groups, cols, array)

    # ── sizes ────────────────────────────────────────────────────────────────────────────────

    @property
    def arrays(self) -> int:
        """How many separate arrays the slices of one group lie on."""
        return 1 if self.array.interleaved else self.slices

    @property
    def lines(self) -> int:
        """Bit lines of one such array, over all its tiles."""
        return self.slices * self.cols // self.arrays

    @property
    def outputs(self) -> int:
        """Columns of one slice that a whole tile holds."""
        return self.array.cols * self.arrays // self.slices

    @property
    def height(self) -> int:
        """Word lines in use on the fullest tile."""
        return min(self.array.rows, self.rows)

    @property
    def width(self) -> int:
        """Bit lines in use on the fullest tile."""
        return min(self.outputs, self.cols) * self.slices // self.arrays

    @property
    def down(self) -> int:
        """Tiles that the rows of one group take."""
        return math.ceil(self.rows / self.array.rows)

    @property
    def across(self) -> int:
        """Tiles that the columns of one array take."""
        return math.ceil(self.cols / self.outputs)

    @property
    def tiles(self) -> int:
        """All tiles, over arrays and groups."""
        return self.arrays * self.groups * self.down * self.across

    @property
    def cells(self) -> int:
        """All cells in use."""
        return self.slices * self.groups * self.rows * self.cols

    @property
    def utilisation(self) -> float:
        """Cells in use over cells of all tiles."""
        return self.cells / (self.tiles * self.array.rows * self.array.cols)

    # ── cutting ──────────────────────────────────────────────────────────────────────────────

    def cut(self, x: Tensor) -> list[list[Tensor]]:
        """Cut cells into batches of equal tiles.

        Args:
            x: ``[slices, groups · rows, cols]``.

        Returns:
            One or two bands of rows (whole tiles, shorter ones), each of one or two batches of
            columns likewise: ``[arrays, groups, down, across, rows of a tile, lines of a tile]``.
        """
        split = x.unflatten(1, (self.groups, -1))
        if self.array.interleaved:
            split = split.permute(1, 2, 3, 0).flatten(2).unsqueeze(0)
        bands = split.split(spans(self.rows, self.height), dim=2)
        return [[self._tiles(part) for part in band.split(self._widths, dim=3)] for band in bands]

    @property
    def _widths(self) -> list[int]:
        return spans(self.lines, self.width)

    def _tiles(self, part: Tensor) -> Tensor:
        high, wide = min(self.height, part.shape[2]), min(self.width, part.shape[3])
        return part.unflatten(3, (-1, wide)).unflatten(2, (-1, high)).transpose(3, 4)

    def join(self, bands: Sequence[Sequence[Tensor]]) -> Tensor:
        """Undo `cut`, for tiles with any number of rows.

        Args:
            bands: batches as `cut` gives them.

        Returns:
            ``[slices, groups · rows, cols]``.
        """
        rows = [
            torch.cat([t.transpose(3, 4).flatten(4).flatten(2, 3) for t in band], dim=3)
            for band in bands
        ]
        whole = torch.cat(rows, dim=2)  # [arrays, groups, rows, lines]
        if self.array.interleaved:
            whole = whole[0].unflatten(2, (-1, self.slices)).permute(3, 0, 1, 2)
        return whole.flatten(1, 2)

    def cut_inputs(self, v: Tensor) -> list[Tensor]:
        """Cut inputs as `cut` does word lines.

        Args:
            v: ``[groups, vectors, rows]``.

        Returns:
            For each band of rows, ``[groups, down, vectors, rows of a tile]``.
        """
        parts = v.split(spans(self.rows, self.height), dim=2)
        return [p.unflatten(2, (-1, min(self.height, p.shape[2]))).transpose(1, 2) for p in parts]

    def places(self, device: torch.device | str = "cpu") -> Tensor:
        """Return which cell, counted as in ``[slices, groups · rows, cols]``, lies where.

        Returns:
            ``[tiles, rows of the fullest tile, lines of the fullest tile]``, all tiles of one
            array row by row, then the next group's, then the next array's; -1 where no cell is.
        """
        shape = (self.slices, self.groups * self.rows, self.cols)
        place = torch.arange(self.cells, device=device).view(shape)
        bands = [torch.cat(self._padded(band), dim=3) for band in self.cut(place)]
        return torch.cat(bands, dim=2).flatten(0, 3)

    def _padded(self, band: list[Tensor]) -> list[Tensor]:
        edges = [(0, self.width - t.shape[5], 0, self.height - t.shape[4]) for t in band]
        return [pad(t, edge, value=-1) for t, edge in zip(band, edges, strict=True)]
