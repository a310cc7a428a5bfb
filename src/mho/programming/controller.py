"""The controller: which pulse each cell gets next, from what verify reads say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.programming.trains import train_length

if TYPE_CHECKING:
    from mho.programming.scheme import WriteVerify


_FINEST, _STRIDE = 2.0**-10, 8
_SIGMAS = 4.0


@dataclass(frozen=True, eq=False)
class Orders:
    """What the cells are to get in one round.

    Attributes:
        active: cells that get a pulse.
        up: cells that need a set pulse (where active).
        amplitude: of the pulse (V), >= 0.
        count: pulses of the train (int64); one for voltage-driven cells.
    """

    active: Tensor
    up: Tensor
    amplitude: Tensor
    count: Tensor


class Controller:
    """State of a write–verify, one value per cell. It knows the cells by their reads alone.

    Args:
        scheme: what to do.
        target: conductances asked for (S).
        tolerance: largest error (S), shaped like ``target``.
        selected: cells to program.
        noise: standard deviation of a read (S).
        again: whether an accepted cell is judged anew by every read; else it is left alone.

    Attributes:
        pulses: pulses given so far (int64).
        accepted: cells that the last read (or, once accepted for good, an earlier one) found
            within tolerance.
        stuck: cells taken for stuck.
    """

    def __init__(
        self,
        scheme: WriteVerify,
        target: Tensor,
        tolerance: Tensor,
        selected: Tensor,
        noise: float,
        *,
        again: bool = False,
    ) -> None:
        self.scheme, self.target, self.tolerance = scheme, target, tolerance
        self.selected, self.again = selected, again
        self._least = torch.clamp(tolerance * scheme.stuck_change, min=_SIGMAS * noise)
        self.pulses = torch.zeros_like(target, dtype=torch.int64)
        self.accepted = torch.zeros_like(selected)
        self.stuck = torch.zeros_like(selected)
        # Heights above ``start`` (V) and mean steps of the last trains (S): set, reset.
        self._height = [torch.zeros_like(target), torch.zeros_like(target)]
        self._slope = [torch.zeros_like(target), torch.zeros_like(target)]
        self._train = [torch.zeros_like(self.pulses), torch.zeros_like(self.pulses)]
        self._fine = torch.ones_like(target)
        self._run = torch.zeros_like(self.pulses)
        self._before: Tensor | None = None
        self._active = torch.zeros_like(selected)
        self._up = torch.zeros_like(selected)
        # Pulses in a row at the largest amplitude, and the read at the first of them.
        self._streak = torch.zeros_like(self.pulses)
        self._anchor = target

    def next(self, read: Tensor) -> Orders:
        """Take a verify read of all cells (S) and say what they get."""
        error = self.target - read
        within = error.abs() <= self.tolerance
        self.accepted = within if self.again else within | self.accepted
        self._judge(read)
        spent = self.pulses >= self.scheme.max_pulses
        active = self.selected & ~self.accepted & ~spent & ~self.stuck
        up = error > 0.0
        self._learn(read)
        self._turn(active, up)
        orders = Orders(active, up, self._amplitude(up), self._counts(error, up))
        self._account(orders, read)
        return orders

    def _judge(self, read: Tensor) -> None:
        # A long streak that led nowhere is a stuck cell; one that led somewhere starts anew.
        full = self._streak >= self.scheme.stuck_after
        moved = (read - self._anchor).abs() > self._least
        if self.scheme.on_stuck == "skip":
            self.stuck = self.stuck | (full & ~moved & ~self.accepted)
        self._streak = torch.where(full | moved, 0, self._streak)

    def _learn(self, read: Tensor) -> None:
        if self._before is None:
            return
        change = read - self._before
        for way, went in enumerate((self._up, ~self._up)):
            given = self._train[way]
            step = (change if way == 0 else -change) / given.clamp(min=1)
            fresh = self._active & went
            self._slope[way] = torch.where(fresh, step, self._slope[way])

    def _turn(self, active: Tensor, up: Tensor) -> None:
        # What happens to cells that change direction.
        turned = active & (self.pulses > 0) & (up != self._up)
        for way, left in enumerate((turned & ~up, turned & up)):
            height = self._height[way]
            self._height[way] = torch.where(left, height * self.scheme.restart, height)
            self._train[way] = torch.where(turned, 0, self._train[way])
        finer = (self._fine * self.scheme.refine).clamp(min=_FINEST)
        # Where the search has narrowed too far, it widens again.
        self._run = torch.where(turned, 0, self._run + active.long())
        coarser = (self._fine * 2.0).clamp(max=1.0)
        straight = active & (self._run > 0) & (self._run % _STRIDE == 0)
        self._fine = torch.where(turned, finer, torch.where(straight, coarser, self._fine))
        self._streak = torch.where(turned, 0, self._streak)
        self._up = torch.where(active, up, self._up)

    def _amplitude(self, up: Tensor) -> Tensor:
        set_, reset = self.scheme.set_pulses, self.scheme.reset_pulses
        return torch.where(up, set_.start + self._height[0], reset.start + self._height[1])

    def _counts(self, error: Tensor, up: Tensor) -> Tensor:
        if self.scheme.train == 1:
            return torch.ones_like(self.pulses)
        slope = torch.where(up, self._slope[0], self._slope[1])
        last = torch.where(up, self._train[0], self._train[1])
        count = train_length(error, slope, last, self.scheme.train)
        return torch.minimum(count, self.scheme.max_pulses - self.pulses).clamp(min=1)

    def _account(self, orders: Orders, read: Tensor) -> None:
        active, up, count = orders.active, orders.up, orders.count
        schedules = (self.scheme.set_pulses, self.scheme.reset_pulses)
        for way, (schedule, went) in enumerate(zip(schedules, (up, ~up), strict=True)):
            gone = active & went
            height = self._height[way]
            top = gone & (height >= schedule.rise * (1.0 - 1e-6))
            self._anchor = torch.where(top & (self._streak == 0), read, self._anchor)
            self._streak = torch.where(top, self._streak + 1, self._streak)
            higher = (height + self._fine * schedule.step).clamp(max=schedule.rise)
            self._height[way] = torch.where(gone, higher, height)
            self._train[way] = torch.where(gone, count, self._train[way])
        self.pulses = torch.where(active, self.pulses + count, self.pulses)
        self._before, self._active = read, active
