"""Models on a chip: they are placed, joined again after loading, and removed. Methods of `Chip`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mho.chip import placement
from mho.chip.laying import POLICIES
from mho.chip.mapping import CoreMapping
from mho.chip.permute import WHICH
from mho.chip.placement import Region
from mho.chip.residents import Resident, refuse_other_cells
from mho.chip.settle import move_in, settle
from mho.core import checks
from mho.crossbar.undo import all_or_nothing
from mho.model.crossbars import Entry, listing

if TYPE_CHECKING:
    from mho.chip.chip import Chip

ON_CORES = (*dict.fromkeys((*placement.STRATEGIES, *POLICIES)),)
"""Strategies for chips of cores: those of a field, and the mapper's."""


@torch.inference_mode(False)
@torch.no_grad()
def place(
    chip: Chip,
    model: nn.Module,
    strategy: str | CoreMapping = "greedy",
    *,
    seed: int = 0,
    permute: str | None = None,
    name: str | None = None,
) -> dict[str, tuple[Region, ...]]:
    """Put a model's crossbars on free cells of this chip, and program them.

    Calibrated converter ranges stay. Where something is refused, nothing is changed.

    Args:
        chip: this one.
        model: a converted model, or a `Crossbar`; its device and effects are the chip's.
        strategy: ``"greedy"`` (the largest matrix first, each where the fewest cells are broken),
            ``"random"``, or ``"packed"`` (each at the first place by rows). On a chip of cores
            tiles are placed one by one, and ``"packed"``, ``"layer"`` and ``"tile"`` are the
            policies of `mho.chip.place`; or what that returned. Of copies in a mapping the first is
            what the model reads, and is programmed; the cells of the others are taken.
        seed: for ``"random"``.
        permute: ``"rows"``, ``"cols"`` or ``"both"``: lay out the lines of each matrix in the order
            that suits the broken cells best; see `mho.chip.permute`. Wires, where they are not
            ideal, are solved in the matrix's own order. Not on a chip of cores.
        name: of the model on this chip; numbered if not given.

    Returns:
        The regions of every crossbar, by the name that `mho.summary` shows: one a slice; on a chip
        of cores one for every tile of every slice, in a field in which all arrays lie one below the
        other. Wires, where they are not ideal, are solved for every tile by itself: what else lies
        on its core is switched off while it is read (``Array(whole_lines=True)`` counts the length
        of the lines beyond it).

    Raises:
        TypeError, ValueError: if an argument is refused, the model is on this chip already, is of
            other hardware, or does not fit.
    """
    _check(chip, strategy, permute)
    checks.integer("seed", seed, least=0)
    found = listing(model)
    waiting = _waiting(chip, found, name)
    if waiting:
        return _join(waiting)
    owner = _new_name(chip, name)
    for entry in found:
        part, crossbar = entry.name, entry.crossbar
        if any(resident.crossbar is crossbar for resident in chip.residents):
            raise ValueError(f"crossbar {part!r} is on this chip already; remove it first")
        refuse_other_cells(part, crossbar, entry.weight(), chip.hardware, chip.G.dtype)
        if permute is not None and crossbar.groups > 1:
            raise ValueError(
                f"permute must be None for crossbar {part!r}: it has {crossbar.groups} "
                "groups, whose lines cannot be exchanged"
            )
    residents = settle(chip, owner, found, strategy, seed)
    with undoing(chip), all_or_nothing(entry.crossbar for entry in found):
        weights = [entry.weight() for entry in found]
        for resident, weight in zip(residents, weights, strict=True):
            move_in(chip, resident, weight, permute)
        _write(found, weights)
        chip.residents += residents
    return {resident.name: resident.regions for resident in residents}


def _check(chip: Chip, strategy: str | CoreMapping, permute: str | None) -> None:
    if isinstance(strategy, CoreMapping):
        if chip.cores is None:
            raise ValueError("strategy is a mapping on cores, and this chip is one field of cells")
    else:
        known = placement.STRATEGIES if chip.cores is None else ON_CORES
        checks.one_of("strategy", strategy, known)
    if permute is not None:
        checks.one_of("permute", permute, WHICH)
        if chip.cores is not None:
            raise ValueError(
                "permute must be None on a chip of cores: tiles have lines of their own"
            )


