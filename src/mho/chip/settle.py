"""Finding free cells for the crossbars of a model, and moving in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from mho.chip import placement
from mho.chip.mapping import CoreMapping
from mho.chip.on_cores import settle_on_cores
from mho.chip.placement import Region
from mho.chip.residents import Resident
from mho.core import random
from mho.model.crossbars import Entry

if TYPE_CHECKING:
    from mho.chip.chip import Chip


def settle(
    chip: Chip,
    owner: str,
    found: list[Entry],
    strategy: str | CoreMapping,
    seed: int,
) -> list[Resident]:
    """Find free cells for the crossbars of a model.

    Args:
        chip: where.
        owner: name of the model on the chip.
        found: its crossbars.
        strategy: see `Chip.place`.
        seed: for ``"random"``.

    Returns:
        One resident a crossbar; nothing is changed yet.

    Raises:
        ValueError: if there is no room.
    """
    source = random.generator(random.derive(seed, "place"))
    if chip.cores is not None:
        taken = [*chip.taken(), *_worn(chip)]
        return settle_on_cores(chip, chip.cores, owner, found, strategy, taken, source)
    assert isinstance(strategy, str)
    sizes = [tuple(e.crossbar.G.shape[1:]) for e in found for _ in range(len(e.crossbar.G))]
    if strategy == "greedy" and chip.sums is None:
        chip.sums = placement.integral(chip.stuck).cpu()
    free = placement.place(
        sizes,  # type: ignore[arg-type]
        (chip.rows, chip.cols),
        [*chip.taken(), *_worn(chip)],
        strategy=strategy,
        sums=chip.sums,
        source=source,
    )
    places = iter(free)
    residents = []
    for entry in found:
        name, crossbar = entry.name, entry.crossbar
        regions = [next(places) for _ in range(len(crossbar.G))]
        if None in regions:
            size = tuple(crossbar.G.shape[1:])
            raise ValueError(_no_room(chip, name, size, sizes, strategy))  # type: ignore[arg-type]
        known = tuple(r for r in regions if r is not None)
        residents.append(Resident(owner, name, known, chip.cells, chip.residents, crossbar))
    return residents


def _worn(chip: Chip) -> list[Region]:
    """Regions with a cell that may not be written again: whole bands of rows."""
    if chip.endurance is None:
        return []
    rows = (chip.wear >= chip.endurance).any(1).nonzero().flatten().tolist()
    return [Region(row, 0, 1, chip.cols) for row in rows]


def _no_room(
    chip: Chip, name: str, size: tuple[int, int], sizes: list[tuple[int, int]], strategy: str
) -> str:
    worn = len(_worn(chip))
    if worn:
        return (
            f"crossbar {name!r} needs {size[0]} × {size[1]} cells, but the chip is worn out: "
            f"on {worn} of its {chip.rows} word lines cells have received the "
            f"{chip.endurance} pulses that its endurance allows; use a new chip"
        )
    shape, taken = (chip.rows, chip.cols), list(chip.taken())
    reason = placement.no_room(size, sizes, shape, taken, packed=strategy == "packed")
    return f"no room for crossbar {name!r}: {reason}"


def move_in(chip: Chip, resident: Resident, weight: Tensor | None, permute: str | None) -> None:
    """Put a crossbar on the cells found for it.

    Args:
        chip: where.
        resident: as `settle` returned it.
        weight: what it is to hold, if known.
        permute: see `Chip.place`.
    """
    crossbar = resident.crossbar
    assert crossbar is not None
    encoding = crossbar.hardware.encoding
    if permute is not None and weight is not None:
        target, _ = crossbar.encode(weight.to(crossbar.G))
        mask, value = (x.reshape(-1)[resident.place] for x in (chip.stuck, chip.G))
        mask, value = mask.to(target.device), value.to(target.device)
        resident.order(target, mask, value, permute, encoding)
    cells = resident.lend(crossbar.cells)
    cells.seconds = cells.reads = 0.0
    crossbar.use_cells(cells, resident)
