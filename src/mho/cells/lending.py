"""Some of a population's cells, lent in another arrangement and taken back.

These functions are the methods of `Cells` that bear their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mho.cells import kin

if TYPE_CHECKING:
    from mho.cells.population import Cells

C = TypeVar("C", bound="Cells")


def gather(cells: C, place: Tensor) -> C:
    """Return some of the cells, in another arrangement, as a population of its own.

    Args:
        place: positions in the flattened population (int64), each once, in the shape wanted;
            -1 for a place without a cell: it conducts nothing and answers to nothing.
    """
    part = cells.live()
    cells = part.fork()
    part.shape = tuple(place.shape)
    absent, at = place < 0, place.clamp(min=0)
    stuck = cells.stuck
    for index in range(len(cells.behaviours)):
        for name, value in cells.state(index).items():
            part.register_buffer(f"state_{index}_{name}", value.reshape(-1)[at])
    for name in kin.PER_CELL:
        held = cells._buffers.get(name)
        if held is not None:
            part.register_buffer(name, held.reshape(-1)[at])
    mask = absent if stuck is None else absent | stuck.reshape(-1)[at]
    part.broken_at = None
    if stuck is not None or bool(absent.any()):
        part.g = torch.where(absent, 0.0, part.g)
        part.broken_at = mask.flatten().nonzero().squeeze(1)
    return part


def scatter(cells: Cells, place: Tensor, part: Cells) -> None:
    """Take back what cells given away by `gather` hold now, and the pulses they received.

    With it what changed of their behaviours' tensors.
    """
    here = (place >= 0).flatten()
    at = place.flatten()[here]

    def taken(mine: Any, theirs: Any) -> Tensor:
        given = theirs.reshape(-1)[here].to(mine)
        both: Tensor = mine.reshape(-1).index_copy(0, at, given).view(cells.shape)
        return both

    cells.g, cells.writes = taken(cells.g, part.g), taken(cells.writes, part.writes)
    cells.inner = cells.written = None
    for name in cells.changing:
        cells.register_buffer(name, taken(cells._buffers[name], part._buffers[name]))
