"""Laying tiles on cores: one copy of every layer, by one of the policies, at once or in turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mho.chip.cores import Cores
from mho.chip.packing import Packer
from mho.chip.placement import Region
from mho.chip.tiles import LayerShape, Piece, Tile

POLICIES = ("packed", "layer", "tile")


def put(
    shapes: Sequence[LayerShape],
    cores: Cores,
    policy: str,
    turns: bool = False,
    taken: Iterable[Region] | None = None,
) -> list[Tile]:
    """Put one copy of every layer on cores.

    Args:
        shapes: the layers.
        cores: the chip.
        policy: see `place`.
        turns: whether they may lie there in turns.
        taken: regions of others on a chip that is there, in the field of all arrays.

    Returns:
        Layer by layer, in the order of `LayerShape.pieces`.

    Raises:
        ValueError: if the chip is too small.
    """
    pieces = [shape.pieces(cores) for shape in shapes]
    held = list(taken or ())
    tiles, needed = _at_once(pieces, Packer.on(cores, held), policy)
    if needed <= cores.count:
        return tiles
    if turns:
        return _in_turns(pieces, cores, policy)
    remedy = "" if taken is not None else "let layers lie there in turns (turns=Rewriting(…))"
    raise ValueError(_too_small(pieces, cores, policy, held, remedy))


def _at_once(
    pieces: Sequence[Sequence[Piece]], packer: Packer, policy: str
) -> tuple[list[Tile], int]:
    """Put all layers on as many cores as they need; return their tiles and that number."""
    if policy != "packed":
        tiles = [t for i, own in enumerate(pieces) for t in _layer(i, own, packer, policy) or ()]
        return tiles, packer.next
    # Large ones first is mostly best, not always.
    tries = [_by_size(pieces, packer.fork()), _at_once(pieces, packer.fork(), "layer")]
    return min(tries, key=lambda found: found[1])


def _by_size(pieces: Sequence[Sequence[Piece]], packer: Packer) -> tuple[list[Tile], int]:
    every = [(i, piece) for i, own in enumerate(pieces) for piece in own]
    found: dict[tuple[int, Piece], Tile] = {}
    for index, piece in sorted(every, key=lambda pair: _size(pair[1])):
        spot = packer.put(piece.height, piece.width, piece.arrays)
        assert spot is not None  # there is no end of cores
        found[index, piece] = Tile(index, 0, piece, 0, *spot)
    return [found[key] for key in every], packer.next


def _size(piece: Piece) -> tuple[int, int, int]:
    """What is placed first: much in depth, high, wide."""
    return -piece.arrays, -piece.height, -piece.width


def _layer(
    index: int,
    pieces: Sequence[Piece],
    packer: Packer,
    policy: str,
    turn: int = 0,
) -> list[Tile] | None:
    """Put one layer on cores; None where these do not suffice."""
    found: dict[Piece, Tile] = {}
    if policy != "packed":
        packer.close()
    for piece in sorted(pieces, key=_size):
        spot = packer.put(piece.height, piece.width, piece.arrays, fresh=policy != "packed")
        if spot is None:
            return None
        found[piece] = Tile(index, 0, piece, turn, *spot)
        if policy == "tile":
            packer.close()
    return [found[piece] for piece in pieces]


def _in_turns(pieces: Sequence[Sequence[Piece]], cores: Cores, policy: str) -> list[Tile]:
    """Put layers on the chip one after the other; where it is full, the next turn begins."""
    packer, turn, tiles = Packer(cores, most=cores.count), 0, []
    for index, own in enumerate(pieces):
        trial = packer.fork()
        found = _layer(index, own, trial, policy, turn)
        if found is None and packer.next:  # it begins in the next turn
            turn, trial = turn + 1, Packer(cores, most=cores.count)
            found = _layer(index, own, trial, policy, turn)
        if found is None:  # larger than the chip: piece after piece, as far as it goes
            found, turn, trial = _split(index, own, cores, policy, turn)
        packer = trial
        tiles += found
    return tiles


def _split(
    index: int, pieces: Sequence[Piece], cores: Cores, policy: str, turn: int
) -> tuple[list[Tile], int, Packer]:
    packer, found = Packer(cores, most=cores.count), {}
    for piece in sorted(pieces, key=_size):
        spot = packer.put(piece.height, piece.width, piece.arrays)
        if spot is None:
            packer, turn = Packer(cores, most=cores.count), turn + 1
            spot = packer.put(piece.height, piece.width, piece.arrays)
        assert spot is not None  # an empty chip holds any piece
        found[piece] = Tile(index, 0, piece, turn, *spot)
        if policy == "tile":
            packer.close()
    return [found[piece] for piece in pieces], turn, packer


def alone(index: int, shape: LayerShape, cores: Cores, policy: str) -> tuple[list[Tile], int]:
    """Put a layer on a chip of its own; return its tiles and how many cores it takes."""
    packer = Packer(cores)
    apart = "layer" if policy == "packed" else policy
    tiles = _layer(index, shape.pieces(cores), packer, apart)
    assert tiles is not None  # there is no end of cores
    return tiles, packer.next


def _too_small(
    pieces: Sequence[Sequence[Piece]],
    cores: Cores,
    policy: str,
    taken: Sequence[Region],
    otherwise: str,
) -> str:
    needs = {kind: _at_once(pieces, Packer.on(cores, taken), kind)[1] for kind in POLICIES}
    short = needs[policy] - cores.count
    said = ", ".join(f"{need} under {kind!r}" for kind, need in needs.items())
    fits = next((kind for kind, need in needs.items() if need <= cores.count), None)
    remedy = f"policy={fits!r}" if fits else f"Cores(count={min(needs.values())})"
    beside = " beside what lies there" if taken else ""
    other = f", or {otherwise}" if otherwise else ""
    size = f"{cores.rows} × {cores.cols} × {cores.arrays}"
    return (
        f"the chip has {cores.count} core{'s' * (cores.count > 1)} of {size} cells, {short} "
        f"too few: the network needs {said}{beside}; take {remedy}{other}"
    )
