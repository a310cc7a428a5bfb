"""Residents: which crossbar lives where on a chip, and in which order of lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mho.cells.population import Cells
from mho.chip.permute import best_orders
from mho.chip.placement import Region
from mho.core import checks
from mho.core.spec import first_difference
from mho.crossbar import Crossbar
from mho.crossbar.tiling import Tiling
from mho.encoding.redundant import Redundant
from mho.hardware import Array, Hardware


@dataclass(eq=False)
class Resident:
    """One crossbar on a chip, and the lease of its cells.

    Attributes:
        owner: name of its model on the chip.
        name: of the crossbar in the model.
        regions: one for each of its slices; where it is cut, one for each of its tiles.
        chip: the cells of the whole chip.
        home: all residents of the chip.
        crossbar: the crossbar, or None after a chip was loaded without its models.
        rows: word line of every row inside the region, ``[slices, rows]``; None for in order.
        cols: bit line of every column, ``[slices, cols]``; None for in order.
        tiling: on a chip of cores, how it is cut: regions are then in the order
            ``[arrays, groups, down, across]``.
        reserved: further regions that belong to it: those of copies.
    """

    owner: str
    name: str
    regions: tuple[Region, ...]
    chip: Cells
    home: list[Resident]
    crossbar: Crossbar | None = None
    rows: Tensor | None = None
    cols: Tensor | None = None
    tiling: Tiling | None = None
    reserved: tuple[Region, ...] = ()

    @property
    def label(self) -> str:
        """Of the model and the crossbar."""
        return f"{self.owner}/{self.name}" if self.name else self.owner

    @property
    def identity(self) -> str:
        """Which cells these are: of which chip, and where on it."""
        where = ";".join(f"{r.row},{r.col},{r.height},{r.width}" for r in self.regions)
        return f"chip {self.chip.identity} at {where}{self._order_key()}"

    def _order_key(self) -> str:
        if self.rows is None or self.cols is None:
            return ""
        said = repr((self.rows.tolist(), self.cols.tolist())).encode()
        return f" ordered {hashlib.blake2b(said, digest_size=8).hexdigest()}"

    @property
    def place(self) -> Tensor:
        """Positions of its cells on the flattened chip, ``[slices, rows, cols]`` (int64)."""
        cols, device = self.chip.shape[1], self.chip.g.device
        places = [region.positions(cols, device) for region in self.regions]
        if self.tiling is not None:
            return _joined(places, self.tiling)
        place = torch.stack(places)
        if self.rows is not None and self.cols is not None:
            place = place.gather(1, self.rows.to(place.device).unsqueeze(2).expand_as(place))
            place = place.gather(2, self.cols.to(place.device).unsqueeze(1).expand_as(place))
        return place

    # ── the lease ────────────────────────────────────────────────────────────────────────────

    def lend(self, like: Cells) -> Cells:
        """Return its cells as a population, with the streams and the clock of another's."""
        cells = self.chip.gather(self.place)
        cells = cells.to(like.g.device)
        cells.streams, cells.seconds = like.streams.clone(), like.seconds
        cells.reads = like.reads
        if like.identity == self.identity and like.written is not None:
            cells.written, cells.written_at = like.written, like.written_at
        cells.identity = self.identity
        return cells

    def returned(self, cells: Cells) -> None:
        """Take back what the cells hold now, and the pulses they received."""
        self.chip.scatter(self.place, cells)

    def left(self) -> None:
        """Be told that the crossbar has moved to other cells."""
        self.crossbar = None
        if self in self.home:
            self.home.remove(self)

    def memory(self) -> Callable[[], None]:
        """Return what makes the chip be again what it is now: its cells, and who lives there."""
        crossbar, residents, held = self.crossbar, list(self.home), self.chip.fork()

        def put_back() -> None:
            self.crossbar = crossbar
            self.home[:] = residents
            self.chip.become(held)

        return put_back

    def join(self, crossbar: Crossbar) -> None:
        """Give the cells to a crossbar whose checkpoint lay on them: it holds what they hold."""
        crossbar.rejoin(self.lend(crossbar.cells), self)
        self.crossbar = crossbar

    def order(
        self, target: Tensor, stuck: Tensor, stuck_g: Tensor, which: str, encoding: Any
    ) -> None:
        """Choose the order of lines that suits a target; see `mho.chip.permute`."""
        copies, part = 1, encoding
        if isinstance(encoding, Redundant):  # every copy in an order of its own
            copies, part = encoding.copies, encoding.base
        split = (x.unflatten(0, (copies, -1)) for x in (target, stuck, stuck_g))
        found = [
            best_orders(aim, mask, value, part.combination, which)
            for aim, mask, value in zip(*split, strict=True)
        ]
        slices = len(target) // copies
        self.rows, self.cols = (
            torch.stack(orders).repeat_interleave(slices, 0) for orders in zip(*found, strict=True)
        )

    def plain(self) -> list[Any]:
        """Return what a checkpoint says of it."""
        regions = [[r.row, r.col, r.height, r.width] for r in self.regions]
        orders = [None if o is None else o.tolist() for o in (self.rows, self.cols)]
        said = [self.owner, self.name, regions, *orders]
        if self.tiling is None:
            return said
        cut = self.tiling
        sizes = [cut.slices, cut.groups, cut.rows, cut.cols, cut.array.to_dict()]
        reserved = [[r.row, r.col, r.height, r.width] for r in self.reserved]
        return [*said, sizes, reserved]

    @classmethod
    def from_plain(cls, values: list[Any], chip: Cells, home: list[Resident]) -> Resident:
        """Build one, without its crossbar, from what `plain` said."""
        owner, name, regions, *orders = values
        orders, cut = orders[:2], orders[2:]
        rows, cols = (None if o is None else torch.tensor(o) for o in (orders or [None, None]))
        known = tuple(Region(*numbers) for numbers in regions)
        found = cls(owner, name, known, chip, home, rows=rows, cols=cols)
        if cut:
            slices, groups, height, width, array = cut[0]
            found.tiling = Tiling(slices, groups, height, width, Array.from_dict(array))
            found.reserved = tuple(Region(*numbers) for numbers in cut[1])
        return found


