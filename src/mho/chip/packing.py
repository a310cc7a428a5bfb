"""Packing rectangles on cores: a skyline for every set of arrays, by plain numbers.

A *bin* is a set of arrays of one core, one above the other, on which rectangles of so many arrays
lie side by side. Its skyline says down to which word line each bit line is taken; a rectangle goes
where it ends highest, of equals leftmost (the bottom-left rule with a skyline: E. Burke, G. Kendall
and G. Whitwell, 2004, doi 10.1287/opre.1040.0109, here without filling gaps later).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mho.chip.cores import Cores
from mho.chip.placement import Region


class Spot(NamedTuple):
    """A place for a rectangle: core, first array, first word line, first bit line."""

    core: int
    array: int
    row: int
    col: int


class Skyline:
    """How far down the bit lines of an array are taken.

    Args:
        rows: word lines.
        cols: bit lines.
        taken: down to which word line each bit line is taken at the start; None for nothing.
    """

    def __init__(self, rows: int, cols: int, taken: Sequence[int] | None = None) -> None:
        self.rows = rows
        self.steps: list[tuple[int, int, int]] = [(0, 0, cols)]  # first bit line, depth, width
        if taken is not None:
            self.steps = [(col, depth, 1) for col, depth in enumerate(taken)]
            self._join()

    def __bool__(self) -> bool:
        """Whether there is room for anything at all."""
        return any(depth < self.rows for _, depth, _ in self.steps)

    def fit(self, height: int, width: int) -> tuple[int, int] | None:
        """Return first word line and first bit line for a rectangle, or None."""
        best: tuple[int, int] | None = None
        for index, (col, depth, _) in enumerate(self.steps):
            if depth + height > self.rows or (best is not None and depth >= best[0]):
                continue
            deepest = self._over(index, width)
            if (
                deepest is not None
                and deepest + height <= self.rows
                and (best is None or deepest < best[0])
            ):
                best = deepest, col
        return best

    def _over(self, index: int, width: int) -> int | None:
        deepest, left = 0, width
        for _, depth, wide in self.steps[index:]:
            deepest = max(deepest, depth)
            left -= wide
            if left <= 0:
                return deepest
        return None

    def take(self, row: int, col: int, height: int, width: int) -> None:
        """Take a rectangle that `fit` found."""
        end, kept = col + width, []
        for first, depth, wide in self.steps:
            if first + wide <= col or first >= end:
                kept.append((first, depth, wide))
                continue
            if first < col:
                kept.append((first, depth, col - first))
            if first + wide > end:
                kept.append((end, depth, first + wide - end))
        self.steps = sorted([*kept, (col, row + height, width)])
        self._join()

    def _join(self) -> None:
        joined: list[tuple[int, int, int]] = []
        for first, depth, wide in self.steps:
            if joined and joined[-1][1] == depth:
                joined[-1] = (joined[-1][0], depth, joined[-1][2] + wide)
            else:
                joined.append((first, depth, wide))
        self.steps = joined

    def copy(self) -> Skyline:
        """Return one that may change on its own."""
        other = Skyline.__new__(Skyline)
        other.rows, other.steps = self.rows, list(self.steps)
        return other


@dataclass
class Packer:
    """Rectangles on the cores of one chip, first fit.

    Attributes:
        cores: the chip; ``count`` is not looked at: cores are numbered on as they are needed.
        taken: regions that belong to others, in the field of all arrays (`Cores.shape`).
        bins: by number of arrays, their core, first array and skyline.
        first: by number of arrays and size, the first bin that may still have room.
        planes: arrays in use of the cores that have further ones.
        next: the next core that nothing was put on.
        most: how many cores may be used; None for any number.
    """

    cores: Cores
    taken: dict[tuple[int, int], list[Region]] = field(default_factory=dict)
    bins: dict[int, list[tuple[int, int, Skyline]]] = field(default_factory=dict)
    first: dict[tuple[int, int, int], int] = field(default_factory=dict)
    planes: dict[int, int] = field(default_factory=dict)
    next: int = 0
    most: int | None = None

    @classmethod
    def on(cls, cores: Cores, taken: Iterable[Region] = (), most: int | None = None) -> Packer:
        """Return a packer for a chip on which some regions are taken."""
        held: dict[tuple[int, int], list[Region]] = {}
        for region in taken:
            array, row = divmod(region.row, cores.rows)
            inner = Region(row, region.col, region.height, region.width)
            held.setdefault(divmod(array, cores.arrays), []).append(inner)
        return cls(cores, held, most=most)

    def fork(self) -> Packer:
        """Return one that may change on its own."""
        bins = {
            k: [(core, array, sky.copy()) for core, array, sky in found]
            for k, found in self.bins.items()
        }
        return Packer(
            self.cores,
            self.taken,
            bins,
            dict(self.first),
            dict(self.planes),
            self.next,
            self.most,
        )

    def close(self) -> None:
        """Put nothing more on the cores in use."""
        self.bins, self.first, self.planes = {}, {}, {}

    def put(self, height: int, width: int, arrays: int, *, fresh: bool = False) -> Spot | None:
        """Find a place for a rectangle, and take it.

        Args:
            height: word lines.
            width: bit lines.
            arrays: one above the other.
            fresh: on a core that nothing lies on.

        Returns:
            Where, or None where ``most`` cores do not suffice.
        """
        bins = self.bins.setdefault(arrays, [])
        key = (arrays, height, width)
        # Bins only get fuller: what found no room in one will not find any later.
        for index in range(self.first.get(key, 0), len(bins)):
            core, array, sky = bins[index]
            spot = sky.fit(height, width)
            if spot is not None:
                sky.take(*spot, height, width)
                self.first[key] = index
                return Spot(core, array, *spot)
        self.first[key] = len(bins)
        while (found := self._open(arrays, fresh)) is not None:
            core, array, sky = found
            bins.append(found)
            spot = sky.fit(height, width)
            if spot is not None:
                sky.take(*spot, height, width)
                return Spot(core, array, *spot)
        return None

    def _open(self, arrays: int, fresh: bool) -> tuple[int, int, Skyline] | None:
        """Open the next set of arrays, on a core in use or on the next one."""
        for core, used in self.planes.items():
            if used + arrays <= self.cores.arrays:
                self._use(core, used + arrays)
                return core, used, self._skyline(core, used, arrays)
        while fresh and any((self.next, a) in self.taken for a in range(self.cores.arrays)):
            self.next += 1
        if self.most is not None and self.next >= self.most:
            return None
        core, self.next = self.next, self.next + 1
        self._use(core, arrays)
        return core, 0, self._skyline(core, 0, arrays)

    def _use(self, core: int, arrays: int) -> None:
        self.planes[core] = arrays
        if arrays == self.cores.arrays:
            del self.planes[core]

    def _skyline(self, core: int, array: int, arrays: int) -> Skyline:
        rows, cols = self.cores.rows, self.cores.cols
        held = [r for a in range(array, array + arrays) for r in self.taken.get((core, a), ())]
        if not held:
            return Skyline(rows, cols)
        depth = [0] * cols
        for region in held:
            for col in range(region.col, region.right):
                depth[col] = max(depth[col], region.bottom)
        return Skyline(rows, cols, depth)
