"""Where on a chip a matrix goes: regions that never overlap, by whole-array arithmetic.

All strategies ask the same question, at which places a window of this size is free, and differ in
which of these they take. The defects under all windows come from one two-dimensional cumulative
sum; every region taken strikes out the windows that would touch it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.core import checks
from mho.core.spec import Spec

STRATEGIES = ("greedy", "random", "packed")
_SCORE = torch.int32
_TAKEN = torch.iinfo(_SCORE).max
_TRIES = 1024


@dataclass(frozen=True)
class Region(Spec):
    """A rectangle of cells.

    Attributes:
        row: its first word line, >= 0.
        col: its first bit line, >= 0.
        height: word lines, >= 1.
        width: bit lines, >= 1.
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        checks.integer("Region row", self.row, least=0)
        checks.integer("Region col", self.col, least=0)
        checks.integer("Region height", self.height)
        checks.integer("Region width", self.width)

    @property
    def bottom(self) -> int:
        """The word line after its last."""
        return self.row + self.height

    @property
    def right(self) -> int:
        """The bit line after its last."""
        return self.col + self.width

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return self.height * self.width

    def overlaps(self, other: Region) -> bool:
        """Whether both have a cell in common."""
        return (
            self.row < other.bottom
            and other.row < self.bottom
            and self.col < other.right
            and other.col < self.right
        )

    def of(self, chip: Tensor) -> Tensor:
        """Return the view of a tensor ``[…, rows, cols]`` that this region covers."""
        return chip[..., self.row : self.bottom, self.col : self.right]

    def positions(self, cols: int, device: torch.device | str | None = None) -> Tensor:
        """Return where its cells are on a flattened field ``[rows, cols]``: ``[height, width]``."""
        rows = torch.arange(self.row, self.bottom, device=device)
        return rows[:, None] * cols + torch.arange(self.col, self.right, device=device)

    def __str__(self) -> str:
        return f"{self.height} × {self.width} cells at ({self.row}, {self.col})"


def integral(defects: Tensor) -> Tensor:
    """Return cumulative sums of a mask ``[rows, cols]``, with a leading row and column of zeros."""
    sums = defects.to(_SCORE).cumsum(0, dtype=_SCORE).cumsum(1, dtype=_SCORE)
    return F.pad(sums, (1, 0, 1, 0))


def window_counts(sums: Tensor, height: int, width: int) -> Tensor:
    """Return how many defects every window of this size has.

    Args:
        sums: as `integral` returns them.
        height: of the window.
        width: of the window.

    Returns:
        ``[rows - height + 1, cols - width + 1]``, by first cell.
    """
    bands = sums[height:] - sums[:-height]
    return bands[:, width:] - bands[:, :-width]


