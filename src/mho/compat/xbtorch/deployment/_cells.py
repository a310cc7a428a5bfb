"""What happens to an accelerator's cells: some are broken, all drift, and are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from mho.cells.behaviour import Context
from mho.core import random
from mho.effects import PowerLawDrift

_named: ContextVar[list[int] | None] = ContextVar("cells that are named", default=None)


@contextmanager
def named(seed: int) -> Iterator[None]:
    """Within it cells without a chip are those of this seed, array by array in the order of use.

    Elsewhere nobody says which cells are meant: they are others at every call.
    """
    token = _named.set([seed, 0])
    try:
        yield
    finally:
        _named.reset(token)


def name() -> int | None:
    """Return the seed of the cells that are named now."""
    found = _named.get()
    return None if found is None else found[0]


def scores(shape: torch.Size) -> Tensor:
    """Return by how many standard deviations the exponents of the next array are off the mean."""
    found = _named.get()
    if found is None:
        return torch.randn(shape)
    found[1] += 1
    source = random.generator(random.derive(found[0], "drift", found[1]))
    return torch.randn(shape, generator=source)


def drifted(
    G: Tensor, effect: PowerLawDrift, score: Tensor | None, time: float, top: float
) -> Tensor:
    """Return conductances at a time after programming; ``score`` is that of every exponent.

    An exponent below zero does not carry a cell above ``top``: no cell conducts better than when
    it is fully set. Cells that were never written (below zero) or that are broken above it stay.
    """
    state = {} if score is None else {"nu": effect.nu + effect.nu_spread * score.to(G)}
    aged = effect.age(G, Context(G, 0.0, top, None, state), 0.0, time)
    return torch.where(G < 0, G, torch.minimum(aged, G.clamp(min=top)))


def noisy(cells: Tensor, half_width: float) -> Tensor:
    """Return what one read of cells finds: uniform noise, no conductance below zero."""
    half_width = float(half_width)
    if half_width <= 0.0:
        return cells.clone()
    noise = torch.empty_like(cells).uniform_(-half_width, half_width)
    return torch.where(cells < 0, cells, (cells + noise).clamp(min=0.0))


def choose(cells: int, count: int, source: torch.Generator) -> Tensor:
    """Choose exactly ``count`` of so many, quickly: by chance, and then put the number right."""
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    mask = torch.rand(cells, generator=source) < count / cells
    wrong = int(mask.sum()) - count
    if wrong:
        others = (mask if wrong > 0 else ~mask).nonzero().squeeze(1)
        order = torch.randperm(len(others), generator=source)[: abs(wrong)]
        mask[others[order]] = wrong < 0
    return mask.nonzero().squeeze(1)
