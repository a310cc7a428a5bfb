"""Copies of layers on free cores, so that those which hold up the others hold them up less."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mho.chip.cores import whole
from mho.chip.laying import alone

if TYPE_CHECKING:
    from mho.chip.mapping import CoreMapping
    from mho.chip.tiles import Tile

Key = tuple[str, int]
"""A core by its number, or the copies of a layer."""


def copied(mapping: CoreMapping, copies: Sequence[int]) -> CoreMapping:
    """Return a mapping with further copies on fresh cores.

    Args:
        mapping: with one copy of every layer.
        copies: of every layer, the one that is there included.

    Raises:
        ValueError: if there is no room for them, or a layer does not lie there in one turn.
    """
    cores, tiles = mapping.cores, list(mapping.tiles)
    next_core = _used(mapping)
    for index, count in enumerate(copies):
        if count == 1:
            continue
        turns = mapping.layers[index].turns
        if len(turns) > 1:
            raise ValueError(
                f"copies of {mapping.shapes[index].name!r} must be 1, got {count}: it is larger "
                "than the chip"
            )
        own, width = alone(index, mapping.shapes[index], cores, mapping.policy)
        first = next_core[turns[0]]
        for copy in range(1, count):
            at = first + (copy - 1) * width
            tiles += [t._replace(copy=copy, turn=turns[0], core=t.core + at) for t in own]
        next_core[turns[0]] = first + (count - 1) * width
    short = max(next_core) - cores.count
    if short > 0:
        raise ValueError(
            f"the chip has {cores.count} cores, {short} too few for these copies: take "
            f"Cores(count={max(next_core)}), fewer of them, or copies='balanced'"
        )
    return replace(mapping, copies=tuple(copies), tiles=tuple(tiles))


def balanced(mapping: CoreMapping) -> CoreMapping:
    """Return a mapping in which layers are copied as long as free cores make inferences faster.

    The core that works longest gives up reads to copies of the layer that it works longest for,
    again and again. Where cores are not shared this is the best that so many cores can do.

    Args:
        mapping: with one copy of every layer.
    """
    copies = [1] * len(mapping.shapes)
    for turn, used in enumerate(_used(mapping)):
        free = mapping.cores.count - used
        for layer, count in _best(mapping, turn, free).items():
            copies[layer] = count
    return copied(mapping, copies)


def _used(mapping: CoreMapping) -> list[int]:
    """Return by turn the first core that nothing lies on from there on."""
    used = [0] * mapping.turns
    for tile in mapping.tiles:
        used[tile.turn] = max(used[tile.turn], tile.core + 1)
    return used


@dataclass
class _Loads:
    """How long cores work for one inference while layers are copied.

    Attributes:
        each: by key and layer, how long one read of one copy takes (s).
        reads: of every layer in one inference.
        counts: copies of every layer.
        now: by key, how long it works for one inference (s).
        heap: the same, the longest first; entries that are not as in ``now`` are of the past.
    """

    each: dict[Key, dict[int, float]]
    reads: dict[int, int]
    counts: dict[int, int]
    now: dict[Key, float] = field(default_factory=dict)
    heap: list[tuple[float, Key]] = field(default_factory=list)

    def share(self, layer: int) -> int:
        """Reads of the copy that has most."""
        return -(-self.reads[layer] // self.counts[layer])

    def work(self, key: Key) -> None:
        """Work out a key's time anew."""
        of = self.each[key]
        if key[0] == "copies" and self.counts[key[1]] == 1:
            return
        self.now[key] = sum(self.share(layer) * time for layer, time in of.items())
        heapq.heappush(self.heap, (-self.now[key], key))

    def longest(self) -> Key:
        """Return the key that works longest."""
        while -self.heap[0][0] != self.now[self.heap[0][1]]:
            heapq.heappop(self.heap)
        return self.heap[0][1]


def _best(mapping: CoreMapping, turn: int, free: int) -> dict[int, int]:
    """Return how many copies of each layer make the longest work of a turn shortest."""
    whole_here = [i for i, layer in enumerate(mapping.layers) if layer.turns == (turn,)]
    apart = {i: alone(i, mapping.shapes[i], mapping.cores, mapping.policy) for i in whole_here}
    each: dict[Key, dict[int, float]] = {}
    for tile in mapping.tiles:
        if tile.turn == turn:
            _add(each, ("core", tile.core), tile, mapping)
    where: dict[int, list[Key]] = {i: [("copies", i)] for i in whole_here}
    for key, of in each.items():
        for layer in of:
            where.setdefault(layer, []).append(key)
    for i, (tiles, _) in apart.items():
        own: dict[Key, dict[int, float]] = {}
        for tile in tiles:
            _add(own, ("core", tile.core), tile, mapping)
        each["copies", i] = {i: max(of[i] for of in own.values())}
    reads = {i: whole(shape.reads) for i, shape in enumerate(mapping.shapes)}
    loads = _Loads(each, reads, dict.fromkeys(reads, 1))
    for key in each:
        loads.work(key)
    best, found = loads.now[loads.longest()], dict.fromkeys(whole_here, 1)
    while True:
        step = _step(loads, apart, free)
        if step is None:
            return found
        layer, count, cost = step
        loads.counts[layer], free = count, free - cost
        for key in where[layer]:
            loads.work(key)
        longest = loads.now[loads.longest()]
        if longest < best:
            best, found = longest, {i: loads.counts[i] for i in whole_here}


def _step(
    loads: _Loads, apart: dict[int, tuple[list[Tile], int]], free: int
) -> tuple[int, int, int] | None:
    """Return a layer that relieves the longest core, its copies then, and what these cost."""
    of = loads.each[loads.longest()]
    for layer in sorted(of, key=lambda i: -loads.share(i) * of[i]):
        share = loads.share(layer)
        if layer not in apart or share < 2:
            continue
        count = -(-loads.reads[layer] // (share - 1))
        cost = (count - loads.counts[layer]) * apart[layer][1]
        if cost <= free:
            return layer, count, cost
    return None


def _add(each: dict[Key, dict[int, float]], key: Key, tile: Tile, mapping: CoreMapping) -> None:
    of = each.setdefault(key, {})
    time = mapping.time(tile.layer, tile.piece.width)
    of[tile.layer] = of.get(tile.layer, 0.0) + time