class Windows:
    """All places where a window of one size may still begin.

    Args:
        shape: rows and columns of the chip.
        height: of the window.
        width: of the window.
        taken: regions that are taken.
        sums: for *greedy*: cumulative defects, as `integral` returns them.
        band: rows of an array where the field consists of several, one below the other: no window
            begins on one and ends on the next. None for a field in one piece.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        height: int,
        width: int,
        taken: Sequence[Region],
        sums: Tensor | None = None,
        band: int | None = None,
    ) -> None:
        self.height, self.width = height, width
        # What is least is taken; places that are not free are at the very end.
        self.score: Tensor | None = None
        if height <= shape[0] and width <= shape[1]:
            if sums is None:
                self.score = torch.zeros(shape[0] - height + 1, shape[1] - width + 1, dtype=_SCORE)
            else:
                self.score = window_counts(sums, height, width)
        if self.score is not None and band is not None:
            ends = torch.arange(len(self.score)) % band + height
            self.score[ends > band] = _TAKEN
        for region in taken:
            self._strike(region)
        # The least of every row: after a placement only few rows need another look.
        self.least = None if self.score is None else self.score.amin(1)

    def take(self, region: Region) -> None:
        """Refuse all windows that would touch a region."""
        rows = self._strike(region)
        if self.score is not None and self.least is not None:
            self.least[rows] = self.score[rows].amin(1)

    def _strike(self, region: Region) -> slice:
        rows = slice(max(region.row - self.height + 1, 0), region.bottom)
        if self.score is not None:
            self.score[rows, max(region.col - self.width + 1, 0) : region.right] = _TAKEN
        return rows

    def choose(self, source: torch.Generator | None = None) -> Region | None:
        """Return the free window with the fewest defects, of equals the first by rows.

        Args:
            source: of randomness, to take any free window instead, with equal chances.

        Returns:
            The window, or None where none is free.
        """
        if self.score is None or self.least is None:
            return None
        if source is None:
            row = int(self.least.argmin())
            place = (row, int(self.score[row].argmin()))
        else:
            place = _any(self.score, source)
        if int(self.score[place]) == _TAKEN:
            return None
        return Region(*place, self.height, self.width)


def _any(score: Tensor, source: torch.Generator) -> tuple[int, int]:
    flat = score.view(-1)
    # A few darts nearly always hit; only a crowded chip needs the list of all free places.
    darts = torch.randint(len(flat), (_TRIES,), generator=source)
    hits = darts[flat[darts] != _TAKEN]
    if not len(hits):
        places = (flat != _TAKEN).nonzero().flatten()
        if not len(places):
            return 0, 0  # taken, too
        hits = places[torch.randint(len(places), (1,), generator=source)]
    row, col = divmod(int(hits[0]), score.shape[1])
    return row, col


def place(
    sizes: Sequence[tuple[int, int]],
    shape: tuple[int, int],
    taken: Sequence[Region],
    *,
    strategy: str = "greedy",
    sums: Tensor | None = None,
    source: torch.Generator | None = None,
    band: int | None = None,
) -> list[Region | None]:
    """Place windows one after the other, the largest first.

    *greedy* takes the window with the fewest defects, *packed* the first by rows, *random* any
    with equal chances.

    Args:
        sizes: height and width of each.
        shape: rows and columns of the chip.
        taken: regions that are there already.
        strategy: ``"greedy"``, ``"random"`` or ``"packed"``.
        sums: for *greedy*: cumulative defects, as `integral` returns them.
        source: for *random*.
        band: see `Windows`.

    Returns:
        One region each, in the order given; None from the first on that found no place.
    """
    checks.one_of("strategy", strategy, STRATEGIES)
    source = (source or torch.Generator().manual_seed(0)) if strategy == "random" else None
    sums = sums if strategy == "greedy" else None
    regions: list[Region | None] = [None] * len(sizes)
    occupied = list(taken)
    windows: Windows | None = None
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i][0] * sizes[i][1]):
        if windows is None or (windows.height, windows.width) != sizes[index]:
            windows = Windows(shape, *sizes[index], occupied, sums, band)
        region = windows.choose(source)
        if region is None:
            break
        regions[index] = region
        occupied.append(region)
        windows.take(region)  # slices of a layer share their windows
    return regions


def no_room(
    size: tuple[int, int],
    sizes: Sequence[tuple[int, int]],
    shape: tuple[int, int],
    taken: Sequence[Region],
    *,
    packed: bool,
) -> str:
    """Say why a window found no place, by how much, and what would help.

    Args:
        size: height and width of the window.
        sizes: those of all windows of its model.
        shape: rows and columns of the chip.
        taken: regions that were there before.
        packed: whether the strategy was the tightest there is.
    """
    (height, width), (rows, cols) = size, shape
    if height > rows or width > cols:
        return (
            f"it needs {height} × {width} cells in one piece, the chip has {rows} × {cols}: "
            f"{max(height - rows, 0)} rows and {max(width - cols, 0)} columns too few"
        )
    needed, used = sum(h * w for h, w in sizes), sum(region.cells for region in taken)
    free = rows * cols - used
    if needed > free:
        cause = f"the model needs {needed} cells, {needed - free} more than the {free} free"
    else:
        cause = f"{free} cells are free for its {needed}, but not in pieces that large"
    edge = math.ceil(math.sqrt(1.2 * (used + needed)))
    other = "" if packed else "strategy='packed', "
    return (
        f"{cause} ({height} × {width} a slice). Try {other}fewer copies, removing a model, or a "
        f"chip of about {edge} × {edge}"
    )
