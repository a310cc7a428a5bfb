"""Finding free cells for the crossbars of a model on a chip of cores, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.chip import placement
from mho.chip.cores import Cores
from mho.chip.laying import POLICIES, put
from mho.chip.mapping import CoreMapping
from mho.chip.placement import Region
from mho.chip.residents import Resident
from mho.chip.tiles import LayerShape, Piece, Tile, joined, shape_of
from mho.crossbar.tiling import Tiling
from mho.model.crossbars import Entry

if TYPE_CHECKING:
    from mho.chip.chip import Chip


class NoRoomError(ValueError):
    """No free place for a tile."""


def settle_on_cores(
    chip: Chip,
    cores: Cores,
    owner: str,
    found: list[Entry],
    strategy: str | CoreMapping,
    taken: Sequence[Region],
    source: torch.Generator,
) -> list[Resident]:
    """Find free cells for the crossbars of a model; see `mho.chip.settle.settle`.

    Args:
        chip: where.
        cores: its own.
        owner: name of the model on the chip.
        found: its crossbars.
        strategy: see `Chip.place`.
        taken: regions that are not free.
        source: of randomness, for ``"random"``.
    """
    cuts = [Tiling.of(e.crossbar.G, e.crossbar.groups, e.crossbar.hardware.array) for e in found]
    shapes = [
        shape_of(e.name, cut, e.crossbar.hardware) for e, cut in zip(found, cuts, strict=True)
    ]
    if isinstance(strategy, CoreMapping):
        tiles = _as_mapped(strategy, cores, shapes, taken)
    elif strategy in POLICIES:
        tiles = _by_policy(shapes, cores, strategy, taken, source)
    else:
        stuck = chip.stuck if strategy == "greedy" else None
        tiles = _by_window(shapes, cores, strategy, taken, stuck, source)
    own: list[list[Tile]] = [[] for _ in found]
    for tile in tiles:
        own[tile.layer].append(tile)
    return [_resident(chip, cores, owner, *pair) for pair in zip(found, cuts, own, strict=True)]


def _resident(
    chip: Chip, cores: Cores, owner: str, entry: Entry, cut: Tiling, tiles: list[Tile]
) -> Resident:
    """Return a resident whose regions are in the order of its tiling."""
    crossbar = entry.crossbar
    sets = joined(crossbar.hardware.encoding, cut.array.interleaved)
    regions: dict[tuple[int, int, int, int], Region] = {}
    reserved: list[Region] = []
    for tile in tiles:
        piece, lies = tile.piece, tile.regions(cores)
        if tile.copy:
            reserved += lies
            continue
        for array, region in zip(sets[piece.part], lies, strict=True):
            regions[array, piece.group, piece.down, piece.across] = region
    ordered = tuple(regions[key] for key in sorted(regions))
    return Resident(
        owner,
        entry.name,
        ordered,
        chip.cells,
        chip.residents,
        crossbar,
        tiling=cut,
        reserved=tuple(reserved),
    )


# ── as a mapping says ────────────────────────────────────────────────────────────────────────


def _as_mapped(
    mapping: CoreMapping, cores: Cores, shapes: list[LayerShape], taken: Sequence[Region]
) -> list[Tile]:
    """Return the tiles of a mapping, numbered by the crossbars of the model.

    Raises:
        ValueError: if it is of another chip or another model, in turns, or not free.
    """
    if mapping.cores.layout != cores.layout:
        raise ValueError(
            f"the mapping is of another chip: {mapping.cores.layout} cores, arrays, rows and "
            f"columns, this one has {cores.layout}"
        )
    if mapping.turns > 1:
        raise ValueError(
            f"the mapping has {mapping.turns} turns: cells hold one network at a time; take a "
            "chip of more cores"
        )
    wanted = {_plain(shape): index for index, shape in enumerate(shapes)}
    given = {_plain(shape): index for index, shape in enumerate(mapping.shapes)}
    if set(wanted) != set(given):
        names = ", ".join(sorted({repr(key[0]) for key in set(wanted) ^ set(given)}))
        raise ValueError(f"the mapping is of another model: they differ in {names}")
    numbers = {given[key]: index for key, index in wanted.items()}
    held: dict[int, list[Region]] = {}
    for region in taken:
        for array in range(region.row // cores.rows, (region.bottom - 1) // cores.rows + 1):
            held.setdefault(array, []).append(region)
    for tile in mapping.tiles:
        for region in tile.regions(cores):
            if any(region.overlaps(other) for other in held.get(region.row // cores.rows, ())):
                raise ValueError(
                    f"core {tile.core} is taken where {mapping.shapes[tile.layer].name!r} is to "
                    "lie: remove what lies there, or name a strategy"
                )
    return [tile._replace(layer=numbers[tile.layer]) for tile in mapping.tiles]


def _plain(shape: LayerShape) -> tuple[object, ...]:
    return shape.name, shape.rows, shape.cols, shape.groups, shape.arrays, shape.tile


def _by_policy(
    shapes: list[LayerShape],
    cores: Cores,
    policy: str,
    taken: Sequence[Region],
    source: torch.Generator,
) -> list[Tile]:
    """Place tiles by a policy of the mapper, which fills no gaps; between others look for these."""
    try:
        return put(shapes, cores, policy, taken=taken)
    except ValueError:
        if policy != "packed" or not taken:
            raise
        try:
            return _by_window(shapes, cores, policy, taken, None, source)
        except NoRoomError:
            pass
        raise


# ── by the windows of a field ────────────────────────────────────────────────────────────────


def _by_window(
    shapes: list[LayerShape],
    cores: Cores,
    strategy: str,
    taken: Sequence[Region],
    stuck: Tensor | None,
    source: torch.Generator,
) -> list[Tile]:
    """Place tiles where the fewest cells are broken, or anywhere; much in depth and large first."""
    every = [(i, piece) for i, shape in enumerate(shapes) for piece in shape.pieces(cores)]
    held, found = list(taken), []
    for arrays in sorted({piece.arrays for _, piece in every}, reverse=True):
        here = [(i, piece) for i, piece in every if piece.arrays == arrays]
        slots = cores.arrays // arrays
        size = (cores.count * slots * cores.rows, cores.cols)
        sums = None if stuck is None else placement.integral(_summed(stuck, cores, arrays)).cpu()
        regions = placement.place(
            [(piece.height, piece.width) for _, piece in here],
            size,
            _on_slots(held, cores, arrays),
            strategy=strategy,
            sums=sums,
            source=source,
            band=cores.rows,
        )
        for (index, piece), region in zip(here, regions, strict=True):
            if region is None:
                raise NoRoomError(_no_room(shapes[index], piece, cores, strategy, len(taken)))
            slot, row = divmod(region.row, cores.rows)
            core, depth = divmod(slot, slots)
            tile = Tile(index, 0, piece, 0, core, depth * arrays, row, region.col)
            found.append(tile)
            held += tile.regions(cores)
    return found


def _summed(stuck: Tensor, cores: Cores, arrays: int) -> Tensor:
    """Return how many cells are broken at each place of so many arrays, one above the other."""
    count, planes, rows, cols = cores.layout
    slots = planes // arrays
    cut = stuck.view(count, planes, rows, cols)[:, : slots * arrays]
    return cut.unflatten(1, (slots, arrays)).sum(2).flatten(0, 2)


def _on_slots(taken: Sequence[Region], cores: Cores, arrays: int) -> list[Region]:
    """Return regions of the field of all arrays in one of so many arrays, one above the other."""
    slots = cores.arrays // arrays
    found: dict[Region, None] = {}
    for region in taken:
        array, row = divmod(region.row, cores.rows)
        core, plane = divmod(array, cores.arrays)
        if plane < slots * arrays:
            slot = core * slots + plane // arrays
            there = Region(slot * cores.rows + row, region.col, region.height, region.width)
            found[there] = None
    return list(found)


def _no_room(shape: LayerShape, piece: Piece, cores: Cores, strategy: str, others: int) -> str:
    beside = f" beside {others} regions that are taken" if others else ""
    return (
        f"no room for a tile of {shape.name!r} ({piece.height} × {piece.width} cells on "
        f"{piece.arrays} arrays) on {cores.count} cores of {cores.rows} × {cores.cols}{beside}; "
        f"{strategy!r} may leave gaps: try strategy='packed', which says what is needed, or a chip "
        "of more cores"
    )
