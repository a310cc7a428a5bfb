"""The same cells in other company: beside other cells, or under other effects.

These functions are the methods of `Cells` that bear their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mho.cells.behaviour import Behaviour

if TYPE_CHECKING:
    from mho.cells.population import Cells

C = TypeVar("C", bound="Cells")

PER_CELL = ("g", "inner", "pulses", "written")
"""What a population holds of every cell, beside the states of its behaviours."""

PLAIN = ("shape", "seconds", "written_at", "reads", "identity", "_all_pulses", "_born_as")
"""What it knows of all of them."""


def beside(cells: C, *others: Cells) -> C:
    """Return these cells and others, side by side along the last dimension.

    The clock of aging goes on where all have the same; else they count as just written.

    Args:
        others: populations of the same behaviours, shaped alike but for the last dimension.

    Raises:
        ValueError: if one is of other behaviours.
    """
    parts: tuple[Cells, ...] = (cells, *others)
    if any(part.behaviours != cells.behaviours for part in others):
        raise ValueError("cells side by side must be of the same device and effects")
    whole = cells.live()
    whole.g = torch.cat([part.g for part in parts], dim=-1)
    whole.shape = tuple(whole.g.shape)
    whole.writes = torch.cat([part.writes for part in parts], dim=-1)
    states = [[part.state(i) for part in parts] for i in range(len(cells.behaviours))]
    for index, each in enumerate(states):
        for name in each[0]:
            values = torch.cat([state[name] for state in each], dim=-1)
            whole.register_buffer(f"state_{index}_{name}", values)
    if any(part.broken_at is not None for part in parts):
        masks = [
            torch.zeros_like(p.g, dtype=torch.bool) if p.stuck is None else p.stuck for p in parts
        ]
        whole.broken_at = torch.cat(masks, dim=-1).flatten().nonzero().squeeze(1)
    whole.inner = whole.written = None
    if any(clock_of(part) != clock_of(cells) for part in others):
        whole.seconds = whole.reads = 0.0
    else:
        whole.written = _written(parts)
    return whole


def clock_of(cells: Cells) -> tuple[float, float]:
    """Return how long ago cells were written (s), and how often they were read since."""
    return cells.seconds, cells.reads


def _written(parts: Sequence[Cells]) -> Tensor | None:
    """Return what cells held when last written, where all know it; see `life.remembers`."""
    known = [part.written for part in parts if part.written is not None]
    if len(known) < len(parts) or len({part.written_at for part in parts}) > 1:
        return None
    return torch.cat(known, dim=-1)


def empty(like: Any, kept_as: torch.dtype | None) -> Cells:
    """Return a population that is to be filled by a checkpoint, nothing drawn.

    Args:
        like: says the behaviours, the shape, the dtype and the device.
        kept_as: see `Cells`.
    """
    blank, where = (1,) * len(like.shape), like.like
    kind = like.spec.cells_type
    cells: Cells = kind(like.behaviours, blank, dtype=where.dtype, device="cpu")
    for name in [n for n in cells._buffers if n.startswith("state_")]:
        del cells._buffers[name]
    cells.broken_at = None
    cells.shape = tuple(like.shape)
    cells.g = torch.empty(where.shape, dtype=where.dtype, device=where.device)
    cells.streams = cells.streams.to(where.device)
    return cells.packed(kept_as)


def under(
    cells: Cells,
    behaviours: Sequence[Behaviour],
    parameters: Mapping[str, Tensor] | None = None,
) -> Cells:
    """Return the same cells with other effects acting on them from now on.

    They keep what they hold, their pulses, their broken cells, their clock, and what was drawn
    for each behaviour that stays in its place. What a new one needs to know of single cells is
    drawn from the population's own seed. It breaks no cell: fabrication is over.

    Args:
        behaviours: the device, then the effects.
        parameters: each cell's own, as those of another device that these same cells are
            (pulses of a voltage-driven model, and the model); None: the device stays.

    Raises:
        ValueError: if the device is another one and ``parameters`` are not given.
    """
    behaviours = tuple(behaviours)
    device: Any = behaviours[0]
    if parameters is None:
        if device != cells.spec:
            raise ValueError(f"these cells are {cells.spec}, not {device}")
        parameters = cells.parameters_drawn()
    cells = cells.live()
    blank, like = (1,) * len(cells.shape), cells.g
    twin: Cells = device.cells_type(behaviours, blank, dtype=like.dtype, device=like.device)
    for name in (*PER_CELL, "broken_at", "streams"):
        twin.register_buffer(name, cells._buffers[name])
    twin.streams = cells.streams.clone()
    if device != cells.spec:
        twin.inner = None  # the conductance says it
    for name in PLAIN:
        setattr(twin, name, getattr(cells, name))
    for name in [n for n in twin._buffers if n.startswith("state_")]:
        del twin._buffers[name]
    for index, behaviour in enumerate(behaviours):
        stays = index < len(cells.behaviours) and behaviour == cells.behaviours[index]
        state = cells.state(index) if stays else twin._draw(index)
        for name, value in (parameters if index == 0 else state).items():
            twin.register_buffer(f"state_{index}_{name}", value)
    return twin.train(cells.training)
