"""Fabrication: what a population draws once, and what of it is kept.

What can be drawn again, to the very same bits, from the population's own seed is not kept.

These functions are the methods of `Cells` that bear their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.behaviour import Context
from mho.cells.life import Broken
from mho.core import random

if TYPE_CHECKING:
    from mho.cells.population import Cells


def be_born(cells: Cells) -> None:
    """Draw all that fabrication draws; every healthy cell rests at its lowest conductance."""
    for name in [n for n in cells._buffers if n.startswith("state_")]:
        del cells._buffers[name]
    cells._buffers.update(inner=None, pulses=None, written=None, broken_at=None)
    vars(cells).update(seconds=0.0, written_at=0.0, reads=0.0, _all_pulses=0)
    # What is drawn again later must come out the same.
    vars(cells).update(_born_as=cells.g.dtype, identity=f"{cells.born:016x}")
    broken: Broken | None = None
    for index, behaviour in enumerate(cells.behaviours):
        state = cells._draw(index)
        if cells._keeps(index):
            for name, value in state.items():
                cells.register_buffer(f"state_{index}_{name}", value)
        if not behaviour.acts_on("broken"):
            continue
        context = cells._birth(index, "broken", state)
        broken = life.broken_too(broken, behaviour, context, context.like)
    if broken is not None:
        cells.broken_at = broken.at.to(cells.g.device)
        # Read forever by the population's own dtype and device.
        cells.g = torch.zeros_like(cells.g)
        cells.g.view(-1)[cells.broken_at] = broken.g.to(cells.g)
    cells.reset()


def keeps(cells: Cells, index: int) -> bool:
    """Whether what one of the behaviours drew stays in memory."""
    # Needed at every pulse, or at every read: not to be drawn each time.
    behaviour = cells.behaviours[index]
    return (index == 0 and cells.keeps_parameters) or behaviour.acts_on("read")


def birth(
    cells: Cells, index: int, what: str, state: Mapping[str, Tensor] | None = None
) -> Context:
    """Return what one of the behaviours is told when it draws (``what`` names the draw)."""
    # On the CPU, whatever the population's device: the same seed, the same cells.
    seed = random.derive(cells.born, index, what)
    like = torch.empty((), dtype=cells._born_as, device="cpu").expand(cells.shape)
    state = {} if state is None else {n: v.to(like) for n, v in state.items()}
    g_min, g_max = cells.spec.window
    return Context(like, g_min, g_max, random.stream(seed), state=state)


def draw(cells: Cells, index: int) -> dict[str, Tensor]:
    """Draw the per-cell tensors of one of the behaviours, the same every time."""
    if not cells.behaviours[index].fabricates():
        return {}
    drawn = cells.behaviours[index].fabricate_state(cells._birth(index, "state"))
    return {name: value.to(cells.g) for name, value in drawn.items()}


def state(cells: Cells, index: int) -> dict[str, Tensor]:
    """Return the per-cell tensors of one of the behaviours, as its fabrication drew them."""
    prefix = f"state_{index}_"
    kept = {n.removeprefix(prefix): v for n, v in cells._buffers.items() if n.startswith(prefix)}
    # Nothing can be drawn in a graph that is traced, nor on the host while an accelerator reads;
    # what reads need is kept.
    undrawn = torch.compiler.is_compiling() or cells.g.device.type != "cpu"
    if kept or (cells._keeps(index) and undrawn):
        return {name: value for name, value in kept.items() if value is not None}
    return cells._draw(index)
