"""The time of cells: how long ago they were written, and how often read.

These functions are the methods of `Cells` that bear their names.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from mho.cells import life
from mho.core import checks, durations
from mho.core.durations import Duration

if TYPE_CHECKING:
    from mho.cells.population import Cells


@torch.inference_mode(False)
@torch.no_grad()
def age(cells: Cells, seconds: Duration, reads: float = 0.0) -> None:
    """Let time pass, and reads happen.

    Args:
        seconds: how long (s), >= 0; adds to the time since programming.
        reads: of every cell in that time, >= 0, for effects that go by them.

    Raises:
        TypeError, ValueError: if one is not a non-negative number, or there are reads and
            nothing goes by them.
    """
    seconds = durations.seconds("seconds", seconds, least=0.0)
    cells.check_reads(reads)
    stop, all_reads = cells.seconds + float(seconds), cells.reads + float(reads)
    drawn = cells.drawn("program").at(stop)
    if next(drawn.acting("age"), None) is not None:
        past, since, before = cells.g, cells.seconds, cells.reads
        if cells.written is not None:
            past, since, before = cells.written, cells.written_at, 0.0
        drawn = dataclasses.replace(drawn, reads=(before, all_reads))
        cells.hold(life.age(past, drawn, since, stop))
        if life.remembers(cells.behaviours):
            cells.written, cells.written_at = past, since
    cells.seconds, cells.reads = stop, all_reads
    if seconds > 0.0:
        _advance(cells, float(seconds))


def check_reads(cells: Cells, reads: float) -> None:
    """Refuse reads (TypeError, ValueError) that are no count, or that nothing goes by."""
    reads = checks.number("reads", reads, least=0.0)
    if reads and not cells.counts_reads:
        raise ValueError(
            f"reads={reads!r} would change nothing: none of {cells.behaviours} goes by reads "
            "(as mho.effects.ReadDisturb does)"
        )


def _advance(cells: Cells, seconds: float) -> None:
    for index, behaviour in enumerate(cells.behaviours):
        if behaviour.changing:
            changed = behaviour.advance(cells.context(index), seconds)
            for name, value in changed.items():
                cells.register_buffer(f"state_{index}_{name}", value.to(cells.g))
