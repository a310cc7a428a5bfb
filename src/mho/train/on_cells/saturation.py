"""Learning rates that are too high for weights on cells: how it shows, and what to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from mho.core import notice
from mho.core.text import share
from mho.train.divergence import Losses, warn_of
from mho.train.on_cells.watch import Watch
from mho.train.on_cells.weights import WeightCells

_NEAR = 0.02  # of the range: so near its ends a weight counts as there
_MOST = 0.8  # of all weights there are too many,
_BEFORE = 0.5  # unless so many were at the beginning
_COARSE = 0.1  # of the range for a pulse: such cells have no inside
_LEAP = 0.25  # of the range, asked of the weights in one update (root mean square), is too much;
_STEP = 0.02  # so much is not


class Lookout:
    """Warns once if updates ask for leaps, or most weights come to the ends of their range.

    It looks after 1, 2, 4, 8, … updates, which costs next to nothing. And once each if weights
    stall (`Watch`), or the loss that a closure returns rises far above its beginning (`LossWatch`).
    """

    _watch: Watch | None = None  # as of pickles of 0.1
    _losses: Losses | None = None

    def __init__(self) -> None:
        self._watch = Watch()
        self._losses = Losses()
        self._updates = 0
        self._done = False
        self._start: float | None = None
        self._asked = 0.0

    @property
    def due(self) -> bool:
        """Whether it will look after the next update."""
        return not self._done and not self._updates & (self._updates + 1)

    @torch.no_grad()
    def begin(self, cells: Iterable[WeightCells]) -> None:
        """Note how many weights are at the ends before the first update."""
        if self._start is None and not self._done:
            self._start = _at_ends(list(cells))

    @torch.no_grad()
    def ask(self, cells: WeightCells, change: Tensor, rate: float = 1.0) -> None:
        """Note how far an update is to move a weight, if it will be looked at.

        Args:
            cells: that hold the weight.
            change: of its matrix, in any shape, over ``rate``.
            rate: the learning rate, where the change is a gradient.
        """
        span = cells.high - cells.low
        if not self.due or cells.step > _COARSE * span or not change.numel():
            return
        norm: Callable[[Tensor], Tensor] = torch.linalg.vector_norm
        size = rate * float(norm(change)) / math.sqrt(change.numel()) / span
        self._asked = max(self._asked, size) if math.isfinite(size) else self._asked

    def follow(self, parameter: Tensor, cells: WeightCells, change: Tensor, rate: float) -> None:
        """Add up what an update asks of a weight; see `Watch`."""
        if self._watch is not None and cells.step <= _COARSE * (cells.high - cells.low):
            self._watch.ask(parameter, cells, change, rate)

    def lost(self, loss: Any, optimizer: Any) -> None:
        """Take note of what a closure has returned, where that is one number; see `LossWatch`."""
        one = isinstance(loss, Tensor) and loss.numel() == 1 and not loss.is_complex()
        if self._losses is not None and (one or isinstance(loss, float)):
            warn_of(self._losses.note(loss), optimizer)

    def stalled(self, held: dict[Tensor, WeightCells]) -> None:
        """Count an update, and warn once if weights do not do what they are asked to."""
        said = "" if self._watch is None else self._watch.look(held)
        if said:
            self._watch = None
            notice.warn(said)

    @torch.no_grad()
    def look(self, moved: Iterable[tuple[WeightCells, float]]) -> None:
        """Count an update, and look whether it is time to warn.

        Args:
            moved: the cells of each weight, and its learning rate.
        """
        due, asked = self.due, self._asked
        self._updates += 1
        self._asked = 0.0
        if not due:
            return
        found = list(moved)
        there = _at_ends([cells for cells, _ in found])
        if there >= _MOST and (self._start or 0.0) <= _BEFORE:
            what = (
                f"{share(there)} of the weights on cells are at the ends of their range after "
                f"{self._updates} update{'s' * (self._updates > 1)}, where they learn nothing more"
            )
        elif asked > _LEAP:
            what = f"one update asks weights on cells to move by {share(asked)} of their range"
        else:
            return
        self._done = True
        lr = max(rate for _, rate in found)
        calm = lr * min(_STEP / asked if asked else 0.1, 0.1)
        notice.warn(
            f"{what}: the learning rate {lr:g} may be too high for these devices; try {calm:.1g}"
        )


def _at_ends(found: list[WeightCells]) -> float:
    """Return the share of weights at the ends of their range, of cells that have an inside."""
    count = there = 0
    for cells in found:
        span = cells.high - cells.low
        if cells.step > _COARSE * span:
            continue
        weight = cells.read()
        near = (weight < cells.low + _NEAR * span) | (weight > cells.high - _NEAR * span)
        count, there = count + weight.numel(), there + int(near.sum())
    return there / count if count else 0.0
