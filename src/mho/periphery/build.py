"""From an ADC's spec to the errors of so many converters: drawn, and laid out by line."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.periphery.adc import ADC
from mho.periphery.code_table import CodeTable, cells_in_a_step, tabulate
from mho.periphery.converters.base import Architecture, ideal_transitions
from mho.periphery.draws import Draws
from mho.periphery.errors import Errors


class Placed(NamedTuple):
    """Which converter reads which line.

    Attributes:
        converter: of every line ``[lines]``, counted over the arrays beside one another (int64).
        arrays: of these, how many there are.
        on_each: converters of one array.
    """

    converter: Tensor
    arrays: int
    on_each: int


class Drawn(NamedTuple):
    """What converters drew.

    Attributes:
        gain: ``[converters]``, or ``[1]`` where all are alike.
        offset: likewise (steps).
        transitions: ``[tables, 2^bits - 1]`` (steps); None for ideal ones.
        table: which of these each converter has ``[converters]`` (int64).
        even: whether all gains are 1 and all offsets 0.
    """

    gain: Tensor
    offset: Tensor
    transitions: Tensor | None
    table: Tensor
    even: bool


def draw(adc: ADC, draws: Draws, count: int, on_each: int) -> Drawn:
    """Draw converters.

    Args:
        adc: what they are.
        draws: where chance comes from.
        count: how many there are.
        on_each: neighbours that are on one array.
    """
    built, bits = adc.architecture or Architecture(), adc.bits
    full = 2.0 ** (bits - 1)
    gain = draws.spread("gain", built.gain, (count,))
    offset = draws.spread("offset", built.offset, (count,)) * full
    own = built.own_offset(draws, count, bits)
    if own is not None:
        offset = offset + own
    number = torch.arange(count, device=draws.like.device)
    which = number // on_each if built.per_array else number
    tables = -(-count // on_each) if built.per_array else count
    found = built.transitions(draws, tables, bits)
    if found is None and built.inl:
        found = ideal_transitions(bits, offset).unsqueeze(0)
    if found is not None:
        found = built.bent(found)
        which = which if len(found) > 1 else torch.zeros_like(which)
    even = built.gain == 1.0 and built.offset == 0.0 and own is None
    return Drawn(gain, offset, found, which, even)


def by_line(adc: ADC, found: Drawn, placed: Placed, tiles: tuple[int, int], like: Tensor) -> Errors:
    """Lay out converters by the lines that they read.

    Args:
        adc: what they are.
        found: of all tiles, those of one row of tiles after those of another.
        placed: which converter reads which line.
        tiles: groups, and tiles below one another.
        like: gives dtype and device.
    """
    built, full = adc.architecture or Architecture(), 2.0 ** (adc.bits - 1)
    shape = (*tiles, placed.arrays * placed.on_each)

    def spread(value: Tensor) -> Tensor:
        if value.numel() == 1:
            return value.reshape(1, 1, 1)
        return value.view(shape)[..., placed.converter]

    table = None
    if found.transitions is not None:
        parts = cells_in_a_step(adc.bits)
        value, low = tabulate(found.transitions, parts)
        first = spread(found.table * value.shape[1]).to(torch.int32)
        table = CodeTable(value.to(like).flatten(), first, parts, low)
    return Errors(
        spread(found.gain).to(like),
        spread(found.offset).to(like),
        built.noise * full,
        getattr(built, "jitter", 0.0),
        table,
        adc.levels,
        even=found.even,
    )