def _new_name(chip: Chip, name: str | None) -> str:
    names = {resident.owner for resident in chip.residents}
    if name is None:
        numbers = (f"model {i}" for i in range(1, len(names) + 2))
        return next(free for free in numbers if free not in names)
    checks.instance("name", name, str)
    if name in names:
        raise ValueError(f"there is a model named {name!r} on this chip already")
    return name


def _write(found: list[Entry], weights: list[Tensor | None]) -> None:
    for entry, weight in zip(found, weights, strict=True):
        if weight is not None:
            entry.crossbar.program(weight)
    for layer in dict.fromkeys(entry.layer for entry in found if entry.layer is not None):
        layer.mark_programmed()


@contextmanager
def undoing(chip: Chip) -> Iterator[None]:
    """Put cells and residents back if the block raises."""
    held, residents = chip.cells.fork(), list(chip.residents)
    try:
        yield
    except BaseException:
        chip.cells.become(held)
        chip.residents[:] = residents
        raise


# ── models whose checkpoints lay here ────────────────────────────────────────────────────────


def join(chip: Chip, model: nn.Module) -> dict[str, tuple[Region, ...]]:
    """Bring a model back to the cells that it lay on when both were saved.

    What the cells hold, and their wear, is as the chip's checkpoint says.
    `place`, `program` and `remove` do this by themselves.

    Args:
        chip: this one.
        model: with its checkpoint loaded.

    Returns:
        The regions of every crossbar, by the name that `mho.summary` shows.

    Raises:
        TypeError, ValueError: if the model has no crossbars, or its checkpoint did not lie on
            this chip.
    """
    waiting = _waiting(chip, listing(model), None)
    if not waiting:
        raise ValueError("the model's checkpoint did not lie on this chip, or it is on it now")
    return _join(waiting)


def _waiting(chip: Chip, found: list[Entry], name: str | None) -> dict[Resident, Entry]:
    """Return the residents without a model that these crossbars are; all of them, or none."""
    lost = {r.identity: r for r in chip.residents if r.crossbar is None}
    pairs = {lost[e.crossbar.cells.identity]: e for e in found if e.crossbar.cells.identity in lost}
    whole = len(pairs) == len(found)
    known = name is None or all(resident.owner == name for resident in pairs)
    return pairs if whole and known else {}


def _join(waiting: dict[Resident, Entry]) -> dict[str, tuple[Region, ...]]:
    try:
        with all_or_nothing(entry.crossbar for entry in waiting.values()):
            for resident, entry in waiting.items():
                resident.join(entry.crossbar)
    except BaseException:
        for resident in waiting:
            resident.crossbar = None
        raise
    return {resident.name: resident.regions for resident in waiting}


def here(chip: Chip, found: list[Entry]) -> list[Resident]:
    """Return the residents that some crossbars are, all of them."""
    _join(_waiting(chip, found, None))
    known = {id(r.crossbar): r for r in chip.residents}
    missing = [entry.name for entry in found if id(entry.crossbar) not in known]
    if missing:
        raise ValueError("the model is not on this chip; place it first")
    return [known[id(entry.crossbar)] for entry in found]


def remove(chip: Chip, model: nn.Module | str) -> None:
    """Free a model's cells; they keep what they hold, and their wear.

    The model goes on with a copy of its cells.

    Args:
        chip: this one.
        model: what was placed, or its name on this chip.

    Raises:
        TypeError, ValueError: if it is not on this chip.
    """
    checks.instance("model", model, (nn.Module, str))
    if isinstance(model, str):
        leaving = [r for r in chip.residents if r.owner == model]
    else:
        found = listing(model)
        _join(_waiting(chip, found, None))
        crossbars = {id(entry.crossbar) for entry in found}
        leaving = [r for r in chip.residents if id(r.crossbar) in crossbars]
    if not leaving:
        names = ", ".join(sorted({repr(r.owner) for r in chip.residents})) or "none"
        raise ValueError(f"no such model on this chip; there are {names}")
    with undoing(chip), all_or_nothing(r.crossbar for r in leaving if r.crossbar is not None):
        for resident in leaving:
            if resident.crossbar is None:
                chip.residents.remove(resident)
            else:
                resident.crossbar.leave()
