"""Cells lent to a policy as they lie in their arrays, and what comes back to the population."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import torch
from torch import Tensor

from mho.cells import life
from mho.cells.population import Cells
from mho.cells.programming import Round, Site

R = TypeVar("R")


class Lent:
    """The cells of a population, arranged as they lie in physical arrays.

    Args:
        cells: the population.
        site: where it lies; None: by itself.

    Attributes:
        cells: the same cells ``[arrays, rows, cols]``, to be pulsed.
        here: where there is a cell, of that shape.
    """

    def __init__(self, cells: Cells, site: Site | None) -> None:
        self._whole = cells
        self._place = (_flat_places(cells) if site is None else site.arrays()).to(cells.g.device)
        self.here = self._place >= 0
        self.cells = cells.gather(self._place)

    def given(self, whole: Tensor) -> Tensor:
        """Return what the population's tensor says of each place."""
        return whole.reshape(-1)[self._place.clamp(min=0)]

    def back(self, lent: Tensor) -> Tensor:
        """Return a tensor of the places as one of the population's shape."""
        out = lent.new_zeros(self._whole.g.numel())
        out[self._place[self.here]] = lent[self.here]
        return out.view(self._whole.shape)

    def report(self, found: R) -> R:
        """Return a report (a dataclass) with all that is told of places told of the population."""
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(found):  # type: ignore[arg-type]
            value = getattr(found, field.name)
            if isinstance(value, Tensor):
                changes[field.name] = self.back(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Round):
                changes[field.name] = tuple(self._moved(each) for each in value)
        return dataclasses.replace(found, **changes)  # type: ignore[type-var]

    def _moved(self, given: Round) -> Round:
        assert given.cells is not None
        return dataclasses.replace(given, cells=self._place.flatten()[given.cells])

    def settle(self) -> None:
        """Let the population hold what the places hold; effects of programming act on it."""
        self._whole.rng.copy_(self.cells.rng)
        for name in self._whole.changing:
            changed = self.cells.get_buffer(name)
            self._whole.register_buffer(name, self.back(changed))
        self._whole.hold(life.settle(self.back(self.cells.g), self._whole.drawn(), own=False))


def _flat_places(cells: Cells) -> Tensor:
    return torch.arange(cells.g.numel(), device=cells.g.device).view(cells.shape)
