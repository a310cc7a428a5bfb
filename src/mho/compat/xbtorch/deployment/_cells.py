"""Which cells of an accelerator are meant, and which are broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from mho.core import random

# The seed of the cells that are named now, and how many arrays of them were drawn.
meant: ContextVar[Any] = ContextVar("cells that are named", default=(None, 0))


@contextmanager
def named(seed: int) -> Iterator[None]:
    """Within it cells without a chip are those of this seed, array by array in the order of use.

    Elsewhere nobody says which cells are meant: they are others at every call.
    """
    token = meant.set([seed, 0])
    try:
        yield
    finally:
        meant.reset(token)


def scores(shape: torch.Size) -> Tensor:
    """Return by how many standard deviations the exponents of the next array are off the mean."""
    found = meant.get()
    if found[0] is None:
        return torch.randn(shape)
    found[1] += 1
    source = random.generator(random.derive(found[0], "drift", found[1]))
    return torch.randn(shape, generator=source)


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
