"""Write–verify of a whole crossbar: its own cells, its own tiles, its own faults."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mho.cells.life import ProgramReport
from mho.core import checks, random
from mho.crossbar.crossbar import Crossbar
from mho.programming.loop import write_verify
from mho.programming.report import WriteReport
from mho.programming.scheme import WriteVerify


def program_crossbar(
    crossbar: Crossbar, weight: Tensor, scheme: WriteVerify | None = None, *, seed: int = 0
) -> tuple[ProgramReport, WriteReport]:
    """Write a weight matrix to a crossbar by write–verify, in place of `Crossbar.program`.

    The cells are those the crossbar was fabricated with: each with its own drawn parameters,
    from the conductance it holds now, broken ones unmovable. Every tile is an array of its own
    with its own drivers. The pulses decide what is stored: neither the device's programming
    error nor effects of programming (`WriteNoise`, `FiniteStates`) act on top.

    Args:
        crossbar: of a voltage-driven or pulse-count device.
        weight: ``[groups · rows, cols]``, finite.
        scheme: what to do; `WriteVerify.for_device` if not given.
        seed: of read noise and of what differs from pulse to pulse.

    Returns:
        What was asked for and is stored, as `Crossbar.program` tells it; and what it took, with
        tensors shaped like ``crossbar.G``.

    Raises:
        TypeError, ValueError: if an argument is refused, or the device takes no pulses.
        ProgrammingError: if cells failed and the scheme says to raise. In every case of an error
            the crossbar is unchanged.
    """
    checks.instance("crossbar", crossbar, Crossbar)
    device = crossbar.hardware.device
    scheme = WriteVerify.for_device(device) if scheme is None else scheme
    place = _tiles(crossbar)
    absent = place < 0
    reports: list[WriteReport] = []

    def on_tiles(x: Tensor) -> Tensor:
        return x.flatten()[place.clamp(min=0)]

    def as_stored(x: Tensor) -> Tensor:
        out = x.new_empty(crossbar.G.numel())
        out[place[~absent]] = x[~absent]
        return out.view_as(crossbar.G)

    def write(target: Tensor) -> Tensor:
        born = crossbar.born
        cells = device.fabricate(
            tuple(place.shape),
            seed=random.derive(seed, "cells"),
            dtype=crossbar.G.dtype,
            device=crossbar.G.device,
        )
        for name, drawn in born.states[0].items():
            cells.get_buffer(f"p_{name}").copy_(on_tiles(drawn))
        held = on_tiles(crossbar.G)
        cells.write(held)
        broken = absent if born.stuck is None else absent | on_tiles(born.stuck)
        report = write_verify(
            cells,
            on_tiles(target),
            scheme,
            select=~absent,
            broken=(broken, torch.where(absent, 0.0, held)),
            seed=random.derive(seed, "reads"),
        )
        tensors: dict[str, Any] = {
            field.name: as_stored(getattr(report, field.name))
            for field in dataclasses.fields(report)
            if isinstance(getattr(report, field.name), Tensor)
        }
        reports.append(dataclasses.replace(report, **tensors))
        return reports[0].achieved

    programmed = crossbar.program(weight, write)
    return programmed, reports[0]


def _tiles(crossbar: Crossbar) -> Tensor:
    """Return which cell of ``G`` lies at each place ``[tiles, rows, cols]``; -1: none does."""
    array, g = crossbar.hardware.array, crossbar.G
    place = torch.arange(g.numel(), device=g.device).view(g.shape)
    split = place.unflatten(1, (crossbar.groups, -1))
    width = array.cols
    if array.interleaved:  # the slices of an output are neighbouring columns
        split, width = split.permute(1, 2, 3, 0).flatten(2), array.cols // len(g) * len(g)
    else:
        split = split.flatten(0, 1)
    rows, cols = split.shape[1:]
    h, w = min(array.rows, rows), min(width, cols)
    whole = pad(split, (0, -cols % w, 0, -rows % h), value=-1)
    return whole.unflatten(2, (-1, w)).unflatten(1, (-1, h)).transpose(2, 3).flatten(0, 2)