def _joined(places: list[Tensor], tiling: Tiling) -> Tensor:
    """Return where the cells of a matrix are, ``[slices, groups · rows, cols]``.

    Args:
        places: of the cells of each tile, in the order ``[arrays, groups, down, across]``.
        tiling: how it is cut.
    """
    grid = (tiling.arrays, tiling.groups, tiling.down, tiling.across)
    numbers = torch.arange(len(places)).view(grid)
    shape = (tiling.slices, tiling.groups * tiling.rows, tiling.cols)
    bands, down = [], 0
    for batches in tiling.cut(torch.empty(shape, device="meta")):
        band, across = [], 0
        for tiles in batches:
            part = numbers[:, :, down : down + tiles.shape[2], across : across + tiles.shape[3]]
            found = torch.stack([places[number] for number in part.flatten().tolist()])
            band.append(found.unflatten(0, tuple(part.shape)))
            across += tiles.shape[3]
        down += batches[0].shape[2]
        bands.append(band)
    return tiling.join(bands)


def refuse_other_cells(
    part: str, crossbar: Crossbar, weight: Tensor | None, hardware: Hardware, dtype: torch.dtype
) -> None:
    """Refuse a crossbar that cannot be made of a chip's cells.

    Args:
        part: name of the crossbar.
        crossbar: what is to be placed.
        weight: what it is to hold, if known.
        hardware: of the chip.
        dtype: of the chip's conductances.

    Raises:
        TypeError, ValueError: if its device or effects are others, its precision is another, or
            the weight is not finite.
    """
    own = [behaviour.to_dict() for behaviour in hardware.behaviours]
    other = [behaviour.to_dict() for behaviour in crossbar.hardware.behaviours]
    if own != other:
        pairs = zip(own, other, strict=False)
        difference = next(
            (first_difference(a, b) for a, b in pairs if a != b),
            f"{len(own)} and {len(other)} of them",
        )
        raise ValueError(
            f"crossbar {part!r} has other cells than this chip: its device and effects must be "
            f"those of the chip's hardware ({difference})"
        )
    if crossbar.G.dtype != dtype:
        raise TypeError(f"crossbar {part!r} must be {dtype} as the chip, got {crossbar.G.dtype}")
    if weight is not None:
        checks.finite(f"weight of {part or 'the crossbar'}", weight)
