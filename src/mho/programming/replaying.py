"""Replay: the recorded pulses of a recipe, given to cells once more."""

from __future__ import annotations

import torch
from torch import Tensor

from mho.cells.population import Cells
from mho.cells.programming import Round
from mho.core import checks
from mho.devices.pulsed import PulsedCells
from mho.devices.switching_cells import SwitchingCells
from mho.programming.controller import Orders
from mho.programming.pulser import Pulser
from mho.programming.recipes import Sheet


@torch.no_grad()
def replay(cells: Cells, sheet: Sheet) -> None:
    """Give cells the pulses of a recipe, in their order, without a read.

    Cells of the same seed, in the state in which they were programmed, come to hold the same
    conductances to the last bit, where nothing in them differs from pulse to pulse; others what
    the same pulses make of them. Effects of programming do not act. In a passive array
    half-selected cells see their parts of every pulse again.

    Args:
        cells: voltage-driven or pulse-count cells of the sheet's shape; they are changed.
        sheet: of a recipe whose pulses were recorded.

    Raises:
        TypeError: if the cells take no pulses, or not of the kind that was recorded.
        ValueError: if the shape is another, no pulses were recorded, or their voltages have the
            sign that does not set these cells.
    """
    checks.instance("cells", cells, (SwitchingCells, PulsedCells))
    checks.instance("sheet", sheet, Sheet)
    if tuple(cells.shape) != sheet.shape:
        raise ValueError(f"cells must have shape {list(sheet.shape)}, got {list(cells.shape)}")
    if sheet.rounds is None:
        raise ValueError(
            f"the recipe has no pulses to replay: {type(sheet.programming).__name__} gave none or "
            "did not record them (record=True)"
        )
    counted = isinstance(cells, PulsedCells)
    if any(not each.erase for each in sheet.rounds) and sheet.counted != counted:
        kind = "counted pulses" if not counted else "voltage pulses"
        raise TypeError(f"the recipe is of {kind}, and cells are those of {cells.spec}")
    if isinstance(cells, SwitchingCells):
        _check_polarity(cells, sheet)
    place = sheet.place.to(cells.g.device)
    size = [int(n) + 1 for n in place.amax(0)] if len(place) else [0, 0, 0]
    at = (place[:, 0] * size[1] + place[:, 1]) * size[2] + place[:, 2]
    arrays = torch.full(size, -1, dtype=torch.int64, device=at.device)
    arrays.view(-1)[at] = torch.arange(len(at), device=at.device)
    part = cells.gather(arrays)
    scheme = None
    for each in sheet.rounds:
        if scheme is not None and each.scheme != scheme:
            part.hold(part.conductance())  # what one policy left, another one took over
        scheme = each.scheme
        _give(part, each, at)
    cells.rng.copy_(part.rng)
    cells.hold(part.conductance().reshape(-1)[at].view(cells.shape))
    cells.count(sheet.pulses.to(at.device))


def _check_polarity(cells: SwitchingCells, sheet: Sheet) -> None:
    polarity = cells.spec.set_polarity
    for each in sheet.rounds or ():
        if each.volts is None:
            continue
        setting = torch.where(torch.as_tensor(each.up), each.volts, -each.volts)
        if bool((setting * polarity < 0.0).any()):
            raise ValueError(
                f"cells must be set by {'negative' if polarity > 0 else 'positive'} voltages, as "
                f"those of the recipe, got {cells.spec}"
            )


def _give(part: Cells, given: Round, at: Tensor) -> None:
    index = at if given.cells is None else at[given.cells.to(at.device)]
    if given.erase:
        part.reset()
        return

    def spread(value: Tensor | float, like: Tensor) -> Tensor:
        full = torch.zeros_like(like).flatten()
        full[index] = torch.as_tensor(value).to(full)
        return full.view(like.shape)

    held = part.conductance()
    whole = torch.zeros_like(held, dtype=torch.int64)
    count = spread(1 if given.count is None else given.count, whole)
    up = spread(given.up, whole) > 0
    if given.scheme is None:
        assert isinstance(part, PulsedCells)
        part.pulse(torch.where(up, count, -count))
        return
    volts = spread(0.0 if given.volts is None else given.volts, held)
    Pulser(part, given.scheme).give(Orders(count > 0, up, volts.abs(), count))
